// P1 to P11 for every bfloat16 amax and for +-3 ulp of every MAX * 2^k, against rules written again in
// MPFR or exact binary64 arithmetic: no line is shared with sim/.
#include "sim/mx_tile_scales.hpp"
#include "sim/scale.hpp"
#include "sim/simd/isa.hpp"

#include <gtest/gtest.h>
#include <mpfr.h>

#include <cmath>
#include <limits>
#include <vector>

namespace fp8scope {
namespace {

constexpr double float_limit = 0x1.fffffep127;
constexpr float infinity = std::numeric_limits<float>::infinity();

struct Target {
  const char* name;
  float max;
  int max_exponent, mantissa_bits;
};
constexpr Target targets[] = {{"e4m3", 448.0f, 8, 3},    {"e5m2", 57344.0f, 15, 2}, {"e2m1", 6.0f, 2, 1},
                              {"e2m3", 7.5f, 2, 3},      {"e3m2", 28.0f, 4, 2},     {"e5m6", 65024.0f, 15, 6},
                              {"int8", 127.0f / 64, 0, 6}};

/// Every magnitude of bfloat16, and the neighbours of every MAX * 2^k; NaN last.
const std::vector<float>& amaxes() {
  static const std::vector<float> all = [] {
    std::vector<float> v;
    for (std::uint32_t bits = 0; bits <= 0x7f80u; ++bits) v.push_back(bits_float(bits << 16));
    for (const Target& t : targets)
      for (int k = -160; k <= 140; ++k) {
        const double at = std::ldexp(static_cast<double>(t.max), k);
        if (at > float_limit) continue;
        float x = static_cast<float>(at);
        for (int i = 0; i < 3; ++i) x = std::nextafterf(x, 0.0f);
        for (int i = 0; i < 7; ++i, x = std::nextafterf(x, infinity)) v.push_back(x);
      }
    v.push_back(std::numeric_limits<float>::quiet_NaN());
    return v;
  }();
  return all;
}

class Number {
 public:
  explicit Number(double x = 0.0) { mpfr_init2(value_, 256), mpfr_set_d(value_, x, MPFR_RNDN); }
  ~Number() { mpfr_clear(value_); }
  Number(const Number&) = delete;
  Number& operator=(const Number&) = delete;
  operator mpfr_ptr() { return value_; }

