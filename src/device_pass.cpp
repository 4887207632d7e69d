#include "src/device_pass.hpp"

#include <algorithm>
#include <limits>

#include "sim/simd/magnitudes.hpp"

namespace fp8scope {

bool on_kernels(const Plan& plan) {
  return plan.hadamard.size == 0 && plan.select == Select::none && plan.scope != Scope::row;
}

cuda::BlockCast block_cast(const Plan& plan, const BlockShape& block, const ScaleRule* rule, float tensor_amax) {
  cuda::BlockCast how;
  how.format = plan.format, how.rule = plan.cast, how.apply = plan.apply;
  how.block = block, how.amax_rule = plan.amax_rule, how.storage = plan.storage;
  if (rule) how.scale_rule = plan.scope == Scope::tensor ? with_tensor_amax(*rule, tensor_amax) : *rule;
  return how;
}

DevicePass::DevicePass(cuda::Engine& engine, std::int64_t rows, std::int64_t cols)
    : rows_(rows), cols_(cols), tensor_(engine.tensor(cuda::Element::fp32, rows, cols)) {}

void DevicePass::upload(std::int64_t first, std::int64_t count, const float* x) { tensor_->upload(first, count, x); }

TensorFacts DevicePass::facts() const {
  const cuda::TensorMoments moments = tensor_->moments();
  TensorFacts facts(rows_, cols_);
  facts.add_summed(moments.rows, moments.buckets, moments.largest, moments.largest_number);
  facts.finish();
  return facts;
}

bool DevicePass::knows(const TensorCast& cast) {
  // Their sums count a product that is NaN as lost, whatever the cast makes of it.
  const bool sums = !clamps_nan(cast.plan.format, cast.plan.cast);
  return on_kernels(cast.plan) && sums && (cast.rule || cast.given);
}

CastResult DevicePass::measure_cast(const TensorFacts& facts, TensorCast& cast, float whole_amax) const {
  CastResult result;
  const bool whole = cast.block == BlockShape{}, propagate = cast.plan.amax_rule == AmaxRule::propagate_nan;
  result.amax = whole_amax >= 0.0f ? whole_amax : from_magnitude(propagate ? facts.largest() : facts.largest_number());
  result.age = cast.given ? cast.age : 0;
  result.frozen = cast.given ? cast.frozen : 0;
  result.amax_in_use = cast.given ? cast.amax_in_use : result.amax;
  cuda::BlockCast how = block_cast(cast.plan, cast.block, cast.rule, result.amax);
  how.seed = cast.seed;
  how.floor = CastPass::floor_of(cast);
  if (whole) {
    if (!cast.given) cast.scales = block_scales(how.scale_rule, result.amax);
    how.given = true, how.scales = cast.scales;
  }
  const cuda::CastErrors errors = tensor_->measure(how, facts.bulk_limit());
  std::vector<double> noise;
  for (std::int64_t first = 0; first < rows_; first += tile_rows) {
    ErrorSums tile;
    double power = 0.0;
    for (std::int64_t r = first; r < std::min(first + tile_rows, rows_); ++r) {
      tile.merge(errors.rows[r]);
      power += errors.bulk_power[r];
      noise.push_back(errors.rows[r].noise());
    }
    result.sums.merge(tile);
    result.bulk_power += power;
  }
  result.median_row_noise = CastPass::median_row_noise(facts, noise);
  result.scale_inv_min = errors.scale_inv_min;
  result.scale_inv_max = errors.scale_inv_max;
  result.headroom = errors.headroom;
  result.blocks = errors.blocks, result.floored = errors.floored;
  if (!whole) return result;
  result.floored = result.amax < how.floor ? 1 : 0;
  const float max = how.format.max_value();
  result.headroom = std::numeric_limits<double>::infinity();
  if (is_finite(result.amax) && result.amax > 0.0f)
    result.headroom = std::min(result.headroom, static_cast<double>(max) * cast.scales.scale_inv / result.amax);
  return result;
}

std::vector<CastResult> DevicePass::measure(const TensorFacts& facts, std::vector<TensorCast> casts,
                                            float whole_amax) const {
  std::vector<CastResult> results;
  for (TensorCast& cast : casts) results.push_back(measure_cast(facts, cast, whole_amax));
  return results;
}

}  // namespace fp8scope
