#include "sim/cast_plan.hpp"

namespace fp8scope {

namespace {

// M >> shift is (e + 127 + shift) << m, the code wants (e + bias - 1) << m: their difference, in
// the low byte.
std::uint32_t code_offset(const Format& f) {
  const auto difference = static_cast<std::uint32_t>(f.bias - 1 - 127 - (23 - f.mantissa_bits));
  return difference << f.mantissa_bits & 0xffu;
}

// Every power of two of the vector code must be a normal binary32 number with room on both sides.
bool in_vector_range(const Format& f) {
  const bool has_normals = f.max_code() >> f.mantissa_bits > 0;
  return f.is_signed() && f.bits() <= 8 && has_normals && f.min_exponent() > -100 &&
         f.max_exponent() < 100 && code_offset(f) % 2 == 0;
}

// The largest pattern that still rounds to the largest finite value.
std::uint32_t last_finite_bits(const Format& f, std::uint32_t max_bits) {
  const std::uint32_t half = 1u << (22 - f.mantissa_bits);
  // Without stored bits the significand is its leading 1, which is odd.
  const bool odd = f.mantissa_bits == 0 || (f.max_code() & 1u) != 0;
  return max_bits + half - (odd ? 1u : 0u);
}

}  // namespace

CastPlan make_plan(const Format& f, const CastRule& rule) {
  CastPlan plan{};
  plan.format = f;
  plan.rule = rule;
  const bool known = rule.zero == ZeroRule::keep && in_vector_range(f);
  plan.vectorised = known && rule.rounding == Rounding::nearest_even;
  // Not `special`: whether a number just above MAX overflows depends on the random bits.
  plan.stochastic = known && rule.rounding == Rounding::stochastic && rule.overflow == Overflow::saturate;
  if (!plan.vectorised && !plan.stochastic) return plan;

  plan.max_bits = float_bits(f.max_value());
  plan.min_normal_bits = float_bits(pow2(f.min_exponent()));
  plan.shift = 23 - f.mantissa_bits;
  plan.sign_shift = 32 - f.bits();
  plan.to_magic = static_cast<std::uint32_t>(plan.shift) << 23 | code_offset(f);
  plan.negative_zero = f.has_negative_zero();

  const float nan = bits_float(0x7fc00000u), negative_nan = bits_float(0xffc00000u);
  plan.nan = encode(f, nan, rule);
  plan.negative_nan = encode(f, negative_nan, rule);
  plan.overflow = encode(f, bits_float(inf_bits), rule);
  const bool inf_saturates = plan.overflow == f.max_code();
  if (inf_saturates) plan.overflow_above = inf_bits;
  else if (rule.overflow == Overflow::saturate) plan.overflow_above = inf_bits - 1;
  else plan.overflow_above = last_finite_bits(f, plan.max_bits);
  plan.plain = inf_saturates && plan.nan == plan.negative_nan && plan.negative_zero;
  return plan;
}

}  // namespace fp8scope
