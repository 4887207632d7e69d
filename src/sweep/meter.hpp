#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <string>
#include <thread>

namespace fp8scope {

enum class MeterStyle {
  none,
  automatic,  ///< a line that renews itself on a terminal, else a line every `seconds`
  json,       ///< an object a line: start, item, progress, message, done
};

/// Progress of a sweep on standard error: items done, rate, time left, the tensor at work.
/// Any thread may call it.
class SweepMeter {
 public:
  /// `cost` is what items are weighed by, in element-casts. Of all items of this process `done` were
  /// finished before.
  SweepMeter(MeterStyle style, double seconds, std::uint64_t items, std::uint64_t done, double cost, double cost_done);
  ~SweepMeter();
  SweepMeter(const SweepMeter&) = delete;
  SweepMeter& operator=(const SweepMeter&) = delete;

  void at(const std::string& what);
  /// To be called when the record of the item is in the journal.
  void finished(std::uint64_t item, double cost);
  void message(const std::string& text);
  /// A further event for drivers: `fields` is the inside of a JSON object.
  void event(const std::string& name, const std::string& fields);

 private:
  void tick();
  void show(bool last);
  std::string line() const;

  MeterStyle style_;
  bool terminal_;
  double seconds_;
  std::uint64_t items_, done_, before_;
  double cost_, cost_done_, cost_before_;
  std::string at_;
  bool shown_ = false;
  std::chrono::steady_clock::time_point begin_ = std::chrono::steady_clock::now();
  std::mutex mutex_;
  std::condition_variable_any wake_;
  std::jthread ticker_;  ///< last: it must end before the rest goes
};

/// "1:02:03" or "4:05".
std::string clock_text(double seconds);

}  // namespace fp8scope
