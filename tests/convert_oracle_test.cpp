// encode() and decode() against values that MPFR rounds. The formats are typed in again, as
// precision and limits, so that no line and no number is shared with sim/.
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <mpfr.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>

#include "sim/convert.hpp"

namespace fp8scope {
namespace {

enum class Kind { ieee, fn, fnuz, finite };

struct Spec {
  const char* name;
  int bits, precision;
  double max, min_normal;
  Kind kind;

  int mantissa_bits() const { return precision - 1; }
  double least() const { return std::ldexp(min_normal, -mantissa_bits()); }
};

// Sources: OFP8 1.0 table 1, OCP MX 1.0 table 1, arXiv:2206.02915 table 1, IEEE 754-2019 table 3.5;
// the unnamed ones follow from their spelling.
constexpr Spec specs[] = {
    {"e4m3", 8, 4, 448, 0x1p-6, Kind::fn},
    {"e5m2", 8, 3, 57344, 0x1p-14, Kind::ieee},
    {"e4m3fnuz", 8, 4, 240, 0x1p-7, Kind::fnuz},
    {"e5m2fnuz", 8, 3, 57344, 0x1p-15, Kind::fnuz},
    {"e4m3b11fnuz", 8, 4, 30, 0x1p-10, Kind::fnuz},
    {"e3m4", 8, 5, 15.5, 0x1p-2, Kind::ieee},
    {"e4m3_ieee", 8, 4, 240, 0x1p-6, Kind::ieee},
    {"e2m3", 6, 4, 7.5, 1, Kind::finite},
    {"e3m2", 6, 3, 28, 0x1p-2, Kind::finite},
    {"e2m1", 4, 2, 6, 1, Kind::finite},
    {"e5m6", 12, 7, 65024, 0x1p-14, Kind::ieee},
    {"bf16", 16, 8, 0x1.fep127, 0x1p-126, Kind::ieee},
    {"fp16", 16, 11, 65504, 0x1p-14, Kind::ieee},
    {"tf32", 19, 11, 0x1.ffcp127, 0x1p-126, Kind::ieee},
    {"e8m23", 32, 24, 0x1.fffffep127, 0x1p-126, Kind::ieee},
    {"e4m4", 9, 5, 248, 0x1p-6, Kind::ieee},
    {"e2m5b3fnuz", 8, 6, 1.96875, 0x1p-2, Kind::fnuz},
    {"e5m10b40finite", 16, 11, 0x1.ffcp-9, 0x1p-39, Kind::finite},
    {"e8m2b140fn", 11, 3, 0x1.8p115, 0x1p-139, Kind::fn},
    {"e3m0fn", 4, 1, 8, 0x1p-2, Kind::fn},
    {"e1m2finite", 4, 3, 3.5, 2, Kind::finite},
};

/// Value of a code, by its definition.
double value_of(const Spec& s, std::uint32_t code) {
  const double nan = std::numeric_limits<double>::quiet_NaN();
  const std::uint32_t sign = std::uint32_t{1} << (s.bits - 1);
  const std::uint32_t magnitude = code & (sign - 1);
  const std::uint32_t field = magnitude >> s.mantissa_bits();
  const std::uint32_t fraction = magnitude - (field << s.mantissa_bits());
  const double direction = (code & sign) != 0 ? -1.0 : 1.0;
  if (s.kind == Kind::fnuz && code == sign) return nan;
  if (s.kind == Kind::fn && magnitude == sign - 1) return nan;
  if (s.kind == Kind::ieee && field == (sign - 1) >> s.mantissa_bits())
    return fraction != 0 ? nan : direction * std::numeric_limits<double>::infinity();
  if (field == 0) return direction * fraction * s.least();
  const double significand = std::ldexp(1.0, s.mantissa_bits()) + fraction;
  return direction * std::ldexp(significand * s.least(), static_cast<int>(field) - 1);
}

class Number {
 public:
  explicit Number(int precision) { mpfr_init2(value_, precision); }
  ~Number() { mpfr_clear(value_); }
  Number(const Number&) = delete;
  Number& operator=(const Number&) = delete;
  operator mpfr_ptr() { return value_; }

