#pragma once

#include <map>
#include <optional>

#include "src/import/import.hpp"

namespace fp8scope {

/// The elements of one tensor at one step.
struct StepSource {
  const SourceTensor* tensor;
  const SourceTensor* scales = nullptr;  ///< multiplied in; null: none
  std::int64_t first = 0;                ///< element at which the step begins, in a stack of steps
};

/// One tensor of the trace and where each of its steps comes from.
struct PlannedTensor {
  TensorInfo info;
  std::map<std::int64_t, StepSource> steps;
};

struct ImportPlan {
  std::vector<std::int64_t> steps;  ///< of the trace, ascending
  std::vector<PlannedTensor> tensors;
  std::vector<std::string> notes;
};

/// Decides which source tensor is which tensor and step of the trace, and checks that they fit
/// together. `sources` must outlive the plan. Throws DataError, UsageError.
ImportPlan plan_import(const std::vector<SourceTensor>& sources, const NameMap& names,
                       const TraceSelection& selection, const ImportOptions& options);

}  // namespace fp8scope
