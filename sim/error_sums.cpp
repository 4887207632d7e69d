#include "sim/error_sums.hpp"

#include <algorithm>
#include <cmath>

#include "sim/bits.hpp"

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

/// The nearest value of the format: v clamped to MAX, then cut to its mantissa by adding and taking
/// away 2^(e + 23 - m), where e is the exponent of v but at least that of the smallest normal. Other
/// roundings differ from that by a place where it went up, or where v was a tie; all exact.
float value_by_magic(const CastLimits& limits, float v) {
  const float clamped = std::fabs(v) < limits.max ? std::fabs(v) : limits.max;
  const float power = bits_float(float_bits(clamped) & inf_bits);
  const float exponent = power > limits.min_normal ? power : limits.min_normal;
  const float magic = bits_float(float_bits(exponent) + limits.magic);
  float value = (clamped + magic) - magic;
  if (limits.rounding != Rounding::nearest_even) {
    const float place = bits_float(float_bits(exponent) + limits.magic - (23u << 23));  // 2^(e - m)
    const float up = value - clamped;
    if (limits.rounding == Rounding::toward_zero && up > 0.0f) value -= place;
    if (limits.rounding == Rounding::nearest_away && up == -0.5f * place) value += place;
    if (limits.rounding == Rounding::nearest_zero && up == 0.5f * place) value -= place;
  }
  return std::copysign(value, v);
}

struct Lanes {
  std::array<double, sum_lanes> noise{}, error{}, cross{};
};

void add_element(const CastLimits& limits, const CastRow& row, std::size_t i, Lanes& lanes,
                 ErrorSums& sums) {
  const float magnitude = std::fabs(row.x[i]);
  const bool x_finite = is_finite(row.x[i]);
  const float x = x_finite ? row.x[i] : 0.0f;
  const float v = limits.divide ? x / row.scale[i] : x * row.scale[i];
  const float value = limits.by_magic ? value_by_magic(limits, v) : row.value[i];
  const float y = value * row.scale_inv[i];
  if (x_finite && (is_nan(v) || !is_finite(y))) ++sums.lost;
  if (!x_finite || is_nan(v) || !is_finite(y)) return;

  const float e = x - y;
  const std::size_t lane = i % sum_lanes;
  const bool top = magnitude > limits.bulk;
  const bool clipped = std::fabs(v) > limits.clip;
  const double e2 = static_cast<double>(e) * e;
  if (top) sums.noise_top += e2; else lanes.noise[lane] += e2;
  if (clipped) sums.clipped_loss += static_cast<double>(magnitude) - std::fabs(y);
  lanes.error[lane] += e;
  lanes.cross[lane] += static_cast<double>(x) * e;
  sums.max_abs = std::max(sums.max_abs, std::fabs(e));
  if (x != 0.0f) sums.max_rel = std::max(sums.max_rel, std::fabs(e) / magnitude);
  sums.underflow += x != 0.0f && value == 0.0f;
  sums.overflow += magnitude > limits.max * row.scale_inv[i];
  sums.clipped += clipped;
  sums.subnormal += value != 0.0f && std::fabs(value) < limits.min_normal;
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
