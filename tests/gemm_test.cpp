#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cstring>
#include <random>
#include <string>
#include <vector>

#include "sim/models.hpp"
#include "sim/simd/gemm.hpp"
#include "sim/simd/isa.hpp"
#include "tests/same_bits.hpp"

namespace fp8scope {
namespace {

/// What the operands of a fuzzed product look like.
enum class Kinds { bits, finite, normal, cancelling, sparse };

constexpr Kinds all_kinds[] = {Kinds::bits, Kinds::finite, Kinds::normal, Kinds::cancelling, Kinds::sparse};

struct Matrix {
  std::vector<std::uint8_t> bytes;
  std::vector<std::uint8_t> scales;
};

std::uint32_t random_code(const Format& f, Kinds kinds, std::mt19937& random) {
  const auto code = static_cast<std::uint32_t>(random()) & (f.codes() - 1);
  const bool special = (code & f.magnitude_mask()) > f.max_code() || (f.specials == Specials::fnuz && code == f.nan_code());
  if (kinds == Kinds::bits && random() % 64 == 0) return code;  // a few NaN and Inf are enough
  if (kinds == Kinds::sparse && random() % 4 != 0) return 0;
  if (kinds == Kinds::normal) {
    std::normal_distribution<float> normal(0.0f, 0.05f * f.max_value() > 8.0f ? 8.0f : 1.0f);
    return encode(f, normal(random));
  }
  if (kinds == Kinds::cancelling) return encode(f, random() % 2 != 0 ? 1.0f : -1.0f) + random() % 2;
  return special ? 0u : code;
}

Matrix random_matrix(const Format& f, std::size_t rows, std::size_t k, int block, Kinds kinds,
                     std::mt19937& random) {
  Matrix m;
  const std::size_t size = code_bytes(f);
  m.bytes.resize(rows * k * size);
  for (std::size_t i = 0; i < rows * k; ++i) {
    const std::uint32_t code = random_code(f, kinds, random);
    std::memcpy(&m.bytes[i * size], &code, size);
  }
  if (block != 0)
    for (std::size_t i = 0; i < rows * ((k + block - 1) / block); ++i)
      m.scales.push_back(static_cast<std::uint8_t>(kinds == Kinds::bits ? random() : 120 + random() % 16));
  return m;
}

float random_c(Kinds kinds, bool half, std::mt19937& random) {
  if (half) return decode(fp16, kinds == Kinds::bits ? random() % 65536 : random() % 0x5000);
  if (kinds == Kinds::bits) return bits_float(static_cast<std::uint32_t>(random()));
  return std::normal_distribution<float>(0.0f, 100.0f)(random);
}

struct Fuzz {
  Gemm gemm;
  Matrix a, b;
  std::vector<float> c;

  Fuzz(const Model& model, const Format& fa, const Format& fb, GemmShape shape, Kinds kinds,
       std::mt19937& random) {
    a = random_matrix(fa, shape.m, shape.k, model.scale_block, kinds, random);
    b = random_matrix(fb, shape.n, shape.k, model.scale_block, kinds, random);
    for (std::size_t i = 0; i < shape.m * shape.n; ++i)
      c.push_back(random() % 2 ? 0.0f : random_c(kinds, model.result == rne_f16, random));
    gemm.model = model;
    gemm.shape = shape;
    gemm.a = {fa, a.bytes.data(), a.scales.data()};
    gemm.b = {fb, b.bytes.data(), b.scales.data()};
    gemm.c = c.data();
  }
  std::vector<float> by_dot() const {
    std::vector<float> d(c.size());
    gemm_block_by_dot(gemm, 0, gemm.shape.m, 0, gemm.shape.n, d.data());
    return d;
  }
  std::vector<float> by_gemm() const {
    std::vector<float> d(c.size());
    fp8scope::gemm(gemm, d.data());
    return d;
  }
};

Format format_called(const std::string& name) { return name == "fp32" ? fp32 : parse_format(name); }

std::vector<std::string> words(std::string_view text) {
  std::vector<std::string> list;
  while (!text.empty()) {
    const std::size_t end = std::min(text.find(' '), text.size());
    list.emplace_back(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return list;
}

class GemmOn : public testing::TestWithParam<Isa> {
 protected:
  void SetUp() override {
    if (!isa_supported(GetParam())) GTEST_SKIP() << "this processor lacks " << isa_name(GetParam());
    set_isa(GetParam());
  }
  void TearDown() override { set_isa(Isa::automatic); }
};

TEST_P(GemmOn, EveryElementOfEveryModelIsDots) {
  std::mt19937 random(1);
  for (const ModelRow& row : model_rows()) {
    if (row.inputs.empty() || row.output == "f64") continue;
    const auto inputs = words(row.inputs);
    for (const Kinds kinds : all_kinds)
      for (const std::string& a : inputs)
        for (const std::string& b : inputs) {
          const std::size_t k = 16 + random() % 200;
          Fuzz fuzz(row.model, format_called(a), format_called(b), {1 + random() % 40, 1 + random() % 80, k},
                    kinds, random);
          const auto vectorised = GemmPlan(fuzz.gemm).vectorised();
          EXPECT_TRUE(same_bits(fuzz.by_dot(), fuzz.by_gemm()))
              << row.name << " " << a << " " << b << " " << row.output << " k=" << k << " kinds "
              << static_cast<int>(kinds) << (vectorised ? " vectorised" : " by dot");
        }
  }
}

TEST(Gemm, TenMillionDotProductsOverAllModelsAreDots) {
  std::mt19937 random(2);
  std::size_t compared = 0;
  for (int round = 0; compared < 10'000'000; ++round)
    for (const ModelRow& row : model_rows()) {
      if (row.inputs.empty() || row.output == "f64") continue;
      const auto inputs = words(row.inputs);
      const std::string &a = inputs[random() % inputs.size()], &b = inputs[random() % inputs.size()];
      const Kinds kinds = all_kinds[random() % std::size(all_kinds)];
      // Steps of the unit, whole and broken, one to three of them.
      const std::size_t k = 1 + random() % (3 * std::max(row.model.terms, 4));
      Fuzz fuzz(row.model, format_called(a), format_called(b), {96, 256, k}, kinds, random);
      const auto want = fuzz.by_dot();
      ASSERT_TRUE(same_bits(want, fuzz.by_gemm())) << row.name << " " << a << " " << b << " k=" << k << " round " << round;
      compared += want.size();
    }
  fmt::print("{} dot products\n", compared);
}

INSTANTIATE_TEST_SUITE_P(Isas, GemmOn, testing::Values(Isa::scalar, Isa::sse4, Isa::avx2, Isa::avx512),
                         [](const auto& info) { return std::string(isa_name(info.param)); });

}  // namespace
}  // namespace fp8scope
