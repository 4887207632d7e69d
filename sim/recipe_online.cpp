#include "sim/recipe_online.hpp"

#include <algorithm>

#include "sim/require.hpp"

namespace fp8scope {

void OnlineRecipe::step(std::span<const float> amax, std::span<Scales> scales) {
  require(scales.size() >= amax.size(), "OnlineRecipe::step: fewer scales than blocks");
  require(plan().scope != Scope::row, "OnlineRecipe::step: factors of rows need the elements");
  ScaleRule rule = rule_;
  if (plan().scope == Scope::tensor) rule = with_tensor_amax(rule, fp8scope::amax(plan().amax_rule, amax));
  std::ranges::transform(amax, scales.begin(), [&](float a) { return block_scales(rule, a); });
}

}  // namespace fp8scope
