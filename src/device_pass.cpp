#include "src/device_pass.hpp"

#include <algorithm>
#include <limits>

namespace fp8scope {

DevicePass::DevicePass(cuda::Engine& engine, std::int64_t rows, std::int64_t cols)
    : rows_(rows), cols_(cols), tensor_(engine.tensor(cuda::Element::fp32, rows, cols)) {}

void DevicePass::upload(std::int64_t first, std::int64_t count, const float* x) { tensor_->upload(first, count, x); }

TensorFacts DevicePass::facts() const {
  const cuda::TensorMoments moments = tensor_->moments();
  TensorFacts facts(rows_, cols_, false);
  facts.add_summed(moments.rows, moments.buckets, moments.largest, moments.largest_number);
  facts.finish();
  return facts;
}

CastResult DevicePass::measure_cast(const TensorFacts& facts, TensorCast& cast, float whole_amax) const {
  CastResult result = CastPass::start(facts, cast, whole_amax);
  const bool whole = cast.block == BlockShape{};
  cuda::BlockCast how;
  how.format = cast.plan.format, how.rule = cast.plan.cast;
  how.block = cast.block, how.amax_rule = cast.plan.amax_rule;
  how.seed = cast.seed;
  how.given = whole, how.scales = cast.scales;
  if (!whole) how.scale_rule = *cast.rule;
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
  if (!whole) return result;
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
