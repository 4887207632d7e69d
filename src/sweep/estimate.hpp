#pragma once

#include <string>

#include "src/sweep/engine.hpp"
#include "src/sweep/plan.hpp"

namespace fp8scope {

/// What a sweep will take. Bytes are those of the disk, results before compression.
struct Estimate {
  std::uint64_t points = 0, tensors = 0, tensor_steps = 0, items = 0, rows = 0;
  std::uint64_t bytes_read = 0, journal_bytes = 0, result_bytes = 0, memory = 0;
  double casts_per_second = 0.0, products_per_second = 0.0;  ///< measured just now; 0: not measured
  double seconds = 0.0;                                      ///< of one process like this one; NaN: unknown
};

/// Counts, and measures the rates on a part of the first tensors for about a second.
Estimate estimate(const SweepPlan& plan, const Trace* trace, const EngineOptions& options);

/// As lines for people or as one JSON object, with the first and the last points.
std::string estimate_text(const SweepPlan& plan, const Estimate& estimate, bool json);

}  // namespace fp8scope
