#pragma once

#include <cstdint>

#include "sim/convert.hpp"

namespace fp8scope {

/// A format and a rule as the constants of fast code. The code of a finite x is taken from one
/// addition: t = min(|x|, max) + M with M = 2^(e + 23 - m), e the exponent of |x| but at least the
/// smallest normal one. The last place of M is that of the format at x, so the hardware rounds to
/// nearest even, subnormals included, and the low bits of t are the significand. M also holds, in
/// units of its last place, what makes the low byte of t + (M >> shift) the code; an even number,
/// so ties are not disturbed.
struct CastPlan {
  Format format;
  CastRule rule;
  bool vectorised;  ///< encode_nearest() is encode(); false: only the scalar code knows this cast
  bool stochastic;  ///< encode_stochastic() is encode()
  bool plain;       ///< saturates all, one NaN code, has -0: none of the fields below `nan` matter

  std::uint32_t max_bits;         ///< pattern of the largest finite value
  std::uint32_t min_normal_bits;  ///< pattern of the smallest normal value
  std::uint32_t to_magic;         ///< added to the exponent of x, the pattern of M
  int shift;                      ///< 23 - mantissa bits
  int sign_shift;                 ///< from the sign of binary32 to that of the format
  std::uint32_t nan;              ///< code of a positive NaN
  std::uint32_t negative_nan;
  std::uint32_t overflow_above;   ///< magnitudes beyond this pattern, but NaN, get `overflow`
  std::uint32_t overflow;         ///< code of +infinity
  bool negative_zero;
};

CastPlan make_plan(const Format& f, const CastRule& rule);

/// Sign, NaN and overflow put to the code of min(|x|, max).
FP8_HD constexpr std::uint32_t finish_code(const CastPlan& p, std::uint32_t code, float x) {
  const std::uint32_t bits = float_bits(x), magnitude = bits & magnitude_bits;
  if (magnitude > p.overflow_above) code = p.overflow;
  const std::uint32_t sign = bits >> 31 << (31 - p.sign_shift);
  const std::uint32_t with_sign = code != 0 || p.negative_zero ? code | sign : code;
  const std::uint32_t nan = sign != 0 ? p.negative_nan : p.nan;
  return magnitude > inf_bits ? nan : with_sign;
}

/// encode(p.format, x, p.rule), by one addition. Requires p.vectorised.
FP8_HD constexpr std::uint32_t encode_nearest(const CastPlan& p, float x) {
  const std::uint32_t magnitude = float_bits(x) & magnitude_bits;
  const std::uint32_t bounded = magnitude < p.max_bits ? magnitude : p.max_bits;
  const std::uint32_t normal = bounded > p.min_normal_bits ? bounded : p.min_normal_bits;
  const std::uint32_t magic = (normal & inf_bits) + p.to_magic;
  const std::uint32_t t = float_bits(bits_float(bounded) + bits_float(magic));
  return finish_code(p, (t + (magic >> p.shift)) & 0xffu, x);
}

/// encode(p.format, x, p.rule, {random, 32}), in 32-bit integers. Requires p.stochastic.
FP8_HD constexpr std::uint32_t encode_stochastic(const CastPlan& p, float x, std::uint32_t random) {
  const std::uint32_t magnitude = float_bits(x) & magnitude_bits;
  const std::uint32_t bounded = magnitude < p.max_bits ? magnitude : p.max_bits;
  const std::uint32_t field = bounded >> 23, lowest = p.min_normal_bits >> 23;
  const std::uint32_t significand = (bounded & 0x7fffffu) | (field > 0 ? 0x800000u : 0u);
  const std::uint32_t exponent = field > 0 ? field : 1u;
  const std::uint32_t normal = exponent > lowest ? exponent : lowest;
  const std::uint32_t drop = static_cast<std::uint32_t>(p.shift) + (normal - exponent);
  std::uint32_t kept = 0;
  if (drop < 32) {
    kept = (significand + (random >> (32 - drop))) >> drop;
  } else {  // less than 2^-8 of a unit: it can only carry
    const std::uint32_t part = significand >> (drop - 32 < 31 ? drop - 32 : 31);
    kept = random + part < random ? 1u : 0u;
  }
  const std::uint32_t base = normal + static_cast<std::uint32_t>(p.format.bias - 128);
  return finish_code(p, (base << p.format.mantissa_bits) + kept, x);
}

}  // namespace fp8scope