 private:
  mpfr_t value_;
};

/// MPFR's number rounded once to binary32, subnormals and overflow included.
float rounded(mpfr_ptr exact) {
  Number scaled, whole;
  if (mpfr_zero_p(exact)) return 0.0f;
  const long place = std::max<long>(mpfr_get_exp(exact) - 24, -149);
  mpfr_mul_2si(scaled, exact, -place, MPFR_RNDN);
  mpfr_rint(whole, scaled, MPFR_RNDN);
  const double value = std::ldexp(mpfr_get_d(whole, MPFR_RNDN), static_cast<int>(place));
  return value > float_limit ? infinity : static_cast<float>(value);
}

float quotient(float a, float b) {
  if (std::isnan(a) || std::isnan(b)) return std::numeric_limits<float>::quiet_NaN();
  if (b == 0.0f) return infinity;
  if (std::isinf(b)) return 0.0f;
  if (std::isinf(a)) return infinity;
  Number x(a), y(b), q;
  mpfr_div(q, x, y, MPFR_RNDN);  // 256 bits: far beyond any tie of a quotient of 24-bit numbers
  return rounded(q);
}

float product(float a, float b) {
  if (std::isnan(a) || std::isnan(b) || std::isinf(a) || std::isinf(b)) return a * b;
  Number x(a), y(b), p;
  mpfr_mul(p, x, y, MPFR_RNDN);
  return rounded(p);
}

int floor_log2(double x) { return std::ilogb(x); }
bool power_of_two(double x) { return std::ldexp(1.0, std::ilogb(x)) == x; }
float power(int e) { return e > 127 ? infinity : static_cast<float>(std::ldexp(1.0, e)); }

bool same(float a, float b) { return (std::isnan(a) && std::isnan(b)) || float_bits(a) == float_bits(b); }
#define EXPECT_SAME(got, want, a) EXPECT_TRUE(same(got, want)) << "amax " << (a) << " got " << (got) << " want " << (want)

/// The mantissa is masked away: a subnormal multiplier becomes 0 (no MAX of FP8 leads there).
float cut(float x) { return x == 0.0f || std::isinf(x) ? x : x < 0x1p-126f ? 0.0f : power(floor_log2(x)); }

TEST(ScalePrimitives, P1TeScale) {
  for (const Target& t : targets)
    for (const float floor : {0.0f, 1e-4f})
      for (const float big : {std::numeric_limits<float>::max(), 0x1.fep127f, 65504.0f})
        for (const float a : amaxes()) {
          const float counted = a < floor ? floor : a;
          float want = 1.0f;
          if (std::isfinite(counted) && counted > 0.0f) want = quotient(t.max, counted);
          if (std::isinf(want)) want = big;
          EXPECT_SAME(te_scale(a, t.max, false, floor, big), want, a);
          EXPECT_SAME(te_scale(a, t.max, true, floor, big), cut(want), a);
        }
}

TEST(ScalePrimitives, P2DelayedScale) {
  for (const Target& t : targets)
    for (const float a : amaxes()) {
      const bool usable = std::isfinite(a) && a > 0.0f;
      const float q = quotient(t.max, a);
      EXPECT_SAME(delayed_scale(a, 3.0f, t.max), usable ? std::min(q, std::numeric_limits<float>::max()) : 3.0f, a);
      EXPECT_SAME(delayed_scale(a, 3.0f, t.max, infinity), usable ? q : 3.0f, a);
      const float eager = product(product(quotient(1.0f, a), t.max), 0.25f);
      EXPECT_SAME(delayed_scale_unfused(a, 3.0f, t.max, 2), usable ? std::min(eager, std::numeric_limits<float>::max()) : 3.0f, a);
      EXPECT_SAME(delayed_scale_unfused(a, 3.0f, t.max, 2, false), usable ? eager : 3.0f, a);
    }
}

/// ceil(log2(amax / MAX)) in exact arithmetic, clamped, as a code.
std::uint32_t exact_rceil(float a, float max) {
  if (a == 0.0f) return 0;
  Number x(a), y(max), q, log;
  mpfr_div(q, x, y, MPFR_RNDU);  // just above where it is not exact: the ceiling stays
  const long e = mpfr_get_exp(q);  // q in [2^(e-1), 2^e)
  mpfr_set_ui_2exp(log, 1, e - 1, MPFR_RNDN);
  const long ceiling = mpfr_equal_p(q, log) ? e - 1 : e;
  return static_cast<std::uint32_t>(std::clamp(ceiling, -127L, 127L) + 127);
}

TEST(ScalePrimitives, P3E8m0Rceil) {
  for (const Target& t : targets)
    for (const float a : amaxes()) {
      if (!std::isfinite(a)) continue;
      const float v = product(a, quotient(1.0f, t.max));
      // The rounded product decides like the exact quotient wherever MAX is one that libraries use.
      if (t.max == 448.0f || t.max == 57344.0f || t.max == 6.0f) {
        // But for quotients within a place above 2^-127: they round to it, as subnormals have fewer bits.
        const std::uint32_t want = v <= 0x1p-127f ? 0u : exact_rceil(a, t.max);
        EXPECT_EQ(e8m0_ceil(v, 254), want) << t.name << " " << a;
        EXPECT_EQ(e8m0_ceil(quotient(a, t.max), 254), want) << t.name << " " << a;
      }
    }
  EXPECT_EQ(e8m0_ceil(infinity, 254), 254u);
  EXPECT_EQ(e8m0_ceil(infinity, 255), 255u);
  EXPECT_EQ(e8m0_ceil(std::numeric_limits<float>::quiet_NaN(), 254), 255u);
}

TEST(ScalePrimitives, P4P5P6E8m0OfTheAmax) {
  for (const Target& t : targets)
    for (const float a : amaxes()) {
      if (!std::isfinite(a)) {
        EXPECT_EQ(e8m0_floor(a, t.max_exponent), 255u);
        EXPECT_EQ(e8m0_ceil_of_amax(a, t.max_exponent), 255u);
        EXPECT_EQ(e8m0_even(a, t.mantissa_bits, t.max_exponent), 255u);
        continue;
      }
      const auto code = [&](int e) { return static_cast<std::uint32_t>(std::clamp(e - t.max_exponent, -127, 128) + 127); };
      const bool tiny = a < 0x1p-126f;  // below the normal numbers the exponent field is 0
      const int e = tiny ? -127 : floor_log2(a);
      EXPECT_EQ(e8m0_floor(a, t.max_exponent), code(e)) << a;
      const bool whole = a == 0.0f || (!tiny && power_of_two(a));
      EXPECT_EQ(e8m0_ceil_of_amax(a, t.max_exponent), code(whole ? e : e + 1)) << a;
      if (tiny) continue;
      // Half a place of the element format is what carries the amax to the next power of two.
      const double carried = static_cast<double>(a) + std::ldexp(0.5, e - t.mantissa_bits);
      const int even = floor_log2(carried);
      EXPECT_EQ(e8m0_even(a, t.mantissa_bits, t.max_exponent), even > 127 ? 255u : code(even)) << t.name << " " << a;
    }
}

TEST(ScalePrimitives, P7ReciprocalOfACode) {
  for (std::uint32_t code = 0; code < 255; ++code) {
    EXPECT_EQ(e8m0_reciprocal(code), static_cast<float>(std::ldexp(1.0, 127 - static_cast<int>(code))));
    const float old = code == 0 ? 1.0f : code == 254 ? 0.0f : static_cast<float>(std::ldexp(1.0, 127 - static_cast<int>(code)));
    EXPECT_EQ(e8m0_reciprocal_te_2_12(code), old);
  }
  EXPECT_TRUE(is_nan(e8m0_reciprocal(255)));
}

TEST(ScalePrimitives, P8P9DeepSeek) {
  for (const Target& t : targets)
    for (const float floor : {1e-4f, 0x1.8p-124f})
      for (const float a : amaxes()) {
        const float s = deepseek_scale_inv(a, t.max, floor);
        EXPECT_SAME(s, quotient(a < floor ? floor : a, t.max), a);
        if (std::isnan(s)) continue;
        const float up = round_up_to_pow2(s);
        int e = std::isinf(s) ? 127 : s < 0x1p-126f ? -126 : power_of_two(s) ? floor_log2(s) : floor_log2(s) + 1;
        e = std::clamp(e, -126, 127);
        EXPECT_SAME(up, power(e), a);
      }
}

/// floor of the correctly rounded binary32 logarithm, by MPFR.
int floor_of_log2(float x) {
  mpfr_t v, log;
  mpfr_init2(v, 24), mpfr_init2(log, 24);
  mpfr_set_flt(v, x, MPFR_RNDN);
  mpfr_log2(log, v, MPFR_RNDN);
  mpfr_floor(log, log);
  const int floor = static_cast<int>(mpfr_get_si(log, MPFR_RNDN));
  mpfr_clear(v), mpfr_clear(log);
  return floor;
}

TEST(ScalePrimitives, TheFloorOfARoundedLogarithmCarriesWhereMpfrsDoes) {
  int carried = 0;
  for (int e = -126; e <= 127; ++e)
    for (std::uint32_t below = 0; below <= 100; ++below) {
      const float x = bits_float((static_cast<std::uint32_t>(e + 127) << 23) - below);
      if (x <= 0.0f || !std::isfinite(x)) continue;
      EXPECT_EQ(floor_of_rounded_log2(x), floor_of_log2(x)) << e << " " << below;
      carried += floor_of_rounded_log2(x) != floor_log2(x);
    }
  EXPECT_GT(carried, 5000);  // a float logarithm is wrong this often
  for (const float a : amaxes()) {
    if (!std::isfinite(a) || a == 0.0f) continue;
    EXPECT_EQ(floor_of_rounded_log2(a), floor_of_log2(a)) << a;
  }
}

TEST(ScalePrimitives, P10Torchao) {
  for (const Target& t : targets)
    for (const float a : amaxes()) {
      if (std::isnan(a)) {
        EXPECT_TRUE(is_nan(torchao_scale(a, t.max, Pow2::none)));
        continue;
      }
      // The quotient rounds to binary64, then to binary32: both by MPFR.
      float want = 0.0f;
      if (!std::isinf(a)) {
        mpfr_t m, d, q;
        mpfr_init2(m, 53), mpfr_init2(d, 53), mpfr_init2(q, 53);
        mpfr_set_flt(m, t.max, MPFR_RNDN);
        mpfr_set_d(d, static_cast<double>(a) < 1e-12 ? 1e-12 : a, MPFR_RNDN);
        mpfr_div(q, m, d, MPFR_RNDN);
        want = rounded(q);
        mpfr_clear(m), mpfr_clear(d), mpfr_clear(q);
      }
      EXPECT_SAME(torchao_scale(a, t.max, Pow2::none), want, a);
      EXPECT_SAME(torchao_scale(a, t.max, Pow2::down), cut(want), a);
      if (want > 0.0f && std::isfinite(want)) {
        EXPECT_SAME(torchao_scale(a, t.max, Pow2::log2), power(floor_of_log2(want)), a);
      }
    }
}

TEST(ScalePrimitives, P11Msamp) {
  for (const Target& t : targets)
    for (const int margin : {0, 2})
      for (const float mu : {1.0f, 0.5f, 0.35355338f})
        for (const float a : amaxes()) {
          const float previous = 8.0f;
          const float r = product(quotient(1.0f, a), t.max);
          float want;
          if (std::isnan(a)) want = previous;
          else if (std::isinf(r)) want = a > 0.0f ? infinity : previous;
          else if (r == 0.0f) want = quotient(1.0f, std::isinf(a) ? previous : infinity);
          else {
            const int e = floor_of_log2(r) - margin;
            want = product(power(std::abs(e)), mu);
            if (e < 0) want = quotient(1.0f, want);
          }
          EXPECT_SAME(msamp_scale(a, previous, t.max, margin, mu), want, a);
        }
}

TEST(ScalePrimitives, RoundingToE4m3ByAnAdditionIsTheCast) {
  constexpr Format factor{4, 3, 7, Specials::fn};
  for (const float a : amaxes()) EXPECT_SAME(round_to_e4m3(a), decode(factor, encode(factor, a)), a);
  for (std::uint32_t code = 0; code < 0x7e; ++code) {
    const float low = decode(factor, code), high = decode(factor, code + 1), middle = low + (high - low) / 2;
    for (const float x : {std::nextafterf(middle, 0.0f), middle, std::nextafterf(middle, high)})
      EXPECT_SAME(round_to_e4m3(x), decode(factor, encode(factor, x)), x);
  }
}

TEST(ScalePrimitivesControl, TheOracleSeesAPlaceOfDifference) {
  int seen = 0;
  for (const float a : amaxes()) {
    if (!std::isfinite(a) || a == 0.0f) continue;
    seen += !same(1.0f / (a / 448.0f), quotient(448.0f, a));  // the other library's multiplier
  }
  EXPECT_GT(seen, 2000);
  // 240 for 448, floor for ceiling, one more or less.
  EXPECT_NE(te_scale(1.5f, 240.0f, false, 0.0f, float_max), quotient(448.0f, 1.5f));
  EXPECT_NE(e8m0_floor(500.0f, 8), exact_rceil(500.0f, 448.0f));
}

TEST(MxTileScales, AreThoseOfThePrimitiveForEveryBfloat16AndNearEveryPowerOfTwo) {
  std::vector<float> amax;
  for (std::uint32_t word = 0; word < 0x8000u; ++word) amax.push_back(bits_float(word << 16));
  for (int k = -149; k < 128; ++k)
    for (int ulp = -3; ulp <= 3; ++ulp) {
      const float value = 448.0f * std::ldexp(1.0f, k);
      if (is_finite(value) && float_bits(value) > 3) amax.push_back(bits_float(float_bits(value) + static_cast<std::uint32_t>(ulp)));
    }
  std::vector<float> scale(amax.size()), scale_inv(amax.size());
  for (const Isa target : supported_isas()) {
    set_isa(target);
    std::ranges::fill(scale, -1.0f);
    mx_tile_scales(amax, scale, scale_inv);
    for (std::size_t i = 0; i < amax.size(); ++i) {
      const std::uint32_t code = e8m0_ceil(amax[i] * (1.0f / 448.0f), 254);
      if (is_nan(amax[i])) {
        EXPECT_TRUE(is_nan(scale[i]) && is_nan(scale_inv[i]));
        continue;
      }
      EXPECT_EQ(float_bits(scale[i]), float_bits(e8m0_reciprocal(code))) << amax[i] << " " << isa_name(target);
      EXPECT_EQ(float_bits(scale_inv[i]), float_bits(std::ldexp(1.0f, static_cast<int>(code) - 127))) << amax[i];
    }
  }
  set_isa(Isa::automatic);
}

}  // namespace
}  // namespace fp8scope
