#pragma once

#include "sim/error_sums.hpp"
#include "sim/scale.hpp"

namespace fp8scope {

/// What one element adds to ErrorSums.
struct ElementError {
  float x = 0.0f;     ///< the element
  float e = 0.0f;     ///< x - y
  float rest = 0.0f;  ///< |y|
  bool counts = false;  ///< x and y are finite; if not, nothing else here is set but `lost`
  bool top = false, clipped = false, underflow = false, overflow = false, subnormal = false;
  bool lost = false;
};

FP8_HD constexpr float magnitude_of(float x) { return bits_float(float_bits(x) & magnitude_bits); }

/// The nearest value of the format: v clamped to MAX, then cut to its mantissa by adding and taking
/// away 2^(e + 23 - m), where e is the exponent of v but at least that of the smallest normal. Other
/// roundings differ from that by a place where it went up, or where v was a tie; all exact.
FP8_HD constexpr float value_by_magic(const CastLimits& limits, float v) {
  const float magnitude = magnitude_of(v);
  const float clamped = magnitude < limits.max ? magnitude : limits.max;
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
  return bits_float(float_bits(value) | (float_bits(v) & ~magnitude_bits));
}

/// The error of an element whose product with its scale is v and whose code stands for `value`.
FP8_HD constexpr ElementError element_error(const CastLimits& limits, float x, float v, float value,
                                            float scale_inv) {
  ElementError result;
  const bool x_finite = is_finite(x);
  const float y = value * scale_inv;
  const bool y_finite = !is_nan(v) && is_finite(y);
  result.lost = x_finite && !y_finite;
  if (!x_finite || !y_finite) return result;
  const float magnitude = magnitude_of(x), kept = magnitude_of(value);
  result.counts = true;
  result.x = x;
  result.e = x - y;
  result.rest = magnitude_of(y);
  result.top = magnitude > limits.bulk;
  result.clipped = magnitude_of(v) > limits.clip;
  result.underflow = x != 0.0f && kept == 0.0f;
  result.overflow = magnitude > limits.max * scale_inv;
  result.subnormal = kept != 0.0f && kept < limits.min_normal;
  return result;
}

}  // namespace fp8scope
