// The trainer's casts and products against the emulator's reference, bit for bit.
#include <gtest/gtest.h>

#include <cmath>
#include <random>

#include "sim/amax.hpp"
#include "sim/quantize.hpp"
#include "sim/simd/codec.hpp"
#include "sim/simd/isa.hpp"
#include "src/gemm_error.hpp"
#include "src/requested_cast.hpp"
#include "src/stable_log.hpp"
#include "src/train/exchange.hpp"
#include "src/train/optimizer.hpp"
#include "src/train/product.hpp"
#include "tests/temporary_folder.hpp"
#include "tests/train_fixture.hpp"

namespace fp8scope::train {
namespace {

const Executor in_order = run_in_order;

Matrix random_matrix(std::int64_t rows, std::int64_t cols, unsigned seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal(0.0f, 1.0f);
  Matrix x;
  x.resize(rows, cols);
  for (float& v : x.values) v = normal(random) * std::exp(2.0f * normal(random));
  round_bf16(in_order, x, x);
  return x;
}

/// The operand by the plain code of sim/.
struct Reference {
  fp8scope::GemmOperand operand;
  fp8scope::CastOperand cast;
  RequestedCast request;
  Reference(const std::string& recipe, Role role, const Matrix& x) : request(request_cast(recipe, {}, {role, bf16})) {
    operand = {x.rows, x.cols, {x.data(), static_cast<std::size_t>(x.size())}, request.cast};
    cast = cast_operand(operand);
  }
};

struct Case {
  const char *recipe, *accumulator, *promote;
};
constexpr Case cases[] = {
    {"te_current", "fma_fp32", "auto"},       {"te_current", "hopper_wgmma", "auto"},
    {"te_current", "hopper_wgmma", "128"},    {"te_current", "fma_fp32", "32"},
    {"te_block", "fma_fp32", "auto"},         {"te_block", "hopper_wgmma", "auto"},
    {"dsv3", "fma_fp32", "auto"},             {"dsv3", "hopper_wgmma", "auto"},
    {"dsv3", "blackwell_tcgen05", "auto"},    {"mxfp8", "fma_fp32", "auto"},
    {"mxfp8", "blackwell_mxfp8", "auto"},     {"mxfp8", "hopper_wgmma", "auto"},
    {"dsv3:block=128x128", "fma_fp32", "auto"}, {"dsv3:format=e5m2", "hopper_wgmma", "auto"},
};

class Products : public testing::TestWithParam<Case> {};

TEST_P(Products, EqualTheEmulators) {
  const Case& c = GetParam();
  const Matrix x = random_matrix(70, 256, 1), w = random_matrix(150, 256, 2);
  const Reference a(c.recipe, Role::activation, x), b(c.recipe, Role::weight, w);
  const ScaledGemmOptions options = gemm_options({.accumulator = c.accumulator, .promote = c.promote}, a.operand, b.operand);
  std::vector<float> expected(70 * 150);
  scaled_gemm(a.cast.matrix(a.operand), b.cast.matrix(b.operand), options, {}, expected);
  for (const Isa wanted : {Isa::automatic, Isa::scalar}) {
    set_isa(wanted);
    CastOperand left, right;
    OperandCast(c.recipe, Role::activation).cast(in_order, x, true, left);
    OperandCast(c.recipe, Role::weight).cast(in_order, w, true, right);
    Matrix d;
    multiply(in_order, left, right, {c.recipe, c.accumulator, c.promote}, false, d);
    for (std::size_t i = 0; i < expected.size(); ++i)
      ASSERT_EQ(float_bits(d.values[i]), float_bits(expected[i])) << isa_name(wanted) << ", element " << i;
  }
  set_isa(Isa::automatic);
}

TEST_P(Products, CastTheTransposeAsATransposedMatrix) {
  const Case& c = GetParam();
  for (const std::int64_t rows : {256, 100}) {  // whole blocks of rows, and not
    const Matrix x = random_matrix(rows, 70, 3);
    Matrix turned, scratch;
    transpose(in_order, x, turned);
    CastOperand one, two;
    OperandCast(c.recipe, Role::gradient).cast(in_order, turned, true, one);
    OperandCast(c.recipe, Role::gradient).cast_transpose(in_order, x, true, scratch, two);
    EXPECT_EQ(one.rows, two.rows);
    EXPECT_EQ(one.scale_inv, two.scale_inv);
    EXPECT_TRUE(std::equal(one.values, one.values + x.size(), two.values));
  }
}

INSTANTIATE_TEST_SUITE_P(Each, Products, testing::ValuesIn(cases),
                         [](const auto& info) { return "case" + std::to_string(info.index); });

TEST(OperandCasts, OfRecipesWithAMemoryAreRestored) {
  OperandCast cast("te_delayed:amax_history_len=3", Role::activation), again("te_delayed:amax_history_len=3", Role::activation);
  CastOperand one, two;
  for (unsigned step = 0; step < 5; ++step) cast.cast(in_order, random_matrix(16, 32, step), true, one);
  again.restore(cast.memory());
  const Matrix next = random_matrix(16, 32, 9);
  cast.cast(in_order, next, true, one);
  again.cast(in_order, next, true, two);
  EXPECT_EQ(one.scale_inv, two.scale_inv);
  // Outside of training nothing is remembered.
  const std::vector<float> memory = cast.memory();
  cast.cast(in_order, random_matrix(16, 32, 11), false, one);
  EXPECT_EQ(cast.memory(), memory);
  EXPECT_EQ(one.scale_inv, two.scale_inv);
}

TEST(Exchange, CountsTheBytesThatLeave) {
  EXPECT_DOUBLE_EQ(row_bytes("fp8", 128) / row_bytes("bf16", 128), 132.0 / 256.0);
  RowExchange exchange("dispatch", "fp8");
  const Matrix x = random_matrix(64, 128, 5);
  Matrix received;
  exchange.send(in_order, x, 48, received);
  EXPECT_DOUBLE_EQ(exchange.count().bytes, 48 * 132.0);
  EXPECT_DOUBLE_EQ(exchange.count().bf16_bytes, 48 * 256.0);
  const double sqnr = decibels(exchange.count().signal / exchange.count().noise);
  EXPECT_GT(sqnr, 28.0);
  EXPECT_LT(sqnr, 40.0);
  exchange.send(in_order, x, -1, received);
  EXPECT_DOUBLE_EQ(exchange.count().bytes, 48 * 132.0);
}

TEST(Exchange, AveragesGradientsOfRanks) {
  const auto gradient = [](unsigned seed) {
    const Matrix x = random_matrix(10, 100, seed);
    return std::vector<float>(x.values.begin(), x.values.end());
  };
  for (const auto& [format, limit] : {std::pair<const char*, double>{"fp32", 1e-6}, {"bf16", 5e-3}, {"fp8", 5e-2}}) {
    std::vector<std::vector<float>> ranks{gradient(1), gradient(2), gradient(3)};
    const auto exact = ranks;
    Traffic::Count count;
    all_reduce(in_order, format, ranks, {0, 300, 1000}, count);
    double error = 0.0, size = 0.0;
    for (std::size_t i = 0; i < 1000; ++i) {
      const double mean = (static_cast<double>(exact[0][i]) + exact[1][i] + exact[2][i]) / 3.0;
      error += std::pow(ranks[0][i] - mean, 2), size += mean * mean;
    }
    EXPECT_LT(std::sqrt(error / size), limit) << format;
    EXPECT_GE(std::sqrt(error / size), std::string(format) == "fp32" ? 0.0 : limit / 50) << format;
    const double each = std::string(format) == "fp8" ? 1.0 : std::string(format) == "bf16" ? 2.0 : 4.0;
    EXPECT_NEAR(count.bytes, 3 * 2.0 * 2.0 / 3.0 * 1000 * each, 64.0);
  }
}

void expand_to_fp8(float* x, std::size_t n) { codec_values(Codec::coat_expand, {x, n}, {x, n}); }

TEST(Moments, InFp8KeepTheirSizeOverManyBinades) {
  std::vector<float> x;
  for (int i = 0; i < 128; ++i) x.push_back((i % 2 ? -1.0f : 1.0f) * std::ldexp(1.0f + 0.007f * static_cast<float>(i), -i / 4));
  std::vector<float> y = x;
  expand_to_fp8(y.data(), y.size());
  for (std::size_t i = 0; i < x.size(); ++i) EXPECT_NEAR(y[i] / x[i], 1.0, 0.15) << i;
  EXPECT_NE(x, y);
  // A narrow group gets finer steps than E4M3's 6 %.
  for (std::size_t i = 0; i < x.size(); ++i) x[i] = 1.0f + 0.003f * static_cast<float>(i);
  y = x;
  expand_to_fp8(y.data(), y.size());
  for (std::size_t i = 0; i < x.size(); ++i) EXPECT_NEAR(y[i] / x[i], 1.0, 0.006) << i;
  std::vector<float> zeros(5, 0.0f);
  expand_to_fp8(zeros.data(), zeros.size());
  EXPECT_EQ(zeros, std::vector<float>(5, 0.0f));
}

// The first scale of Transformer Engine's delayed recipe is 1: gradients far below 1 are lost in E5M2.
TEST_F(TemporaryFolder, DelayedScalingStartsBlind) {
  const Corpus corpus(small_corpus(path("text")), 16);
  const auto gradient_norms = [&](const std::string& mode) {
    RunConfig run = tiny_run(mode, "tiny", corpus);
    run.optimizer.rate = 0.0;
    Trainer trainer(run, corpus, in_order);
    for (int step = 0; step < 3; ++step) trainer.step();
    return trainer.curve().gradient_norm;
  };
  const auto exact = gradient_norms("fp32"), delayed = gradient_norms("te_delayed"),
             current = gradient_norms("te_current");
  const auto off = [&](const std::vector<double>& norms, std::size_t step) { return std::fabs(norms[step] / exact[step] - 1.0); };
  EXPECT_GT(off(delayed, 0), 3.0 * off(current, 0));
  EXPECT_LT(off(delayed, 2), 0.05);
}

}  // namespace
}  // namespace fp8scope::train
