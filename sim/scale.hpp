#pragma once

#include <cstdint>

#include "sim/bits.hpp"

namespace fp8scope {

/// The two numbers of a block: codes are encode(x * scale), values are decode(code) * scale_inv.
/// A recipe chooses both, because fl(1 / fl(MAX/amax)) differs from fl(amax/MAX) for many amaxes.
struct Scales {
  float scale = 1.0f;      ///< quantise multiplier
  float scale_inv = 1.0f;  ///< dequantise factor

  friend constexpr bool operator==(const Scales&, const Scales&) = default;
};

inline constexpr float float_max = 3.402823466e+38f;  ///< largest finite binary32

/// x cut down to a power of two: its bits without mantissa. Zero, infinity stay.
FP8_HD constexpr float cut_to_pow2(float x) { return bits_float(float_bits(x) & 0xff800000u); }

/// Transformer Engine's scale of one amax: fl(max/amax), 1 where that says nothing.
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

/// Transformer Engine's scale of a delayed recipe: fl(max/amax), or the previous scale if the amax is
/// zero, negative, infinite or NaN.
///
/// max  fl(MAX * 2^-margin)
/// Source: TransformerEngine delayed_scaling.cu, kernel_bulk.
FP8_HD constexpr float delayed_scale(float amax, float previous, float max) {
  if (!is_finite(amax) || !(amax > 0.0f)) return previous;
  const float scale = max / amax;
  return is_finite(scale) ? scale : float_max;
}

/// E8M0 code of ceil(log2(v)), clamped to [-127, 127]; NaN is 255, infinity `infinity_code`.
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

/// E8M0 code of 2^(floor(log2 amax) - max_exponent), clamped to [0, 255]; not finite is 255.
/// Source: OCP Microscaling Formats (MX) 1.0, section 6.3; torchao FLOOR.
FP8_HD constexpr std::uint32_t e8m0_floor(float amax, int max_exponent) {
  if (!is_finite(amax)) return 255u;
  const int code = static_cast<int>(float_bits(amax) << 1 >> 24) - max_exponent;
  return static_cast<std::uint32_t>(code < 0 ? 0 : code);
}

/// Both numbers of an E8M0 code c: scale 2^(127-c), scale_inv 2^(c-127); NaN for 255.
FP8_HD constexpr Scales e8m0_scales(std::uint32_t code) {
  if (code == 255u) return {bits_float(0x7fc00000u), bits_float(0x7fc00000u)};
  const int exponent = static_cast<int>(code) - 127;
  return {pow2(-exponent), pow2(exponent)};
}

/// E8M0 code of a power of two that e8m0_scales() made.
FP8_HD constexpr std::uint32_t e8m0_code(float scale_inv) {
  return is_nan(scale_inv) ? 255u : float_bits(scale_inv) << 1 >> 24;
}

/// s rounded up to a power of two within [2^-126, 2^127], by its bits: DeepSeek's UE8M0.
/// Source: DeepGEMM ceil_to_ue8m0.
FP8_HD constexpr float round_up_to_pow2(float s) {
  if (is_nan(s)) return s;
  const std::uint32_t word = float_bits(s) & magnitude_bits;
  std::uint32_t field = (word >> 23) + ((word & 0x7fffffu) != 0 ? 1u : 0u);
  if (field < 1u) field = 1u;
  if (field > 254u) field = 254u;
  return bits_float(field << 23);
}

/// How an online recipe turns the amax of a block into its scales: a value, so that the CPU, its
/// vector kernels and the GPU run the same rule.
struct ScaleRule {
  enum class Kind : std::uint8_t {
    te,          ///< te_scale, and scale_inv = fl(1/scale)
    deepseek,    ///< scale_inv = fl(max(amax, floor)/max), scale = fl(1/scale_inv)
    e8m0_ceil,   ///< e8m0_ceil(fl(amax * fl(1/max)))
    e8m0_floor,  ///< e8m0_floor(amax)
    fixed,       ///< scale 1
  };
  Kind kind = Kind::te;
  float max = 448.0f;                 ///< largest value of the element format
  float floor = 0.0f;                 ///< smallest amax that counts
  float big = float_max;              ///< te: what an infinite quotient becomes
  bool pow2 = false;                  ///< te: round scale down; deepseek: round scale_inv up
  int max_exponent = 8;               ///< e8m0_floor: EMAX of the element format
  std::uint32_t infinity_code = 254;  ///< e8m0_ceil: code of an infinite amax

  friend constexpr bool operator==(const ScaleRule&, const ScaleRule&) = default;
};

/// block_scales() but for the payload of a NaN, which processors choose.
FP8_HD constexpr Scales raw_block_scales(const ScaleRule& rule, float amax) {
  switch (rule.kind) {
    case ScaleRule::Kind::te: {
      const float scale = te_scale(amax, rule.max, rule.pow2, rule.floor, rule.big);
      return {scale, 1.0f / scale};
    }
    case ScaleRule::Kind::deepseek: {
      const float counted = amax < rule.floor ? rule.floor : amax;
      const float exact = counted / rule.max;
      const float scale_inv = rule.pow2 ? round_up_to_pow2(exact) : exact;
      return {1.0f / scale_inv, scale_inv};
    }
    case ScaleRule::Kind::e8m0_ceil:
      return e8m0_scales(e8m0_ceil(amax * (1.0f / rule.max), rule.infinity_code));
    case ScaleRule::Kind::e8m0_floor: return e8m0_scales(e8m0_floor(amax, rule.max_exponent));
    default: return {};
  }
}

/// The scales of a block whose largest magnitude is `amax`. A NaN is the default quiet one.
FP8_HD constexpr Scales block_scales(const ScaleRule& rule, float amax) {
  const Scales s = raw_block_scales(rule, amax);
  const float nan = bits_float(0x7fc00000u);
  return {is_nan(s.scale) ? nan : s.scale, is_nan(s.scale_inv) ? nan : s.scale_inv};
}

}  // namespace fp8scope