 private:
  mpfr_t value_;
};

/// x rounded to the precision and the subnormals of `s`, without an upper limit, by MPFR's own
/// modes.
double round_by_mode(const Spec& s, double x, mpfr_rnd_t mode) {
  Number v(s.precision);
  const mpfr_exp_t usual = mpfr_get_emin();
  mpfr_set_emin(std::ilogb(s.least()) + 1);  // MPFR's significands are in [1/2, 1)
  const int inexact = mpfr_set_d(v, x, mode);
  mpfr_subnormalize(v, inexact, mode);
  const double rounded = mpfr_get_d(v, MPFR_RNDN);
  mpfr_set_emin(usual);
  return rounded;
}

/// The same for what MPFR has no mode for: |x| in units of the last place, rounded to an integer.
double round_by_units(const Spec& s, double x, Rounding rounding, RandomBits random) {
  const int place = x == 0 ? 0 : std::max(std::ilogb(x) - s.mantissa_bits(), std::ilogb(s.least()));
  Number units(400), whole(400);
  mpfr_set_d(units, std::fabs(x), MPFR_RNDN);
  mpfr_mul_2si(units, units, -place, MPFR_RNDN);
  if (rounding == Rounding::nearest_away) {
    mpfr_round(whole, units);
  } else if (rounding == Rounding::nearest_zero) {
    mpfr_sub_d(units, units, 0.5, MPFR_RNDN);
    mpfr_ceil(whole, units);
  } else if (rounding == Rounding::to_odd) {
    mpfr_floor(whole, units);
    const bool odd = mpfr_get_ui(whole, MPFR_RNDN) % 2 == 1;
    if (mpfr_cmp(whole, units) != 0 && !odd) mpfr_add_ui(whole, whole, 1, MPFR_RNDN);
  } else {
    Number addend(64);
    mpfr_set_ui(addend, random.value, MPFR_RNDN);
    mpfr_div_2si(addend, addend, random.count, MPFR_RNDN);
    mpfr_add(units, units, addend, MPFR_RNDN);
    mpfr_floor(whole, units);
  }
  mpfr_mul_2si(whole, whole, place, MPFR_RNDN);
  return std::copysign(mpfr_get_d(whole, MPFR_RNDN), x);
}

double round_to(const Spec& s, double x, Rounding rounding, RandomBits random) {
  switch (rounding) {
    case Rounding::nearest_even: return round_by_mode(s, x, MPFR_RNDN);
    case Rounding::toward_zero: return round_by_mode(s, x, MPFR_RNDZ);
    case Rounding::up: return round_by_mode(s, x, MPFR_RNDU);
    case Rounding::down: return round_by_mode(s, x, MPFR_RNDD);
    default: return round_by_units(s, x, rounding, random);
  }
}

/// What a finite x must become, overflow as in IEEE 754-2019 section 7.4.
double correct(const Spec& s, double x, Rounding rounding, Overflow overflow, RandomBits random) {
  const double v = round_to(s, x, rounding, random);
  if (v == 0) return s.kind == Kind::fnuz ? 0.0 : v;
  if (std::fabs(v) <= s.max) return v;
  const bool inward = rounding == Rounding::toward_zero || rounding == Rounding::to_odd ||
                      rounding == (v > 0 ? Rounding::down : Rounding::up);
  if (overflow == Overflow::saturate || inward || s.kind == Kind::finite)
    return std::copysign(s.max, v);
  if (s.kind == Kind::ieee) return std::copysign(std::numeric_limits<double>::infinity(), v);
  return std::numeric_limits<double>::quiet_NaN();
}

bool same(double a, double b) {
  return std::isnan(a) ? std::isnan(b) : a == b && std::signbit(a) == std::signbit(b);
}

/// Both signs of: values, midpoints and quarter points of neighbouring codes with the floats beside
/// them, the edges of subnormals and of overflow, random patterns, random values within the range.
std::vector<float> inputs(const Spec& s) {
  std::vector<float> x;
  const auto add = [&](double v) {
    const float near = static_cast<float>(v);
    for (const float y : {std::nextafter(near, 0.0f), near, std::nextafter(near, INFINITY)})
      if (std::isfinite(y)) x.push_back(y), x.push_back(-y);
  };
  const std::uint32_t codes = std::uint32_t{1} << (s.bits - 1);
  const std::uint32_t stride = std::max(1u, codes / 2048);
  const auto add_step = [&](std::uint32_t code) {
    const double a = value_of(s, code), b = value_of(s, code + 1);
    if (!std::isfinite(a) || !std::isfinite(b)) return;
    for (const double part : {0.0, 0.25, 0.5, 0.75, 1.0}) add(a + (b - a) * part);
  };
  for (std::uint32_t code = 0; code + 1 < codes; code += stride) add_step(code);
  // Every step beside a power of two, where the spacing changes.
  for (std::uint32_t code = 1u << s.mantissa_bits(); code + 1 < codes;
       code += 1u << s.mantissa_bits())
    add_step(code - 1), add_step(code);
  for (const double factor : {0.25, 0.5, 0.75, 1.0, 1.5}) add(s.least() * factor);
  const double step = std::ldexp(1.0, std::ilogb(s.max) - s.mantissa_bits());
  for (const double part : {0.0, 0.25, 0.5, 0.75, 1.0, 2.0}) add(s.max + step * part);
  for (const double v : {0.0, 0x1p-149, 0x1.8p-149, 0x1p-126, 0x1.fffffep127}) add(v);
  std::mt19937 random(20261123);
  for (int i = 0; i < 20000; ++i)
    if (const float y = bits_float(random()); std::isfinite(y)) x.push_back(y);
  const int low = std::ilogb(s.least()) - 3, high = std::ilogb(s.max) + 2;
  for (int i = 0; i < 20000; ++i) {
    const double fraction = 1.0 + (random() >> 9) * 0x1p-23;
    const int exponent = low + static_cast<int>(random() % static_cast<unsigned>(high - low + 1));
    const auto y = static_cast<float>(std::ldexp(random() % 2 ? fraction : -fraction, exponent));
    if (std::isfinite(y)) x.push_back(y);
  }
  return x;
}

class Oracle : public testing::TestWithParam<Spec> {
 protected:
  const Spec s = GetParam();
  const Format f = parse_format(s.name);
};

TEST_P(Oracle, DecodesEveryCodeAsDefined) {
  ASSERT_EQ(f.bits(), s.bits);
  EXPECT_EQ(f.max_value(), s.max);
  const std::uint32_t last = std::uint32_t((std::uint64_t{1} << s.bits) - 1);
  const std::uint32_t stride = s.bits > 20 ? 9973 : 1;
  for (std::uint64_t code = 0; code <= last; code += stride) {
    const auto c = static_cast<std::uint32_t>(code);
    ASSERT_TRUE(same(decode(f, c), value_of(s, c))) << fmt::format("code 0x{:x}", c);
  }
}

TEST_P(Oracle, EncodesAsMpfrRoundsInEveryModeAndOverflow) {
  const std::vector<float> x = inputs(s);
  std::mt19937 random(7);
  int wrong = 0;
  std::string first;
  for (const NamedRounding& r : roundings)
    for (const Overflow overflow : {Overflow::saturate, Overflow::special})
      for (const float y : x) {
        RandomBits bits;
        if (r.rounding == Rounding::stochastic) {
          constexpr int counts[] = {1, 4, 8, 13, 16, 24, 32};
          bits.count = counts[random() % std::size(counts)];
          bits.value =
              static_cast<std::uint32_t>(random() & ((std::uint64_t{1} << bits.count) - 1));
        }
        const double want = correct(s, y, r.rounding, overflow, bits);
        const std::uint32_t code =
            encode(f, y, {.rounding = r.rounding, .overflow = overflow}, bits);
        if (same(value_of(s, code), want)) continue;
        if (wrong++ == 0)
          first =
              fmt::format("{} {} of {} (0x{:08x}), random 0x{:x}/{}: code 0x{:x} is {}, want {}",
                          r.name, overflow == Overflow::saturate ? "saturating" : "special", y,
                          float_bits(y), bits.value, bits.count, code, value_of(s, code), want);
      }
  EXPECT_EQ(wrong, 0) << first;
}

INSTANTIATE_TEST_SUITE_P(Formats, Oracle, testing::ValuesIn(specs),
                         [](const auto& info) { return std::string(info.param.name); });

TEST(OracleSpecs, HaveEveryNamedFormatWithASign) {
  for (const NamedFormat& row : formats)
    EXPECT_TRUE(row.format == e8m0 ||
                std::ranges::any_of(specs, [&](const Spec& s) { return s.name == row.name; }))
        << row.name;
}

// E8M0 is a set of powers of two: its oracle looks at the two beside x.
TEST(ScaleOracle, EncodesEveryEdgeOfEveryPowerOfTwoInEveryMode) {
  std::vector<float> x{0x1p-149f, 0x1.8p-128f, 0x1p-128f, 0x1.fffffep127f};
  for (int e = -127; e <= 127; ++e)
    for (const double part : {1.0, 1.25, 1.5, 1.75}) {
      const auto y = static_cast<float>(std::ldexp(part, e));
      for (const float z : {std::nextafter(y, 0.0f), y, std::nextafter(y, INFINITY)})
        x.push_back(z);
    }
  for (const NamedRounding& r : roundings)
    for (const Overflow overflow : {Overflow::saturate, Overflow::special})
      for (const std::uint32_t value : {0u, 3u, 8u, 15u})
        for (const float y : x) {
          const int below = std::max(std::ilogb(y), -127);
          const double part =
              std::ldexp(static_cast<double>(y), -below) - 1;  // in [0, 1), < 0 below 2^-127
          const int code = below + 127;
          bool up = false;
          if (r.rounding == Rounding::nearest_even)
            up = part > 0.5 || (part == 0.5 && code % 2 == 1);
          if (r.rounding == Rounding::nearest_away) up = part >= 0.5;
          if (r.rounding == Rounding::nearest_zero) up = part > 0.5;
          if (r.rounding == Rounding::up) up = part > 0;
          if (r.rounding == Rounding::to_odd) up = part > 0 && code % 2 == 0;
          if (r.rounding == Rounding::stochastic) up = part + value / 16.0 >= 1;
          int want = code + (up ? 1 : 0);
          if (want == 255 && overflow == Overflow::saturate) want = 254;
          const CastRule rule{.rounding = r.rounding, .overflow = overflow};
          EXPECT_EQ(encode(e8m0, y, rule, {value, 4}), static_cast<std::uint32_t>(want))
              << r.name << fmt::format(" 0x{:08x}", float_bits(y));
        }
}

}  // namespace
}  // namespace fp8scope
