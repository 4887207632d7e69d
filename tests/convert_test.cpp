#include "sim/convert.hpp"

#include <gtest/gtest.h>

#include <cmath>

#include "sim/names.hpp"

namespace fp8scope {
namespace {

std::vector<std::string> all_formats() {
  std::vector<std::string> names{"e4m2", "e2m5b3fnuz", "e3m3finite", "e6m1fn", "e5m10ieee"};
  for (const NamedFormat& row : formats)
    if (row.format.is_signed() && row.format.bits() <= 16) names.emplace_back(row.name);
  return names;
}

class EveryFormat : public testing::TestWithParam<std::string> {
 protected:
  Format f = parse_format(GetParam());
  std::uint32_t code(float x, Rounding rounding, Overflow overflow = Overflow::special) const {
    return encode(f, x, {.rounding = rounding, .overflow = overflow});
  }
  std::uint32_t negative(std::uint32_t magnitude) const {
    return magnitude == 0 && !f.has_negative_zero() ? 0u : magnitude | f.sign_bit();
  }
};

TEST_P(EveryFormat, EveryCodeRoundTripsInEveryRounding) {
  for (std::uint32_t c = 0; c < f.codes(); ++c) {
    const float value = decode(f, c);
    if (is_nan(value)) continue;
    for (const NamedRounding& r : roundings)
      EXPECT_EQ(encode(f, value, {.rounding = r.rounding, .overflow = Overflow::special}, {0x5a5a5a5au, 32}), c)
          << r.name;
  }
}

TEST_P(EveryFormat, DecodesInAscendingOrder) {
  for (std::uint32_t c = 0; c < f.max_code(); ++c) EXPECT_LT(decode(f, c), decode(f, c + 1));
  EXPECT_EQ(decode(f, f.max_code()), f.max_value());
}

// Rounding is a staircase: both sides of the edge of every step, and the edge, are every float.
TEST_P(EveryFormat, EveryRoundingEdgeIsWhereItBelongs) {
  for (std::uint32_t low = 0; low < f.max_code(); ++low) {
    const std::uint32_t high = low + 1;
    const float a = decode(f, low), b = decode(f, high);
    const float middle = a + (b - a) / 2;  // exact: one more bit
    const float above_a = std::nextafter(a, INFINITY), below_b = std::nextafter(b, 0.0f);
    for (const bool minus : {false, true}) {
      const float s = minus ? -1.0f : 1.0f;
      const auto expect = [&](float x, Rounding r, std::uint32_t want) {
        EXPECT_EQ(code(s * x, r), minus ? negative(want) : want) << s * x;
      };
      expect(middle, Rounding::nearest_even, low % 2 == 0 ? low : high);
      expect(middle, Rounding::nearest_away, high);
      expect(middle, Rounding::nearest_zero, low);
      for (const Rounding nearest : {Rounding::nearest_even, Rounding::nearest_away, Rounding::nearest_zero}) {
        expect(std::nextafter(middle, 0.0f), nearest, low);
        expect(std::nextafter(middle, INFINITY), nearest, high);
      }
      for (const float x : {above_a, middle, below_b}) {
        expect(x, Rounding::toward_zero, low);
        expect(x, Rounding::up, minus ? low : high);
        expect(x, Rounding::down, minus ? high : low);
        expect(x, Rounding::to_odd, low % 2 == 1 ? low : high);
      }
    }
  }
}

TEST_P(EveryFormat, OverflowsBeyondHalfAStepAboveMax) {
  const float step = pow2(f.max_exponent() - f.mantissa_bits), edge = f.max_value() + step / 2;
  const std::uint32_t special = f.has_inf() ? f.inf_code() : f.specials == Specials::fnuz ? f.nan_code()
                                : f.has_nan() ? f.nan_code() : f.max_code();
  const bool stays = f.max_code() % 2 == 0;  // a tie goes to the even code
  EXPECT_EQ(code(edge, Rounding::nearest_even), stays ? f.max_code() : special);
  EXPECT_EQ(code(std::nextafter(edge, 0.0f), Rounding::nearest_even), f.max_code());
  EXPECT_EQ(code(std::nextafter(edge, INFINITY), Rounding::nearest_even), special);
  EXPECT_EQ(code(3.4028235e38f, Rounding::nearest_even, Overflow::saturate), f.max_code());
  EXPECT_EQ(code(-3.4028235e38f, Rounding::nearest_even, Overflow::saturate), f.max_code() | f.sign_bit());
  EXPECT_EQ(code(3.4028235e38f, Rounding::toward_zero), f.max_code());
  EXPECT_EQ(code(3.4028235e38f, Rounding::down), f.max_code());
  EXPECT_EQ(code(3.4028235e38f, Rounding::up), special);
  EXPECT_EQ(code(-3.4028235e38f, Rounding::up), f.max_code() | f.sign_bit());
}

TEST_P(EveryFormat, TreatsTheSmallestFloatsByTheirRounding) {
  const float tiny = bits_float(1);
  EXPECT_EQ(code(tiny, Rounding::nearest_even), 0u);
  EXPECT_EQ(code(tiny, Rounding::up), 1u);
  EXPECT_EQ(code(tiny, Rounding::to_odd), 1u);
  EXPECT_EQ(code(-tiny, Rounding::nearest_even), negative(0));
  EXPECT_EQ(code(-tiny, Rounding::down), negative(1));
}

TEST_P(EveryFormat, AnswersNanAndInfinityByPolicy) {
  const float nan = bits_float(0x7fc00000u), minus_nan = bits_float(0xffc00000u);
  if (f.has_nan()) {
    EXPECT_EQ(encode(f, nan), f.nan_code());
    EXPECT_EQ(encode(f, minus_nan), f.nan_code());
    EXPECT_TRUE(is_nan(decode(f, encode(f, minus_nan, ml_dtypes_rule(Rounding::nearest_even, Overflow::saturate)))));
  } else {
    EXPECT_EQ(encode(f, minus_nan), f.max_code());
    EXPECT_EQ(encode(f, nan, ml_dtypes_rule(Rounding::nearest_even, Overflow::special)), f.sign_bit());
    EXPECT_EQ(encode(f, minus_nan, ml_dtypes_rule(Rounding::nearest_even, Overflow::special)), 0u);
  }
  EXPECT_EQ(encode(f, INFINITY), f.max_code());
  EXPECT_EQ(encode(f, -INFINITY), f.max_code() | f.sign_bit());
  const std::uint32_t kept = encode(f, -INFINITY, {.inf = InfRule::special});
  if (f.has_inf()) {
    EXPECT_EQ(kept, f.inf_code() | f.sign_bit());
  } else if (f.has_nan()) {
    EXPECT_TRUE(is_nan(decode(f, kept)));
  }
}

TEST_P(EveryFormat, RoundsStochasticallyByCarry) {
  const CastRule rule{.rounding = Rounding::stochastic};
  for (std::uint32_t low = 0; low < f.max_code(); low += 1 + f.max_code() / 300) {
    const float a = decode(f, low), b = decode(f, low + 1);
    const float quarter = a + (b - a) / 4;
    EXPECT_EQ(encode(f, quarter, rule, {0xbu, 4}), low) << quarter;      // 4/16 + 11/16 < 1
    EXPECT_EQ(encode(f, quarter, rule, {0xcu, 4}), low + 1) << quarter;  // 4/16 + 12/16 = 1
    EXPECT_EQ(encode(f, a, rule, {0xfu, 4}), low);
    EXPECT_EQ(encode(f, -quarter, rule, {0xcu, 4}), negative(low + 1));
  }
}

INSTANTIATE_TEST_SUITE_P(Formats, EveryFormat, testing::ValuesIn(all_formats()),
                         [](const auto& info) { return info.param; });

TEST(ScaleFormat, RoundsExponentsAndHasNoSign) {
  const auto code = [](float x, Rounding r) { return encode(e8m0, x, {.rounding = r}); };
  EXPECT_EQ(code(1.0f, Rounding::toward_zero), 127u);
  EXPECT_EQ(code(1.99f, Rounding::toward_zero), 127u);
  EXPECT_EQ(code(1.01f, Rounding::up), 128u);
  EXPECT_EQ(code(1.5f, Rounding::nearest_away), 128u);
  EXPECT_EQ(code(1.5f, Rounding::nearest_even), 128u);  // 127 is odd
  EXPECT_EQ(code(3.0f, Rounding::nearest_even), 128u);
  EXPECT_EQ(code(-2.0f, Rounding::toward_zero), 128u);
  EXPECT_EQ(code(0.0f, Rounding::up), 0u);
  EXPECT_EQ(code(INFINITY, Rounding::up), 254u);
  EXPECT_EQ(code(std::nanf(""), Rounding::up), 255u);
  const CastRule ml = ml_dtypes_rule(Rounding::nearest_away, Overflow::special);
  EXPECT_EQ(encode(e8m0, -2.0f, ml), 255u);
  EXPECT_EQ(encode(e8m0, 0.0f, ml), 255u);
  EXPECT_EQ(encode(e8m0, -INFINITY, ml_dtypes_rule(Rounding::nearest_away, Overflow::saturate)), 255u);
}

}  // namespace
}  // namespace fp8scope
