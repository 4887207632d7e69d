#include "sim/tensor_cast.hpp"

#include <algorithm>
#include <cmath>

#include "sim/quantize.hpp"
#include "sim/require.hpp"

namespace fp8scope {
namespace {

/// Error of one row of a block under a candidate, summed in the order of the elements.
float row_error(const Plan& plan, const ScaleRule& rule, std::uint32_t block_code, std::span<const float> x) {
  const float block = decode({4, 3, 7, Specials::fn}, block_code);
  const Scales scales = nvfp4_scales(rule, block);
  float sum = 0.0f;
  for (const float v : x) {
    const float q = decode(plan.format, quantize_element(plan.format, v, scales.scale, plan.cast));
    const float d = q * block * rule.tensor_amax / (rule.max * rule.block_max) - v;
    sum += plan.select == Select::mse ? d * d : std::fabs(d);
  }
  return sum;
}

float block_error(const Plan& plan, const ScaleRule& rule, float amax, std::span<const float> x, std::size_t width) {
  const std::uint32_t code = nvfp4_block_code(rule, amax);
  std::vector<float> rows;
  for (std::size_t r = 0; r < x.size(); r += width)
    rows.push_back(row_error(plan, rule, code, x.subspan(r, std::min(width, x.size() - r))));
  if (rows.size() == 1) return rows[0];
  rows.resize(16, 0.0f);
  for (std::size_t half = 8; half > 0; half /= 2)
    for (std::size_t i = 0; i < half; ++i) rows[i] += rows[i + half];
  return rows[0];
}

/// Elements of block (i, j), along the contracted dimension first.
std::vector<float> gather(const BlockGrid& grid, bool turned, std::span<const float> x, std::int64_t i, std::int64_t j) {
  const std::int64_t r0 = i * grid.block_rows, r1 = std::min(r0 + grid.block_rows, grid.rows);
  const std::int64_t c0 = j * grid.block_cols, c1 = std::min(c0 + grid.block_cols, grid.cols);
  std::vector<float> block;
  if (turned)
    for (std::int64_t c = c0; c < c1; ++c)
      for (std::int64_t r = r0; r < r1; ++r) block.push_back(x[grid.element(r, c)]);
  else
    for (std::int64_t r = r0; r < r1; ++r)
      for (std::int64_t c = c0; c < c1; ++c) block.push_back(x[grid.element(r, c)]);
  return block;
}

}  // namespace

ScaleRule select_4over6(const Plan& plan, const ScaleRule& rule, float amax, std::span<const float> x,
                        std::int64_t width) {
  ScaleRule four = rule;
  four.block_boost = 1.5f;
  const auto w = static_cast<std::size_t>(width);
  return block_error(plan, four, amax, x, w) < block_error(plan, rule, amax, x, w) ? four : rule;
}

TensorCodes cast_tensor(const Plan& plan, const ScaleRule& rule, const BlockGrid& grid, bool turned,
                        std::span<const float> x, float whole_amax, std::uint64_t seed, std::uint64_t first) {
  require(std::ssize(x) >= grid.size(), "cast_tensor: fewer elements than the shape says");
  require(plan.codec == Codec::none,
          "this recipe's elements are no floating-point format: replay and cast_pass measure it, nothing writes its codes");
  TensorCodes out;
  out.x.assign(x.begin(), x.begin() + grid.size());
  if (plan.hadamard.size > 0) hadamard_scalar(plan.hadamard, grid.rows, grid.cols, turned, x, out.x);

  // The factor above the blocks: of the tensor, or of every row along the contracted dimension.
  if (plan.scope == Scope::tensor)
    out.factor_amax = {whole_amax >= 0.0f ? whole_amax : amax(plan.amax_rule, out.x)};
  if (plan.scope == Scope::row) {
    const BlockGrid rows(grid.rows, grid.cols, turned ? BlockShape{0, 1} : BlockShape{1, 0});
    out.factor_amax.resize(rows.blocks());
    block_amax(plan.amax_rule, rows, out.x, out.factor_amax);
  }
  out.amax.resize(grid.blocks());
  block_amax(plan.amax_rule, grid, out.x, out.amax);
  if (plan.block == BlockShape{} && whole_amax >= 0.0f) out.amax[0] = whole_amax;
  for (std::int64_t i = 0; i < grid.down(); ++i)
    for (std::int64_t j = 0; j < grid.across(); ++j) {
      const float largest = out.amax[i * grid.across() + j];
      ScaleRule bound = rule;
      if (plan.scope == Scope::tensor) bound = with_tensor_amax(rule, out.factor_amax[0]);
      if (plan.scope == Scope::row)
        bound = with_tensor_amax(rule, out.factor_amax[turned ? j * grid.block_cols : i * grid.block_rows]);
      if (plan.select != Select::none)
        bound = select_4over6(plan, bound, largest, gather(grid, turned, out.x, i, j),
                              turned ? grid.block_rows : grid.block_cols);
      out.scales.push_back(block_scales(bound, largest));
      out.stored.push_back(stored_scale(bound, plan.storage, largest));
    }
  out.codes.resize(grid.size());
  quantize(plan.format, plan.cast, grid, out.x, out.scales, out.codes, seed, first, plan.apply);
  return out;
}

std::vector<float> tensor_values(const Plan& plan, const BlockGrid& grid, const TensorCodes& codes) {
  std::vector<float> y(grid.size());
  dequantize(plan.format, grid, codes.codes, codes.scales, y);
  return y;
}

}  // namespace fp8scope
