#pragma once

#include <cstdint>
#include <string_view>

#include "sim/bits.hpp"
#include "sim/format.hpp"
#include "sim/rounding.hpp"

namespace fp8scope {

/// What becomes of finite values beyond the format's range.
enum class Overflow : std::uint8_t {
  saturate,  ///< the largest finite value
  special,   ///< infinity, or NaN where the format has no infinity; formats with neither saturate
};

/// What +-infinity becomes under Overflow::saturate.
enum class InfRule : std::uint8_t {
  max,      ///< the largest finite value (CUDA satfinite, gfloat)
  special,  ///< infinity or NaN, as without saturation (ml_dtypes)
};

/// Which of a format's NaN codes a NaN becomes.
enum class NanRule : std::uint8_t {
  all_ones,         ///< 0x7F..F, sign dropped (CUDA's host conversion)
  all_ones_signed,  ///< 0x7F..F with the sign of the input
  quiet_signed,     ///< top mantissa bit only, with the sign of the input (ml_dtypes, IEEE 754)
  max,              ///< +MAX: fminf(x, MAX) drops a NaN (a clamp from above first)
  lowest,           ///< -MAX: fmaxf(x, -MAX) drops a NaN (a clamp from below first)
};

/// What a NaN becomes in a format without NaN.
enum class NoNanRule : std::uint8_t {
  max,             ///< +MAX (CUDA)
  sign_bit_flip,   ///< -0 for a positive NaN, +0 for a negative one (ml_dtypes)
};

/// E8M0 of a negative number.
enum class NegativeScale : std::uint8_t {
  magnitude,  ///< the sign is ignored (CUDA)
  nan,        ///< NaN (ml_dtypes)
  lowest,     ///< 2^-127 (ml_dtypes, saturating)
};

/// E8M0 of zero.
enum class ZeroScale : std::uint8_t {
  lowest,  ///< 2^-127 (CUDA)
  nan,     ///< NaN (ml_dtypes)
};

/// Sign of a zero result.
enum class ZeroRule : std::uint8_t {
  keep,        ///< that of the input: hardware
  drop,        ///< +0 (DeepGEMM's Python FP4 encoder)
  drop_exact,  ///< +0 for an input that is zero, else that of the input (Transformer Engine's FP4 table)
};

/// Every choice that a conversion to a narrow format makes. The default is NVIDIA's
/// `cvt.rn.satfinite` as its host header computes it. Source: spec of formats, section 4.
struct CastRule {
  Rounding rounding = Rounding::nearest_even;
  Overflow overflow = Overflow::saturate;
  InfRule inf = InfRule::max;
  NanRule nan = NanRule::all_ones;
  NoNanRule no_nan = NoNanRule::max;
  NegativeScale negative_scale = NegativeScale::magnitude;
  ZeroScale zero_scale = ZeroScale::lowest;
  ZeroRule zero = ZeroRule::keep;

