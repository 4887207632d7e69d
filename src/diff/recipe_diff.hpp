#pragma once

#include <functional>
#include <string>
#include <vector>

#include "src/coded/code_diff.hpp"
#include "src/coded/whole_cast.hpp"
#include "src/replay.hpp"

namespace fp8scope {

/// How two recipes cast one tensor of one step.
struct RecipeDiff {
  std::size_t tensor, step;  ///< indices into the input
  std::string gemm;
  bool same_blocks;          ///< else scales cannot be compared one by one
  bool same_format;          ///< else codes cannot
  CodeDiff scales;           ///< of the stored scales, as E8M0 bytes or binary32 bits
  CodeDiff codes;
  CodeDiff codes_same_scale; ///< of codes, where both recipes multiply by the same number
  std::uint64_t values = 0;  ///< elements whose dequantised values differ
  double first_noise = 0.0, second_noise = 0.0, power = 0.0;  ///< sum e^2 under each, sum x^2
  const WholeCast* first;
  const WholeCast* second;
  std::span<const float> x;
};

/// Casts every tensor of every step under both recipes, history included, and compares.
/// `take` is called in the order of tensors and steps. A tensor is held in memory whole.
void diff_recipes(const ReplayInput& input, const std::string& first, const std::string& second,
                  const ReplayOptions& options, const std::function<void(const RecipeDiff&)>& take);

/// Both casts of one tensor, compared; for tensors outside a trace.
RecipeDiff compare_casts(const WholeCast& first, const WholeCast& second, std::span<const float> x);

}  // namespace fp8scope
