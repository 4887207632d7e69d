#pragma once

#include <cstdint>

#include "sim/bits.hpp"

// The scale rules of the libraries, one function each, named P1 to P11. All arithmetic is binary32,
// one rounding per written operation, unless a line says binary64; exponents are taken from bits, so
// no function of libm is involved.
namespace fp8scope {

inline constexpr float float_max = 3.402823466e+38f;  ///< largest finite binary32

/// x cut down to a power of two: its bits without mantissa. Zero, infinity stay.
FP8_HD constexpr float cut_to_pow2(float x) { return bits_float(float_bits(x) & 0xff800000u); }

/// x rounded up to a power of two within [2^-126, 2^127], by its bits (P9, DeepSeek's UE8M0).
/// Source: DeepGEMM ceil_to_ue8m0.
FP8_HD constexpr float round_up_to_pow2(float s) {
  if (is_nan(s)) return s;
  const std::uint32_t word = float_bits(s) & magnitude_bits;
  std::uint32_t field = (word >> 23) + ((word & 0x7fffffu) != 0 ? 1u : 0u);
  if (field < 1u) field = 1u;
  if (field > 254u) field = 254u;
  return bits_float(field << 23);
}

/// floor(fl(log2 x)) as a correctly rounded binary32 logarithm gives it: just below 2^n the logarithm
/// rounds up to n, and the floor with it. libraries that take float logarithms have that fault.
///
/// Requires x > 0, finite. x = 2^n (1 - j 2^-24) carries iff j 2^-24 / ln 2 is under half a place of n.
FP8_HD constexpr int floor_of_rounded_log2(float x) {
  std::uint32_t word = float_bits(x);
  int exponent = static_cast<int>(word >> 23) - 127;
  if (exponent == -127) {  // subnormal: shift the leading bit into place
    exponent = -126;
    while ((word & 0x800000u) == 0) word <<= 1, --exponent;
  }
  const int n = exponent + 1;
  const std::uint32_t below = 0x800000u - (word & 0x7fffffu);  // j
  const int size = n < 0 ? -n : n;
  if (size == 0) return exponent;
  int k = 0;  // places of n on the side of x have 2^(k - 23)
  while ((2 << k) <= size) ++k;
  if (n > 0 && (1 << k) == size) --k;
  if (k < 0) return exponent;
  // ln 2 * 2^k, in units of 2^-24 of x; never an integer.
  const std::uint32_t limit = static_cast<std::uint32_t>(0.69314718055994531 * (1 << k));
  return below <= limit ? n : exponent;
}

/// P1: Transformer Engine's scale of one amax: fl(max/amax), 1 where that says nothing.
///
/// floor  smallest amax that counts ("epsilon"); 0 is none
/// big    what an infinite quotient becomes
/// Source: TransformerEngine compute_scale_from_amax (current and block scaling), v2.
FP8_HD constexpr float te_scale(float amax, float max, bool pow2, float floor, float big) {
  if (amax < floor) amax = floor;
  if (!is_finite(amax) || amax == 0.0f) return 1.0f;
  float scale = max / amax;
  if (!is_finite(scale)) scale = big;
  return pow2 ? cut_to_pow2(scale) : scale;
}

/// P2: Transformer Engine's scale of a delayed recipe: fl(max/amax), or the previous scale if the amax
/// is zero, negative, infinite or NaN.
///
/// max  fl(MAX * 2^-margin)
/// big  what an infinite quotient becomes; before May 2024 it stayed infinite
/// Source: TransformerEngine delayed_scaling.cu, kernel_bulk.
FP8_HD constexpr float delayed_scale(float amax, float previous, float max, float big = float_max) {
  if (!is_finite(amax) || !(amax > 0.0f)) return previous;
  const float scale = max / amax;
  return is_finite(scale) ? scale : big;
}

/// The same as PyTorch evaluates Transformer Engine's Python update: number / tensor is a reciprocal
/// and a product, and the margin is divided away last.
///
/// guarded  an infinite result becomes the largest binary32 number
/// Source: TransformerEngine fp8.py _default_sf_compute.
FP8_HD constexpr float delayed_scale_unfused(float amax, float previous, float max, int margin, bool guarded = true) {
  if (!is_finite(amax) || !(amax > 0.0f)) return previous;
  const float scale = 1.0f / amax * max / pow2(margin);
  return is_finite(scale) || !guarded ? scale : float_max;
}

/// P3: E8M0 code of ceil(log2(v)), clamped to [-127, 127]; NaN is 255, infinity `infinity_code`.
/// v = fl(amax * fl(1/MAX)).
/// Source: PTX cvt.rp.satfinite.ue8m0x2.f32; TransformerEngine float_to_e8m0; torchao RCEIL.
FP8_HD constexpr std::uint32_t e8m0_ceil(float v, std::uint32_t infinity_code) {
  if (is_nan(v)) return 255u;
  const std::uint32_t word = float_bits(v) & magnitude_bits;
  if (word == inf_bits) return infinity_code;
  const std::uint32_t field = word >> 23, fraction = word & 0x7fffffu;
  // A binary32 subnormal up to 2^-127 belongs to code 0, one above it to code 1.
  const bool exact = fraction == 0 || (field == 0 && fraction <= 0x400000u);
  return exact || field == 254u ? field : field + 1u;
}

/// The E8M0 code of exponent field - max_exponent, clamped to [0, 255].
FP8_HD constexpr std::uint32_t e8m0_from_field(std::uint32_t field, int max_exponent) {
  const int code = static_cast<int>(field) - max_exponent;
  return static_cast<std::uint32_t>(code < 0 ? 0 : code > 255 ? 255 : code);
}

/// P4: E8M0 code of 2^(floor(log2 amax) - max_exponent), clamped to [0, 255]; not finite is 255.
/// Source: OCP Microscaling Formats (MX) 1.0, section 6.3; torchao FLOOR.
FP8_HD constexpr std::uint32_t e8m0_floor(float amax, int max_exponent) {
  if (!is_finite(amax)) return 255u;
  return e8m0_from_field(float_bits(amax) << 1 >> 24, max_exponent);
}

/// P5: E8M0 code of 2^(ceil(log2 amax) - max_exponent): P4, one more where amax is no power of two.
/// Source: torchao CEIL.
FP8_HD constexpr std::uint32_t e8m0_ceil_of_amax(float amax, int max_exponent) {
  if (!is_finite(amax)) return 255u;
  const std::uint32_t word = float_bits(amax) & magnitude_bits;
  return e8m0_from_field((word >> 23) + ((word & 0x7fffffu) != 0 ? 1u : 0u), max_exponent);
}

/// P6: P4 of an amax whose mantissa is first rounded as the element format would round it.
///
/// mantissa_bits  of the element format
/// Source: torchao EVEN.
FP8_HD constexpr std::uint32_t e8m0_even(float amax, int mantissa_bits, int max_exponent) {
  if (!is_finite(amax)) return 255u;
  const std::uint32_t rounded = (float_bits(amax) & magnitude_bits) + (1u << (22 - mantissa_bits));
  if (rounded >= inf_bits) return 255u;
  return e8m0_from_field(rounded >> 23, max_exponent);
}

/// P7: what elements are multiplied with under E8M0 code c: 2^(127-c), NaN for 255.
FP8_HD constexpr float e8m0_reciprocal(std::uint32_t code) {
  return code == 255u ? bits_float(0x7fc00000u) : pow2(127 - static_cast<int>(code));
}

/// The same before TransformerEngine 2.13: 1 for code 0, 0 for code 254 (and -0 for 255, a NaN).
FP8_HD constexpr float e8m0_reciprocal_te_2_12(std::uint32_t code) {
  if (code == 0u) return 1.0f;
  return bits_float((254u - code) << 23);
}

/// P8: DeepSeek's dequantise factor fl(max(amax, floor)/max); NaN passes.
/// Source: DeepGEMM per_token_cast_to_fp8; TileKernels.
FP8_HD constexpr float deepseek_scale_inv(float amax, float max, float floor) {
  return (amax < floor ? floor : amax) / max;
}

/// How a scale becomes a power of two.
enum class Pow2 : std::uint8_t {
  none,
  down,  ///< the mantissa is cut
  up,    ///< next power of two, by bits, within [2^-126, 2^127] (P9)
  log2,  ///< 2^floor(fl(log2 S)) with a binary32 logarithm: up by mistake just below a power of two
};

/// P10: torchao's scale fl(MAX / max(amax, 1e-12)), divided in binary64. NaN passes, infinity gives 0.
/// Source: torchao amax_to_scale.
FP8_HD constexpr float torchao_scale(float amax, float max, Pow2 pow2_rule) {
  const double a = amax;
  const double counted = a < 1e-12 ? 1e-12 : a;
  const float scale = static_cast<float>(static_cast<double>(max) / counted);
  if (pow2_rule == Pow2::none || !is_finite(scale) || scale == 0.0f) return scale;
  return pow2_rule == Pow2::log2 ? pow2(floor_of_rounded_log2(scale)) : cut_to_pow2(scale);
}

/// P11: MS-AMP's scale 2^(floor(log2(MAX/amax)) - margin), times mu (FP8-LM's automatic scaling), or
/// the previous scale if the amax is not a positive finite number. An exponent below zero is applied as
/// a reciprocal at the end, of whatever is there: an infinite amax gives 1/previous, and mu divides.
/// Source: MS-AMP ScalingMeta.compute_scaling_factor; mu: its pull request 140.
FP8_HD constexpr float msamp_scale(float amax, float previous, float max, int margin, float mu = 1.0f) {
  if (is_nan(amax)) return previous;
  const float ratio = 1.0f / amax * max;  // torch: number / tensor is a reciprocal and a product
  const bool infinite = !is_finite(ratio), zero = ratio == 0.0f;
  const int exponent = infinite || zero ? 0 : floor_of_rounded_log2(ratio) - margin;
  const int size = exponent < 0 ? -exponent : exponent;
  float scale = infinite || zero || size > 127 ? bits_float(inf_bits) : pow2(size);
  scale = scale * mu;
  if (!(amax > 0.0f) || !is_finite(amax)) scale = previous;
  return zero || exponent < 0 ? 1.0f / scale : scale;
}

}  // namespace fp8scope
