#pragma once

#include "sim/convert.hpp"

namespace fp8scope {

/// The numbers of a vector cast. |x| is clamped, and 2^(e + 23 - m) is added to it, where e is the
/// exponent of |x| but at least that of the smallest normal: the hardware's own rounding of that sum
/// leaves round(|x| / 2^(e-m)) in its low bits, for normals and subnormals alike. Together with
/// (e - min_exponent) << m that is the code.
struct CastConstants {
  float clamp;                     ///< MAX, or the next number of its grid where overflow must show
  std::uint32_t min_normal_bits;   ///< binary32 pattern of the smallest normal value
  std::uint32_t magic;             ///< (23 - m) << 23
  std::uint32_t base;              ///< added to (magic pattern >> (23 - m)): gives (e - min_exponent) << m
  int mantissa_bits;
  std::uint32_t sign_bit;
  int sign_shift;                  ///< right, from bit 31 to the sign bit
  bool specials;                   ///< the next three are needed
  std::uint32_t max_code, over_code, infinite_code;  ///< without sign
  std::uint32_t nan_code;          ///< code of a NaN
  std::uint32_t nan_sign_bit;      ///< the sign bit where a NaN code depends on the NaN's sign, else 0
  std::uint32_t nan_flip;          ///< sign bit where it depends on it the wrong way round, else 0
};

/// Requires a signed format of at most 8 bits.
constexpr CastConstants cast_constants(const Format& f, const CastRule& rule) {
  CastConstants k{};
  const bool saturate = rule.overflow == Overflow::saturate;
  k.specials = !(saturate && rule.inf == InfRule::max);
  const float ulp = pow2(f.max_exponent() - f.mantissa_bits);
  k.clamp = k.specials ? f.max_value() + ulp : f.max_value();
  k.min_normal_bits = float_bits(pow2(f.min_exponent()));
  k.mantissa_bits = f.mantissa_bits;
  k.magic = static_cast<std::uint32_t>(23 - f.mantissa_bits) << 23;
  k.base = 0u - ((k.min_normal_bits + k.magic) >> (23 - f.mantissa_bits));
  k.sign_bit = f.sign_bit();
  k.sign_shift = 32 - f.bits();
  k.max_code = f.max_code();
  k.over_code = saturate ? f.max_code() : encode_special(f, false, rule);
  k.infinite_code = saturate && rule.inf == InfRule::max ? f.max_code() : encode_special(f, false, rule);
  const std::uint32_t positive = encode_nan(f, false, rule), negative = encode_nan(f, true, rule);
  k.nan_sign_bit = positive ^ negative;
  k.nan_code = positive & negative;
  k.nan_flip = (positive & k.nan_sign_bit) != 0 ? k.sign_bit : 0u;
  return k;
}

}  // namespace fp8scope
