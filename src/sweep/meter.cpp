#include "src/sweep/meter.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include <cmath>
#include <cstdio>
#include <nlohmann/json.hpp>

namespace fp8scope {
namespace {

std::string quoted(const std::string& text) {
  return nlohmann::json(text).dump(-1, ' ', true, nlohmann::json::error_handler_t::replace);
}

}  // namespace

std::string clock_text(double seconds) {
  if (!(seconds < 1e9)) return "unknown";
  const auto s = static_cast<long>(std::ceil(seconds));
  return s >= 3600 ? fmt::format("{}:{:02}:{:02}", s / 3600, s / 60 % 60, s % 60) : fmt::format("{}:{:02}", s / 60, s % 60);
}

SweepMeter::SweepMeter(MeterStyle style, double seconds, std::uint64_t items, std::uint64_t done, double cost, double cost_done)
    : style_(style), terminal_(style == MeterStyle::automatic && isatty(STDERR_FILENO)), seconds_(terminal_ ? 0.2 : seconds),
      items_(items), done_(done), before_(done), cost_(cost), cost_done_(cost_done), cost_before_(cost_done) {
  event("start", fmt::format("\"items\":{},\"done\":{},\"pid\":{}", items, done, getpid()));
  if (style_ != MeterStyle::none) ticker_ = std::jthread([this](std::stop_token stop) {
      std::unique_lock lock(mutex_);
      while (!stop.stop_requested()) {
        wake_.wait_for(lock, stop, std::chrono::duration<double>(seconds_), [] { return false; });
        if (!stop.stop_requested()) show(false);
      }
    });
}

SweepMeter::~SweepMeter() {
  if (ticker_.joinable()) ticker_.request_stop(), ticker_.join();
  if (shown_ && terminal_) std::fputs("\r\033[K", stderr);
}

std::string SweepMeter::line() const {
  const double elapsed = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin_).count();
  const double rate = (cost_done_ - cost_before_) / elapsed;
  const double left = done_ == items_ ? 0.0 : (cost_ - cost_done_) / rate;
  if (style_ == MeterStyle::json)
    return fmt::format("{{\"event\":\"progress\",\"done\":{},\"items\":{},\"elements_per_second\":{:.6g},\"seconds_left\":{},\"at\":{}}}",
                       done_, items_, rate, std::isfinite(left) ? fmt::format("{:.1f}", left) : "null", quoted(at_));
  return fmt::format("sweep: {} of {} items ({:.1f} %), {:.3g} G elements/s, {} left, at {}", done_, items_,
                     items_ ? 100.0 * static_cast<double>(done_) / static_cast<double>(items_) : 100.0, rate / 1e9, clock_text(left),
                     at_.empty() ? "the start" : at_);
}

void SweepMeter::show(bool) {
  shown_ = true;
  if (terminal_)
    fmt::print(stderr, "\r\033[K{:.150}", line());
  else
    fmt::print(stderr, "{}\n", line());
  std::fflush(stderr);
}

void SweepMeter::at(const std::string& what) {
  const std::lock_guard lock(mutex_);
  at_ = what;
}

void SweepMeter::finished(std::uint64_t item, double cost) {
  const std::lock_guard lock(mutex_);
  ++done_;
  cost_done_ += cost;
  if (style_ == MeterStyle::json) fmt::print(stderr, "{{\"event\":\"item\",\"item\":{}}}\n", item);
}

void SweepMeter::message(const std::string& text) {
  const std::lock_guard lock(mutex_);
  if (style_ == MeterStyle::json)
    fmt::print(stderr, "{{\"event\":\"message\",\"text\":{}}}\n", quoted(text));
  else
    fmt::print(stderr, "{}fp8scope: {}\n", shown_ && terminal_ ? "\r\033[K" : "", text);
  std::fflush(stderr);
}

void SweepMeter::event(const std::string& name, const std::string& fields) {
  const std::lock_guard lock(mutex_);
  if (style_ != MeterStyle::json) return;
  fmt::print(stderr, "{{\"event\":\"{}\"{}{}}}\n", name, fields.empty() ? "" : ",", fields);
  std::fflush(stderr);
}

}  // namespace fp8scope
