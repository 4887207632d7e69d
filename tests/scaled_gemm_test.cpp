#include "sim/scaled_gemm.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <random>

#include "sim/models.hpp"
#include "sim/quantize.hpp"
#include "sim/scale.hpp"
#include "sim/simd/isa.hpp"
#include "tests/same_bits.hpp"

namespace fp8scope {
namespace {

struct Matrix {
  Format format;
  std::int64_t rows, k;
  BlockShape block;
  std::vector<std::uint16_t> codes;
  std::vector<float> scale_inv;

  ScaledMatrix view() const { return {format, rows, k, codes, block, scale_inv}; }
};

enum class Content { normal, wide, bits };

/// Random codes: quantised normals, all finite codes alike, or all codes, NaN and infinities too.
Matrix random_matrix(unsigned seed, const Format& f, std::int64_t rows, std::int64_t k, BlockShape block, Content content) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal;
  Matrix m{f, rows, k, block, {}, {}};
  for (std::int64_t i = 0; i < rows * k; ++i) {
    std::uint32_t code = encode(f, normal(random) * 60.0f);
    if (content != Content::normal && random() % 4 != 0) code = random() % f.codes();
    if (content == Content::wide && !is_finite(decode(f, code))) code = 0;
    m.codes.push_back(static_cast<std::uint16_t>(code));
  }
  for (std::int64_t i = 0; i < BlockGrid(rows, k, block).blocks(); ++i)
    m.scale_inv.push_back(std::ldexp(1.0f + static_cast<float>(random() % 1000) * 1e-3f, static_cast<int>(random() % 8) - 12));
  return m;
}

std::vector<float> run(const Matrix& a, const Matrix& b, const ScaledGemmOptions& options, std::span<const float> c = {}) {
  std::vector<float> d(a.rows * b.rows);
  scaled_gemm(a.view(), b.view(), options, c, d);
  return d;
}

ScaledGemmOptions hopper(std::int64_t promote, ScaleOrder order) {
  return {.model = parse_model("hopper_wgmma", "e4m3", "e4m3"), .promote = promote, .order = order};
}

/// All NaNs one, as the vector kernel does not promise their payload through an fma.
std::vector<float> canonical(std::vector<float> values) {
  for (float& v : values)
    if (is_nan(v)) v = bits_float(0x7fc00000u);
  return values;
}

TEST(ScaledGemm, TheVectorKernelGivesTheBitsOfTheScalarModels) {
  std::int64_t products = 0;
  unsigned seed = 1;
  for (const Format& fa : {e4m3, e5m2})
    for (const Format& fb : {e4m3, e5m2})
      for (const Content content : {Content::normal, Content::wide, Content::bits})
        for (const auto& [m, n, k] : {std::tuple{37, 70, 256}, {33, 65, 300}, {5, 3, 32}, {64, 64, 512}, {1, 1, 7}})
          for (const std::int64_t promote : {0, 32, 128}) {
            const Matrix a = random_matrix(++seed, fa, m, k, {}, content), b = random_matrix(++seed, fb, n, k, {}, content);
            const ScaledGemmOptions options = hopper(promote, ScaleOrder::plain);
            set_isa(Isa::automatic);
            const auto fast = run(a, b, options);
            set_isa(Isa::scalar);
            const auto want = run(a, b, options);
            set_isa(Isa::automatic);
            EXPECT_TRUE(same_bits(canonical(want), canonical(fast))) << m << "x" << n << "x" << k << " N_C " << promote;
            products += std::int64_t{m} * n * k;
          }
  EXPECT_GT(products, 50'000'000);
}

TEST(ScaledGemm, TheVectorKernelAppliesBlockScalesInEveryOrderAsTheScalarCode) {
  const Matrix a = random_matrix(1, e4m3, 40, 384, {1, 128}, Content::normal);
  for (const BlockShape& block : {BlockShape{128, 128}, BlockShape{1, 128}}) {
    const Matrix b = random_matrix(2, e4m3, 200, 384, block, Content::normal);
    for (const ScaleOrder order : {ScaleOrder::product, ScaleOrder::first_a, ScaleOrder::first_b}) {
      ScaledGemmOptions options = hopper(128, order);
      options.split_k = order == ScaleOrder::first_b ? 2 : 1;
      const auto fast = run(a, b, options);
      set_isa(Isa::scalar);
      EXPECT_TRUE(same_bits(run(a, b, options), fast));
      set_isa(Isa::automatic);
    }
  }
}

TEST(ScaledGemm, PromotionOrdersDifferInBitsAndOneStepOfTheIntervalMatters) {
  const Matrix a = random_matrix(3, e4m3, 40, 1024, {1, 128}, Content::normal);
  const Matrix b = random_matrix(4, e4m3, 200, 1024, {128, 128}, Content::normal);
  const auto deepgemm = run(a, b, hopper(128, ScaleOrder::product));
  EXPECT_FALSE(same_bits(deepgemm, run(a, b, hopper(128, ScaleOrder::first_a))));
  EXPECT_FALSE(same_bits(deepgemm, run(a, b, hopper(128, ScaleOrder::first_b))));
  EXPECT_FALSE(same_bits(deepgemm, run(a, b, hopper(64, ScaleOrder::product))));
}

TEST(ScaledGemm, OneStepOfTheIntervalOrAnotherSplitOfKGivesOtherBits) {
  const Matrix a = random_matrix(3, e4m3, 40, 1024, {}, Content::normal), b = random_matrix(4, e4m3, 200, 1024, {}, Content::normal);
  ScaledGemmOptions options = hopper(128, ScaleOrder::plain);
  const auto want = run(a, b, options);
  EXPECT_FALSE(same_bits(want, run(a, b, hopper(96, ScaleOrder::plain))));
  EXPECT_FALSE(same_bits(want, run(a, b, hopper(160, ScaleOrder::plain))));
  options.promote = 0;  // promoted sums of 14 bits are added without error, in whatever order
  const auto whole = run(a, b, options);
  options.split_k = 2;
  const auto halves = run(a, b, options);
  EXPECT_FALSE(same_bits(whole, halves));
  options.split_k = 3;
  EXPECT_FALSE(same_bits(halves, run(a, b, options)));
}

TEST(ScaledGemm, PromotesByTheRuleWrittenOut) {
  const Matrix a = random_matrix(5, e4m3, 3, 256, {1, 128}, Content::normal);
  const Matrix b = random_matrix(6, e4m3, 2, 256, {128, 128}, Content::normal);
  const auto got = run(a, b, hopper(128, ScaleOrder::product));
  const Model model = parse_model("hopper_wgmma", "e4m3", "e4m3");
  for (int r = 0; r < 3; ++r)
    for (int c = 0; c < 2; ++c) {
      float sum = 0.0f;
      for (int chunk = 0; chunk < 2; ++chunk) {
        std::vector<Operand> x, y;
        for (int k = 0; k < 128; ++k) {
          x.push_back(unpack_code(e4m3, a.codes[r * 256 + chunk * 128 + k]));
          y.push_back(unpack_code(e4m3, b.codes[c * 256 + chunk * 128 + k]));
        }
        const float p = dot(model, {x, {}}, {y, {}}, 0.0f);
        sum = std::fma(a.scale_inv[r * 2 + chunk] * b.scale_inv[chunk], p, sum);
      }
      EXPECT_EQ(got[r * 2 + c], sum);
    }
}

TEST(ScaledGemm, RoundsTheOutputBeforeCIsAdded) {
  const Matrix a = random_matrix(7, e4m3, 4, 64, {}, Content::normal), b = random_matrix(8, e4m3, 4, 64, {}, Content::normal);
  ScaledGemmOptions options = hopper(0, ScaleOrder::plain);
  const auto sum = run(a, b, options);
  options.bf16_output = true;
  const std::vector<float> c(16, 0.3125f);
  const auto got = run(a, b, options, c);
  const auto to_bf16 = [](float x) { return decode(bf16, encode(bf16, x)); };
  for (std::size_t i = 0; i < got.size(); ++i) EXPECT_EQ(got[i], to_bf16(to_bf16(sum[i]) + c[i]));
}

TEST(ScaledGemm, RefusesScalesItCannotApply) {
  const Matrix a = random_matrix(9, e4m3, 4, 256, {1, 32}, Content::normal), b = random_matrix(10, e4m3, 4, 256, {1, 32}, Content::normal);
  EXPECT_THROW(run(a, b, hopper(128, ScaleOrder::product)), std::invalid_argument);
  EXPECT_THROW(run(a, b, hopper(0, ScaleOrder::product)), std::invalid_argument);
  EXPECT_THROW(run(a, b, hopper(32, ScaleOrder::plain)), std::invalid_argument);
  EXPECT_THROW(run(a, b, hopper(48, ScaleOrder::product)), std::invalid_argument);
  EXPECT_NO_THROW(run(a, b, hopper(32, ScaleOrder::product)));
}

TEST(ScaledGemm, MicroscalingTakesItsScalesInsideTheUnit) {
  Matrix a = random_matrix(11, e4m3, 3, 128, {1, 32}, Content::normal), b = random_matrix(12, e4m3, 2, 128, {1, 32}, Content::normal);
  for (Matrix* m : {&a, &b})
    for (float& s : m->scale_inv) s = cut_to_pow2(s);
  const ScaledGemmOptions options{.model = parse_model("blackwell_mxfp8", "e4m3", "e4m3")};
  const auto got = run(a, b, options);
  for (int r = 0; r < 3; ++r)
    for (int c = 0; c < 2; ++c) {
      double exact = 0.0;
      for (int k = 0; k < 128; ++k)
        exact += double{decode(e4m3, a.codes[r * 128 + k])} * a.scale_inv[r * 4 + k / 32] *
                 decode(e4m3, b.codes[c * 128 + k]) * b.scale_inv[c * 4 + k / 32];
      EXPECT_NEAR(got[r * 2 + c], exact, 1e-5 * std::fabs(exact) + 1e-4);
    }
}

}  // namespace
}  // namespace fp8scope
