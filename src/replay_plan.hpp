#pragma once

#include <memory>
#include <span>
#include <vector>

#include "src/replay.hpp"

namespace fp8scope {

/// The casts of one tensor, and the scales that come from the past.
struct TensorPlan {
  std::vector<ReplayCast> casts;
  std::vector<std::unique_ptr<Recipe>> recipes;       ///< [casts]
  std::vector<std::vector<TensorCast>> tensor_casts;  ///< [recorded steps of the tensor][casts]
  std::vector<float> whole_amax;                      ///< [recorded steps]; < 0: take it from the rows
};

/// Takes a recipe that cannot be applied to a tensor; see ReplayControl.
using TakeRefusal =
    std::function<void(std::size_t tensor, std::size_t recipe, const std::string& gemm, const std::string& why)>;

/// Decides every cast of a tensor and runs the delayed recipes through the history.
TensorPlan plan_tensor(const ReplayInput& input, const ReplayOptions& options, std::size_t tensor,
                       const TakeRefusal& refused = {});

/// The uses of a tensor that were asked for ("first", "all", "fprop", ...). A tensor that names none is
/// taken as [rows, K].
std::vector<GemmUse> uses_of(const TensorInfo& info, const std::string& which);

}  // namespace fp8scope
