// An oracle that shares nothing with the conversions: MPFR rounds, at the format's precision and with
// its subnormals, and the code must decode to that number.
#include <gtest/gtest.h>
#include <mpfr.h>

#include <cmath>
#include <random>

#include "sim/convert.hpp"

namespace fp8scope {
namespace {

/// One MPFR number.
struct Number {
  explicit Number(mpfr_prec_t precision) { mpfr_init2(value, precision); }
  ~Number() { mpfr_clear(value); }
  Number(const Number&) = delete;
  Number& operator=(const Number&) = delete;
  mpfr_t value;
};

/// x rounded to f's grid without an upper end, by MPFR.
double rounded(const Format& f, float x, mpfr_rnd_t mode) {
  Number exact(24), result(f.mantissa_bits + 1);
  mpfr_set_flt(exact.value, x, MPFR_RNDN);
  mpfr_set_emin(f.min_exponent() - f.mantissa_bits + 1);  // MPFR's significands lie in [1/2, 1)
  const int inexact = mpfr_set(result.value, exact.value, mode);
  const int range = mpfr_check_range(result.value, inexact, mode);
  mpfr_subnormalize(result.value, range, mode);
  const double answer = mpfr_get_d(result.value, MPFR_RNDN);
  mpfr_set_emin(mpfr_get_emin_min());
  return answer;
}

/// The same for the modes that MPFR lacks, from both neighbours.
double rounded(const Format& f, float x, Rounding mode) {
  switch (mode) {
    case Rounding::nearest_even: return rounded(f, x, MPFR_RNDN);
    case Rounding::toward_zero: return rounded(f, x, MPFR_RNDZ);
    case Rounding::up: return rounded(f, x, MPFR_RNDU);
    case Rounding::down: return rounded(f, x, MPFR_RNDD);
    default: break;
  }
  const double toward = rounded(f, x, MPFR_RNDZ), away = rounded(f, x, MPFR_RNDA);
  if (toward == away) return toward;
  Number below(400), above(400);
  mpfr_set_d(below.value, x, MPFR_RNDN);
  mpfr_sub_d(below.value, below.value, toward, MPFR_RNDN);
  mpfr_set_d(above.value, away, MPFR_RNDN);
  mpfr_sub_d(above.value, above.value, x, MPFR_RNDN);
  if (mode == Rounding::nearest_away) return mpfr_cmpabs(below.value, above.value) < 0 ? toward : away;
  const double steps = std::ldexp(toward, f.mantissa_bits - std::max(std::ilogb(x), f.min_exponent()));
  return std::fmod(steps, 2.0) != 0.0 ? toward : away;  // to odd
}

/// What the code of x must decode to.
double expected(const Format& f, float x, Rounding mode, Overflow overflow) {
  const double value = rounded(f, x, mode), max = f.max_value();
  if (std::fabs(value) <= max) return value;
  const bool nearest = mode == Rounding::nearest_even || mode == Rounding::nearest_away;
  const bool inward = mode == Rounding::toward_zero || mode == Rounding::to_odd ||
                      (mode == Rounding::up && x < 0) || (mode == Rounding::down && x > 0);
  if (overflow == Overflow::saturate || (!nearest && inward) || (!f.has_inf() && !f.has_nan()))
    return std::copysign(max, x);
  return f.has_inf() ? std::copysign(INFINITY, x) : std::nan("");
}

/// Patterns over all exponents, and more of them within reach of the format.
float draw(std::mt19937_64& random, const Format& f) {
  const std::uint64_t bits = random();
  if (bits % 4 == 0) return bits_float(static_cast<std::uint32_t>(bits >> 32));
  const int span = f.max_exponent() - f.min_exponent() + f.mantissa_bits + 6;
  const int exponent = f.min_exponent() - f.mantissa_bits - 3 + static_cast<int>((bits >> 8) % span);
  const int keep = static_cast<int>((bits >> 20) % 24);  // few bits: ties and exact values
  const auto fraction = static_cast<std::uint32_t>(bits >> 32) & 0x7fffffu & ~low_mask(23 - std::min(keep, 23));
  const float x = std::ldexp(1.0f + static_cast<float>(fraction) * 0x1p-23f, exponent);
  return (bits & 0x80) != 0 ? -x : x;
}

TEST(ConvertOracle, EveryFormatRoundsAsMpfrInEveryMode) {
  std::mt19937_64 random(11);
  std::vector<Format> all;
  for (const NamedFormat& row : formats)
    if (row.format.is_signed() && row.format.bits() <= 16) all.push_back(row.format);
  for (const char* name : {"e4m2", "e2m5b3fnuz", "e3m3finite", "e6m1fn"}) all.push_back(parse_format(name));
  std::int64_t compared = 0;
  for (const Format& f : all)
    for (int i = 0; i < 25000; ++i) {
      const float x = draw(random, f);
      if (!is_finite(x) || x == 0.0f) continue;
      for (const Rounding mode : {Rounding::nearest_even, Rounding::nearest_away, Rounding::toward_zero,
                                  Rounding::up, Rounding::down, Rounding::to_odd})
        for (const Overflow overflow : {Overflow::saturate, Overflow::special}) {
          const double want = expected(f, x, mode, overflow);
          const float got = decode(f, encode(f, x, {.rounding = mode, .overflow = overflow}));
          const bool same = std::isnan(want) ? is_nan(got) : got == want;
          ASSERT_TRUE(same) << format_name(f) << " of " << x << " in mode " << static_cast<int>(mode) << ": want "
                            << want << ", got " << got;
          ++compared;
        }
    }
  EXPECT_GT(compared, 4'000'000);
}

}  // namespace
}  // namespace fp8scope
