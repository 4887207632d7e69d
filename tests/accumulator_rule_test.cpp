// Truncated sums by MPFR, from the words of the rule: products exact, the largest exponent, every term
// cut to a multiple of 2^(E-F), the sum exact, cut to the result. Nothing is shared with sim/.
#include <gtest/gtest.h>
#include <mpfr.h>

#include <cmath>
#include <random>

#include "sim/convert.hpp"
#include "sim/models.hpp"

namespace fp8scope {
namespace {

struct Number {
  Number() { mpfr_init2(value, 900); }
  ~Number() { mpfr_clear(value); }
  Number(const Number&) = delete;
  Number& operator=(const Number&) = delete;
  mpfr_t value;
};

/// Exponent a unit sees: that of the leading digit position, subnormals at the smallest one.
int raw_exponent(const Format& f, float x) { return std::max(std::ilogb(x), f.min_exponent()); }

/// One step of the rule; NaN words are 0x7fffffff.
float step(const Model& m, const Format& fa, const Format& fb, const std::vector<float>& a,
           const std::vector<float>& b, float c) {
  bool nan = std::isnan(c), plus = c == INFINITY, minus = c == -INFINITY;
  for (std::size_t i = 0; i < a.size(); ++i) {
    const float p = std::isinf(a[i]) || std::isinf(b[i]) ? a[i] * b[i] : 0.0f;
    nan |= std::isnan(a[i]) || std::isnan(b[i]) || std::isnan(p);
    plus |= p == INFINITY, minus |= p == -INFINITY;
  }
  if (nan || (plus && minus)) return bits_float(0x7fffffffu);
  if (plus || minus) return plus ? INFINITY : -INFINITY;

  int largest = m.floor_exponent;
  for (std::size_t i = 0; i < a.size(); ++i)
    if (a[i] != 0.0f && b[i] != 0.0f)
      largest = std::max(largest, raw_exponent(fa, a[i]) + raw_exponent(fb, b[i]));
  if (c != 0.0f) largest = std::max(largest, std::max(std::ilogb(c), -126));
  const int quantum = largest - m.fraction_bits;
  Number term, sum;
  mpfr_set_zero(sum.value, 1);
  const auto add = [&] {
    mpfr_mul_2si(term.value, term.value, -quantum, MPFR_RNDN);
    mpfr_rint(term.value, term.value, MPFR_RNDZ);
    mpfr_add(sum.value, sum.value, term.value, MPFR_RNDN);
  };
  for (std::size_t i = 0; i < a.size(); ++i) {
    mpfr_set_flt(term.value, a[i], MPFR_RNDN);
    mpfr_mul_d(term.value, term.value, b[i], MPFR_RNDN);
    add();
  }
  mpfr_set_flt(term.value, c, MPFR_RNDN);
  add();
  if (mpfr_zero_p(sum.value)) return 0.0f;
  mpfr_mul_2si(sum.value, sum.value, quantum, MPFR_RNDN);
  // Cut to the result's fraction, at its own exponent but not below that of subnormals.
  const int exponent = std::max(static_cast<int>(mpfr_get_exp(sum.value)) - 1, -126);
  const int last = exponent - m.result.fraction_bits;
  mpfr_mul_2si(sum.value, sum.value, -last, MPFR_RNDN);
  mpfr_rint(sum.value, sum.value, MPFR_RNDZ);
  mpfr_mul_2si(sum.value, sum.value, last, MPFR_RNDN);
  const double d = mpfr_get_d(sum.value, MPFR_RNDN);
  if (std::fabs(d) >= 0x1p128) return std::copysign(INFINITY, static_cast<float>(std::copysign(1.0, d)));
  return static_cast<float>(d);
}

struct Case {
  const char* model;
  const char *a, *b;
};

class TruncatedUnits : public testing::TestWithParam<Case> {};

/// Products of random codes, more of them near each other than far; C of every size, and sums that cancel.
TEST_P(TruncatedUnits, AddAsTheRuleSays) {
  const Case& unit = GetParam();
  const Format fa = parse_format(unit.a), fb = parse_format(unit.b);
  const Model& m = find_model(unit.model, unit.a, unit.b).model;
  ASSERT_EQ(m.summation, Summation::aligned);
  std::mt19937_64 random(17);
  for (int round = 0; round < 100000; ++round) {
    std::vector<Operand> x, y;
    std::vector<float> a, b;
    const bool wild = round % 3 == 0;
    for (int i = 0; i < m.terms; ++i) {
      const auto draw = [&](const Format& f) {
        if (wild) return static_cast<std::uint32_t>(random() % f.codes());
        return encode(f, std::ldexp(static_cast<float>(static_cast<int>(random() % 511) - 255), static_cast<int>(random() % 12) - 8));
      };
      std::uint32_t ca = draw(fa), cb = draw(fb);
      if (i % 2 == 1 && random() % 4 == 0) {  // cancel the term before
        ca = encode(fa, -a.back()), cb = encode(fb, b.back());
      }
      a.push_back(decode(fa, ca)), b.push_back(decode(fb, cb));
      x.push_back(unpack_code(fa, ca)), y.push_back(unpack_code(fb, cb));
    }
    float c = round % 5 == 0 ? 0.0f : std::ldexp(static_cast<float>(random() >> 40), static_cast<int>(random() % 40) - 40);
    if (round % 2 == 0) c = -c;
    if (round % 97 == 0) c = bits_float(static_cast<std::uint32_t>(random()));
    const float want = step(m, fa, fb, a, b, c), got = dot(m, {x, {}}, {y, {}}, c);
    ASSERT_EQ(float_bits(want), float_bits(got)) << unit.model << " round " << round << ": want " << want << ", got " << got;
  }
}

INSTANTIATE_TEST_SUITE_P(Units, TruncatedUnits,
                         testing::Values(Case{"hopper_wgmma", "e4m3", "e4m3"}, Case{"hopper_wgmma", "e5m2", "e4m3"},
                                         Case{"ada_mma", "e4m3", "e5m2"}, Case{"blackwell_tcgen05", "e5m2", "e5m2"},
                                         Case{"blackwell_tcgen05", "e3m2", "e2m1"}, Case{"hopper_mma", "fp16", "fp16"},
                                         Case{"hopper_mma", "bf16", "bf16"}, Case{"ampere_mma", "fp16", "fp16"},
                                         Case{"ampere_mma", "bf16", "bf16"}, Case{"volta_mma", "fp16", "fp16"},
                                         Case{"rtxblackwell_mma", "e4m3", "e4m3"}),
                         [](const auto& info) {
                           return std::string(info.param.model) + "_" + info.param.a + "_" + info.param.b;
                         });

TEST(Yardsticks, AreWhatTheirNamesSay) {
  std::mt19937 random(3);
  std::normal_distribution<float> normal;
  for (int round = 0; round < 2000; ++round) {
    std::vector<Operand> x, y;
    std::vector<float> a, b;
    Number exact;
    const float c = normal(random);
    mpfr_set_flt(exact.value, c, MPFR_RNDN);
    float sequential = c, fused = c;
    double wide = c;
    for (int i = 0; i < 40; ++i) {
      const std::uint32_t ca = encode(bf16, normal(random)), cb = encode(bf16, normal(random));
      x.push_back(unpack_code(bf16, ca)), y.push_back(unpack_code(bf16, cb));
      const float p = decode(bf16, ca), q = decode(bf16, cb);
      Number term;
      mpfr_set_flt(term.value, p, MPFR_RNDN);
      mpfr_mul_d(term.value, term.value, q, MPFR_RNDN);
      mpfr_add(exact.value, exact.value, term.value, MPFR_RNDN);
      const float product = p * q;
      sequential += product;
      fused = std::fma(p, q, fused);
      wide += static_cast<double>(p) * q;
    }
    const auto run = [&](const char* name) { return dot(find_model(name, "bf16", "bf16").model, {x, {}}, {y, {}}, c); };
    EXPECT_EQ(run("exact"), mpfr_get_flt(exact.value, MPFR_RNDN));
    EXPECT_EQ(run("fp32_sequential"), sequential);
    EXPECT_EQ(run("fp64"), static_cast<float>(wide));
    EXPECT_EQ(dot(find_model("fma_fp32", "fp32", "fp32").model, {x, {}}, {y, {}}, c), fused);
  }
}

}  // namespace
}  // namespace fp8scope
