#include <gtest/gtest.h>

#include "tests/gemm_fuzz.hpp"
#include "tests/oracle_accumulate.hpp"
#include "tests/same_bits.hpp"

namespace fp8scope {
namespace {

bool has_oracle(const Model& model) {
  switch (model.summation) {
    case Summation::fma:
    case Summation::sequential:
    case Summation::pairwise:
    case Summation::binary64: return false;
    default: return true;
  }
}

std::vector<oracle::Number> numbers(const Format& f, const std::vector<std::uint8_t>& bytes) {
  const std::size_t size = code_bytes(f);
  std::vector<oracle::Number> out;
  for (std::size_t i = 0; i < bytes.size(); i += size) {
    std::uint32_t code = 0;
    std::memcpy(&code, &bytes[i], size);
    out.push_back(oracle::number(f, f == fp32 ? bits_float(code) : decode(f, code)));
  }
  return out;
}

std::vector<oracle::Number> scale_numbers(const Format& f, const std::vector<std::uint8_t>& codes) {
  std::vector<oracle::Number> out;
  for (const std::uint8_t code : codes) out.push_back(oracle::number(f, decode(f, code & f.magnitude_mask())));
  return out;
}

template <class T>
std::vector<T> row_of(const std::vector<T>& all, std::size_t row, std::size_t rows) {
  const std::size_t n = all.size() / rows;
  return {all.begin() + static_cast<std::ptrdiff_t>(row * n), all.begin() + static_cast<std::ptrdiff_t>((row + 1) * n)};
}

std::vector<float> by_oracle(const Fuzz& fuzz) {
  const Gemm& g = fuzz.gemm;
  const auto a = numbers(g.a.format, fuzz.a.bytes), b = numbers(g.b.format, fuzz.b.bytes);
  const auto sa = scale_numbers(g.model.scale_format, fuzz.a.scales), sb = scale_numbers(g.model.scale_format, fuzz.b.scales);
  std::vector<float> d;
  for (std::size_t r = 0; r < g.shape.m; ++r) {
    const auto x = row_of(a, r, g.shape.m), sx = row_of(sa, r, g.shape.m);
    for (std::size_t j = 0; j < g.shape.n; ++j)
      d.push_back(oracle::dot(g.model, x, row_of(b, j, g.shape.n), sx, row_of(sb, j, g.shape.n), fuzz.c[d.size()]));
  }
  return d;
}

TEST(AccumulatorOracle, TenMillionSumsOfEveryModelAreTheOraclesAndTheKernels) {
  std::mt19937 random(11);
  std::size_t dots = 0, by_kernel = 0;
  every_model([&](const ModelRow& row, const std::string& a, const std::string& b) {
    if (!has_oracle(row.model)) return;
    for (const Kinds kinds : all_kinds) {
      const std::size_t terms = row.model.terms == 0 ? 16 : row.model.terms;
      const GemmShape shape{96, 96, 1 + random() % (2 * terms)};
      const Fuzz fuzz(row.model, format_called(a), format_called(b), shape, kinds, random);
      const std::vector<float> oracle = by_oracle(fuzz), dot = fuzz.by_dot(), gemm = fuzz.by_gemm();
      const std::string what = std::string(row.name) + " " + a + " " + b + " " + std::string(row.output) +
                               " kinds " + std::to_string(static_cast<int>(kinds)) + " k " + std::to_string(shape.k);
      EXPECT_TRUE(same_bits(oracle, dot)) << what << ", dot";
      EXPECT_TRUE(same_bits(dot, gemm)) << what << ", gemm";
      dots += dot.size();
      by_kernel += GemmPlan(fuzz.gemm).vectorised() ? dot.size() : 0;
    }
  });
  EXPECT_GE(dots, 10000000u);
  EXPECT_GE(by_kernel, 9000000u);
}

}  // namespace
}  // namespace fp8scope
