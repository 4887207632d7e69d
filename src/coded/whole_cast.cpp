#include "src/coded/whole_cast.hpp"

#include <tbb/parallel_for.h>

#include <algorithm>

#include "sim/amax.hpp"
#include "sim/philox.hpp"
#include "sim/quantize.hpp"

namespace fp8scope {

WholeCast whole_cast(const TensorCast& cast, std::int64_t rows, std::int64_t cols, std::span<const float> x,
                     float whole_amax) {
  const Plan& plan = cast.plan;
  const BlockGrid grid(rows, cols, cast.block);
  WholeCast out{plan, grid, std::vector<std::uint16_t>(x.size()), std::vector<Scales>(grid.blocks(), cast.scales)};
  if (!cast.given) {
    std::vector<float> amaxes(grid.blocks());
    block_amax(plan.amax_rule, grid, x, amaxes);
    if (whole_amax >= 0.0f && cast.block == BlockShape{}) amaxes[0] = whole_amax;
    ScaleRule rule = *cast.rule;
    if (plan.scope == Scope::tensor) rule = with_tensor_amax(rule, amax(plan.amax_rule, amaxes));
    std::ranges::transform(amaxes, out.scales.begin(), [&](float a) { return block_scales(rule, a); });
  }
  const bool stochastic = draws_bits(plan.cast.rounding);
  tbb::parallel_for(std::int64_t{0}, rows, [&](std::int64_t r) {
    for (std::int64_t c = 0; c < cols; ++c) {
      const std::int64_t i = grid.element(r, c);
      const RandomBits random = stochastic ? random_bits(cast.seed, i) : RandomBits{};
      const float scale = out.scales[grid.block(r, c)].scale;
      out.codes[i] = static_cast<std::uint16_t>(
          encode(plan.format, plan.apply == Apply::divide ? x[i] / scale : x[i] * scale, plan.cast, random));
    }
  });
  return out;
}

std::uint32_t stored_scale(const Plan& plan, const Scales& scales) {
  return plan.storage == ScaleStorage::e8m0 ? e8m0_code(scales.scale_inv) : float_bits(scales.scale_inv);
}

}  // namespace fp8scope