  friend constexpr bool operator==(const CastRule&, const CastRule&) = default;
};

/// ml_dtypes' choices: NaN and infinity survive saturation, NaNs are quiet and signed.
constexpr CastRule ml_dtypes_rule(Rounding rounding, Overflow overflow) {
  const bool saturate = overflow == Overflow::saturate;
  return {rounding, overflow, InfRule::special, NanRule::quiet_signed, NoNanRule::sign_bit_flip,
          saturate ? NegativeScale::lowest : NegativeScale::nan,
          saturate ? ZeroScale::lowest : ZeroScale::nan, ZeroRule::keep};
}

/// Value of `code`, exactly; NaN codes give a quiet NaN with the code's sign.
FP8_HD constexpr float decode(const Format& f, std::uint32_t code) {
  const std::uint32_t sign = (code & f.sign_bit()) != 0 ? 0x80000000u : 0u;
  const std::uint32_t magnitude = code & f.magnitude_mask();
  if (f.specials == Specials::fnuz && code == f.nan_code()) return bits_float(sign | 0x7fc00000u);
  if (magnitude > f.max_code()) {
    const bool infinite = f.has_inf() && magnitude == f.inf_code();
    return bits_float(sign | (infinite ? inf_bits : 0x7fc00000u));
  }
  const int field = static_cast<int>(magnitude >> f.mantissa_bits);
  const bool normal = field > 0 || !f.is_signed();
  const std::uint32_t significand =
      (normal ? 1u << f.mantissa_bits : 0u) | (magnitude & low_mask(f.mantissa_bits));
  const int exponent = (normal ? field : 1) - f.bias;
  const float value = static_cast<float>(significand) * pow2(exponent - f.mantissa_bits);
  return bits_float(sign | float_bits(value));
}

/// |x| = significand * 2^(exponent - 23), with bit 23 of the significand set unless x is 0.
struct Unpacked {
  std::uint32_t significand;
  int exponent;
};

/// Requires a finite x, given as its magnitude bits.
FP8_HD constexpr Unpacked unpack(std::uint32_t magnitude) {
  const int field = static_cast<int>(magnitude >> 23);
  std::uint32_t significand = magnitude & 0x7fffffu;
  if (field > 0) return {significand | 0x800000u, field - 127};
  int exponent = -126;
  while (significand != 0 && (significand & 0x800000u) == 0) significand <<= 1, --exponent;
  return {significand, exponent};
}

/// Whether a NaN becomes a number although the format has a NaN.
FP8_HD constexpr bool clamps_nan(const Format& f, const CastRule& rule) {
  return f.has_nan() && (rule.nan == NanRule::max || rule.nan == NanRule::lowest);
}

/// Code of a NaN with the given sign.
FP8_HD constexpr std::uint32_t encode_nan(const Format& f, bool negative, const CastRule& rule) {
  if (!f.has_nan()) {
    if (rule.no_nan == NoNanRule::max) return f.max_code();
    return negative ? 0u : f.sign_bit();
  }
  if (rule.nan == NanRule::max) return f.max_code();
  if (rule.nan == NanRule::lowest) return (f.is_signed() ? f.sign_bit() : 0u) | f.max_code();
  if (!f.is_signed() || f.specials == Specials::fnuz) return f.nan_code();
  if (rule.nan == NanRule::all_ones) return f.nan_code();
  const std::uint32_t sign = negative ? f.sign_bit() : 0u;
  const bool quiet = rule.nan == NanRule::quiet_signed && f.specials == Specials::ieee;
  return sign | (quiet ? f.inf_code() | 1u << (f.mantissa_bits - 1) : f.nan_code());
}

/// Code of an overflow that does not saturate.
FP8_HD constexpr std::uint32_t encode_special(const Format& f, bool negative, const CastRule& rule) {
  if (f.has_inf()) return (negative ? f.sign_bit() : 0u) | f.inf_code();
  if (!f.has_nan()) return (negative ? f.sign_bit() : 0u) | f.max_code();
  // An overflow is a NaN with a sign in every library, also where a NaN input loses its own.
  CastRule with_sign = rule;
  with_sign.nan = NanRule::all_ones_signed;
  return encode_nan(f, negative, with_sign);
}

/// Code of a power-of-two scale (E8M0): the exponent of |x|, rounded as `rule` says. Ties go up in
/// magnitude (nearest_away) or to the even code (nearest_even).
FP8_HD constexpr std::uint32_t encode_scale(const Format& f, float x, const CastRule& rule,
                                            RandomBits random) {
  const std::uint32_t magnitude = float_bits(x) & magnitude_bits;
  const bool negative = float_bits(x) != magnitude;
  if (magnitude > inf_bits) return f.nan_code();
  if (magnitude == 0) return rule.zero_scale == ZeroScale::nan ? f.nan_code() : 0u;
  if (magnitude == inf_bits && rule.inf == InfRule::special) return f.nan_code();
  if (negative && rule.negative_scale == NegativeScale::nan) return f.nan_code();
  if (negative && rule.negative_scale == NegativeScale::lowest) return 0u;
  const bool saturate = rule.overflow == Overflow::saturate;
  if (magnitude == inf_bits) return saturate ? f.max_code() : f.nan_code();

  const Unpacked u = unpack(magnitude);
  const int field = u.exponent + f.bias;
  if (field < 0) return 0u;  // 2^-bias is the nearest there is, from either side
  // The leading 1 is not stored: rounding (code * 2^23 + fraction) carries into the code itself.
  const std::uint32_t fraction = u.significand & 0x7fffffu;
  const std::uint32_t even = static_cast<std::uint32_t>(field) & 1u;
  const std::uint32_t rounded = shift_round(even << 23 | fraction, 23, rule.rounding, false, random);
  const std::uint32_t code = static_cast<std::uint32_t>(field) - even + rounded;
  if (code <= f.max_code()) return code;
  return saturate ? f.max_code() : f.nan_code();
}

/// Distance between the E2M1 values at |x| >= 1/2.
FP8_HD constexpr float e2m1_step(float magnitude) {
  return magnitude >= 4.0f ? 2.0f : magnitude >= 2.0f ? 1.0f : 0.5f;
}

/// E2M1 code of |x| rounded stochastically as Transformer Engine's software does it: the random number
/// is added in binary32, which rounds, and the place is taken again from the sum.
///
/// bits  8 random bits
/// Source: TransformerEngine stochastic_round_fp4_e2m1.
FP8_HD constexpr std::uint32_t stochastic_e2m1(float magnitude, std::uint32_t bits) {
  // The product of 8 bits and a power of two is exact, so this sum rounds once, as fma() does.
  const float sum = static_cast<float>(bits) * 0x1p-8f * e2m1_step(magnitude) + magnitude;
  if (!(sum < 6.0f)) return 7u;
  const auto steps = static_cast<std::uint32_t>(sum / e2m1_step(sum));
  return sum >= 4.0f ? 6u : sum >= 2.0f ? steps + 2u : steps;
}

/// E5M6 code of |x| as TileKernels ships it: binary16 toward zero, its top 12 bits, and the low 17 bits
/// of the binary32 as what was cut off. Nearest even for normal results; below 2^-14 it is no rounding
/// of x, because the bits that the shift of a subnormal cuts are not among those.
/// Source: TileKernels _cast_to_e5m6.
FP8_HD constexpr std::uint32_t e5m6_as_shipped(std::uint32_t word) {
  constexpr Format half{5, 10, 15, Specials::ieee};
  const std::uint32_t magnitude = word & magnitude_bits;
  std::uint32_t bits16 = 0x7fffu;
  if (magnitude <= inf_bits) {
    const Unpacked u = unpack(magnitude == inf_bits ? 0u : magnitude);
    const int exponent = u.significand != 0 && u.exponent > half.min_exponent() ? u.exponent : half.min_exponent();
    const int drop = 13 + (u.significand != 0 ? exponent - u.exponent : 0);
    const std::uint32_t kept = drop > 24 ? 0u : u.significand >> drop;
    bits16 = magnitude >= 0x47800000u ? 0x7c00u
                                      : (static_cast<std::uint32_t>(exponent + half.bias - 1) << 10) + kept;
  }
  bits16 |= word >> 16 & 0x8000u;
  const std::uint32_t code = bits16 >> 4;
  return (code + ((code & 1u) + (word & 0x1ffffu) > 0x10000u ? 1u : 0u)) & 0xfffu;
}

/// Code of x in format `f`. Integers only; one rounding.
///
/// Requires random.value < 2^random.count if the rounding is stochastic.
/// Source: IEEE 754-2019 section 4.3 for roundings and their overflow; OCP OFP8 1.0.
FP8_HD constexpr std::uint32_t encode(const Format& f, float x, const CastRule& rule = {},
                                      RandomBits random = {}) {
  if (f.specials == Specials::scale) return encode_scale(f, x, rule, random);
  if (rule.rounding == Rounding::deepseek_e5m6) return e5m6_as_shipped(float_bits(x));
  const std::uint32_t magnitude = float_bits(x) & magnitude_bits;
  const bool negative = float_bits(x) != magnitude;
  const std::uint32_t sign = negative ? f.sign_bit() : 0u;
  if (magnitude > inf_bits) return encode_nan(f, negative, rule);
  if (rule.rounding == Rounding::te_e2m1)
    return sign | stochastic_e2m1(bits_float(magnitude), random.value & 0xffu);
  const bool saturate = rule.overflow == Overflow::saturate;
  if (magnitude == inf_bits)
    return saturate && rule.inf == InfRule::max ? sign | f.max_code()
                                                : encode_special(f, negative, rule);

  const Unpacked u = unpack(magnitude);
  const int exponent = u.exponent > f.min_exponent() && magnitude != 0 ? u.exponent : f.min_exponent();
  const int drop = 23 - f.mantissa_bits + (u.significand != 0 ? exponent - u.exponent : 0);
  const std::uint32_t kept = shift_round(u.significand, drop, rule.rounding, negative, random);

  // `kept` still has its leading 1. Added to (exponent field - 1) it restores the field, carries
  // a round-up into the next binade, and leaves field 0 for subnormals.
  const auto base = static_cast<std::uint32_t>(exponent + f.bias - 1);
  const std::uint64_t code = (static_cast<std::uint64_t>(base) << f.mantissa_bits) + kept;
  const bool plain_zero = !f.has_negative_zero() || rule.zero == ZeroRule::drop ||
                          (rule.zero == ZeroRule::drop_exact && magnitude == 0);
  if (code == 0 && plain_zero) return 0u;
  if (code <= f.max_code()) return sign | static_cast<std::uint32_t>(code);
  const Rounding r = rule.rounding;
  const bool stops_at_max = r == Rounding::toward_zero || r == Rounding::to_odd ||
                            (r == Rounding::up && negative) || (r == Rounding::down && !negative);
  return saturate || stops_at_max ? sign | f.max_code() : encode_special(f, negative, rule);
}

}  // namespace fp8scope
