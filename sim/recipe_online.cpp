#include "sim/recipe_online.hpp"

#include <algorithm>

#include "sim/require.hpp"

namespace fp8scope {

void OnlineRecipe::step(std::span<const float> amax, std::span<Scales> scales) {
  require(scales.size() >= amax.size(), "OnlineRecipe::step: fewer scales than blocks");
  std::ranges::transform(amax, scales.begin(), [&](float a) { return block_scales(rule_, a); });
}

}  // namespace fp8scope
