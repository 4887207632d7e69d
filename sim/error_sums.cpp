#include "sim/error_sums.hpp"

#include <algorithm>
#include <cmath>

#include "sim/error_element.hpp"

namespace fp8scope {

double add_lanes(std::array<double, sum_lanes> lanes) {
  for (std::size_t half = sum_lanes / 2; half > 0; half /= 2)
    for (std::size_t i = 0; i < half; ++i) lanes[i] += lanes[i + half];
  return lanes[0];
}

CastLimits cast_limits(const Format& f, const CastRule& rule, float bulk, bool divide) {
  CastLimits limits;
  limits.max = f.max_value();
  const int ulp = f.max_exponent() - f.mantissa_bits;  // of MAX
  const bool cut = rule.rounding == Rounding::toward_zero;
  const float edge = limits.max + pow2(cut ? ulp : ulp - 1);
  // A tie goes to the even code, down to MAX if that is even, else beyond it; or toward zero, or away.
  const bool edge_is_max = rule.rounding == Rounding::nearest_zero ||
                           (rule.rounding == Rounding::nearest_even && f.max_code() % 2 == 0) ||
                           rule.rounding == Rounding::stochastic;
  limits.clip = edge_is_max ? edge : std::nextafter(edge, 0.0f);
  limits.divide = divide;
  limits.rounding = rule.rounding;
  limits.min_normal = pow2(f.min_exponent());
  limits.bulk = bulk;
  limits.magic = static_cast<std::uint32_t>(23 - f.mantissa_bits) << 23;
  const bool simple = cut || rule.rounding == Rounding::nearest_even || rule.rounding == Rounding::nearest_away ||
                      rule.rounding == Rounding::nearest_zero;
  const bool saturates = rule.overflow == Overflow::saturate && rule.inf == InfRule::max;
  limits.by_magic = simple && saturates && f.is_signed() && f.max_exponent() + 24 - f.mantissa_bits <= 127;
  return limits;
}

void ErrorSums::merge(const ErrorSums& other) {
  noise_bulk += other.noise_bulk;
  noise_top += other.noise_top;
  error += other.error;
  cross += other.cross;
  clipped_loss += other.clipped_loss;
  max_abs = std::max(max_abs, other.max_abs);
  max_rel = std::max(max_rel, other.max_rel);
  underflow += other.underflow;
  overflow += other.overflow;
  clipped += other.clipped;
  subnormal += other.subnormal;
  lost += other.lost;
}

namespace {

struct Lanes {
  std::array<double, sum_lanes> noise{}, error{}, cross{};
};

void add_element(const CastLimits& limits, const CastRow& row, std::size_t i, Lanes& lanes,
                 ErrorSums& sums) {
  const float x = is_finite(row.x[i]) ? row.x[i] : 0.0f;
  const float v = scaled(limits.divide ? Apply::divide : Apply::multiply, x, row.scale[i]);
  const float value = limits.by_magic ? value_by_magic(limits, v) : row.value[i];
  const ElementError of = element_error(limits, row.x[i], v, value, row.scale_inv[i]);
  sums.lost += of.lost;
  if (!of.counts) return;

  const std::size_t lane = i % sum_lanes;
  const float magnitude = std::fabs(of.x), error = std::fabs(of.e);
  const double e2 = static_cast<double>(of.e) * of.e;
  if (of.top) sums.noise_top += e2; else lanes.noise[lane] += e2;
  if (of.clipped) sums.clipped_loss += static_cast<double>(magnitude) - of.rest;
  lanes.error[lane] += of.e;
  lanes.cross[lane] += static_cast<double>(of.x) * of.e;
  sums.max_abs = std::max(sums.max_abs, error);
  if (of.x != 0.0f) sums.max_rel = std::max(sums.max_rel, error / magnitude);
  sums.underflow += of.underflow;
  sums.overflow += of.overflow;
  sums.clipped += of.clipped;
  sums.subnormal += of.subnormal;
}

}  // namespace

ErrorSums error_sums_scalar(const CastLimits& limits, const CastRow& row) {
  ErrorSums sums;
  Lanes lanes;
  for (std::size_t i = 0; i < row.n; ++i) add_element(limits, row, i, lanes, sums);
  sums.noise_bulk = add_lanes(lanes.noise);
  sums.error = add_lanes(lanes.error);
  sums.cross = add_lanes(lanes.cross);
  return sums;
}

void MomentSums::merge(const MomentSums& other) {
  absolute += other.absolute;
  power1 += other.power1;
  power2 += other.power2;
  power3 += other.power3;
  power4 += other.power4;
  finite += other.finite;
  zeros += other.zeros;
  nans += other.nans;
  infs += other.infs;
  smallest = std::min(smallest, other.smallest);
}

MomentSums moment_sums_scalar(std::span<const float> x) {
  std::array<double, sum_lanes> absolute{}, power1{}, power2{}, power3{}, power4{};
  MomentSums sums;
  for (std::size_t i = 0; i < x.size(); ++i) {
    sums.nans += is_nan(x[i]);
    sums.infs += !is_nan(x[i]) && !is_finite(x[i]);
    if (!is_finite(x[i])) continue;
    ++sums.finite;
    sums.zeros += x[i] == 0.0f;
    if (x[i] != 0.0f) sums.smallest = std::min(sums.smallest, float_bits(x[i]) & magnitude_bits);
    const std::size_t lane = i % sum_lanes;
    const double value = x[i], square = value * value;
    absolute[lane] += std::fabs(value);
    power1[lane] += value;
    power2[lane] += square;
    power3[lane] += square * value;
    power4[lane] += square * square;
  }
  sums.absolute = add_lanes(absolute);
  sums.power1 = add_lanes(power1);
  sums.power2 = add_lanes(power2);
  sums.power3 = add_lanes(power3);
  sums.power4 = add_lanes(power4);
  return sums;
}

double bulk_power_scalar(std::span<const float> x, float bulk) {
  std::array<double, sum_lanes> power{};
  for (std::size_t i = 0; i < x.size(); ++i)
    if (std::fabs(x[i]) <= bulk) power[i % sum_lanes] += static_cast<double>(x[i]) * x[i];
  return add_lanes(power);
}

}  // namespace fp8scope
