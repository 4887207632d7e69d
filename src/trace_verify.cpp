#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "src/trace.hpp"

namespace fp8scope {

namespace {

constexpr std::int64_t panel_bytes = std::int64_t{8} << 20;

std::int64_t rows_at_once(const TensorInfo& info) {
  const std::int64_t fit = panel_bytes / std::max<std::int64_t>(1, 4 * info.cols);
  return std::clamp<std::int64_t>(fit - fit % info.panel_rows, info.panel_rows,
                                  std::max<std::int64_t>(1, info.rows));
}

/// Largest finite magnitude of each stored step, and the hash of the stored bytes.
struct Seen {
  std::vector<float> amax;
  std::string sha256;
};

Seen read_all(const Trace& trace, std::size_t tensor) {
  const TensorInfo& info = trace.tensors()[tensor];
  const ElementDecoder& decoder = trace.decoder(tensor);
  const std::int64_t panel = rows_at_once(info);
  std::vector<std::byte> stored(static_cast<std::size_t>(panel * info.cols) * decoder.bytes());
  std::vector<float> values(static_cast<std::size_t>(panel * info.cols));
  Seen seen;
  Sha256 hash;
  for (std::int64_t step = 0; step < info.steps; ++step) {
    float amax = 0;
    for (std::int64_t row = 0; row < info.rows; row += panel) {
      const std::int64_t count = std::min(panel, info.rows - row), size = count * info.cols;
      trace.read_stored(tensor, static_cast<std::size_t>(step), row, count, stored.data());
      hash.add(stored.data(), static_cast<std::size_t>(size) * decoder.bytes());
      decoder.decode(stored.data(), size, values.data());
      for (std::int64_t i = 0; i < size; ++i)
        if (const float x = std::fabs(values[static_cast<std::size_t>(i)]); std::isfinite(x))
          amax = std::max(amax, x);
    }
    seen.amax.push_back(amax);
  }
  seen.sha256 = hash.hex();
  return seen;
}

TraceCheck check_hash(const TensorInfo& info, const Seen& seen) {
  if (info.sha256.empty()) return {info.name(), true, "sha256 not stored"};
  const bool good = seen.sha256 == info.sha256;
  return {info.name(), good,
          good ? "sha256 agrees"
               : fmt::format("sha256 is {}, the attribute says {}", seen.sha256, info.sha256)};
}

TraceCheck check_amax(const Trace& trace, const TensorInfo& info, const Seen& seen) {
  const AmaxHistory& history = trace.history();
  const std::int64_t slot = history.find_slot(info.name());
  if (slot < 0) return {info.name(), true, "amax not in the history"};
  const bool all_rows = info.row_sampling == "all" && info.rows == info.rows_total;
  for (std::size_t s = 0; s < trace.steps().size(); ++s) {
    const std::int64_t step = trace.steps()[s];
    const float want = history.at(static_cast<std::size_t>(history.find_step(step)),
                                  static_cast<std::size_t>(slot));
    const float got = seen.amax[info.constant ? 0 : s];
    if (all_rows ? got != want : !(got <= want))
      return {info.name(), false,
              fmt::format("amax at step {} is {}, the history says {}{}", step, got,
                          all_rows ? "" : "at most ", want)};
  }
  return {info.name(), true, all_rows ? "amax equals the history" : "amax is within the history"};
}

}  // namespace

std::vector<TraceCheck> verify(const Trace& trace) {
  std::vector<TraceCheck> checks;
  for (std::size_t tensor = 0; tensor < trace.tensors().size(); ++tensor) {
    const TensorInfo& info = trace.tensors()[tensor];
    const Seen seen = read_all(trace, tensor);
    checks.push_back(check_hash(info, seen));
    checks.push_back(check_amax(trace, info, seen));
  }
  return checks;
}

}  // namespace fp8scope
