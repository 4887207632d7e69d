#include "sim/simd/chain_gemm.hpp"

#include <gtest/gtest.h>

#include <random>
#include <vector>

#include "sim/models.hpp"
#include "sim/scaled_gemm.hpp"
#include "sim/simd/isa.hpp"

namespace fp8scope {
namespace {

struct Case {
  std::size_t m, n, k, chunk;
};
constexpr Case cases[] = {{1, 1, 1, 0}, {12, 32, 64, 0}, {97, 33, 300, 0}, {13, 70, 515, 128}, {5, 32, 100, 32}, {40, 65, 256, 64}};

/// Codes of random numbers, their values, and scales of chunks.
struct Side {
  std::vector<std::uint16_t> codes;
  std::vector<float> values, scales;
  std::size_t rows, k, chunks;

  Side(std::size_t r, std::size_t kk, std::size_t chunk, unsigned seed)
      : codes(r * kk), values(r * kk), rows(r), k(kk), chunks(chunk ? (kk + chunk - 1) / chunk : 1) {
    std::mt19937 random(seed);
    std::normal_distribution<float> normal(0.0f, 20.0f);
    for (std::size_t i = 0; i < codes.size(); ++i) {
      codes[i] = static_cast<std::uint16_t>(encode(e4m3, normal(random)));
      values[i] = decode(e4m3, codes[i]);
    }
    scales.resize(chunk ? r * chunks : 1);
    for (float& s : scales) s = std::exp(normal(random) / 20.0f);
  }
};

class ChainGemms : public testing::TestWithParam<Case> {};

TEST_P(ChainGemms, EqualTheEmulatorsFmaModel) {
  const Case c = GetParam();
  const Side a(c.m, c.k, c.chunk, 1), b(c.n, c.k, c.chunk, 2);
  for (const ScaleOrder order : {ScaleOrder::product, ScaleOrder::first_a, ScaleOrder::first_b}) {
    const auto block = [&] { return c.chunk ? BlockShape{1, static_cast<std::int64_t>(c.chunk)} : BlockShape{}; };
    const auto rows = [](std::size_t n) { return static_cast<std::int64_t>(n); };
    ScaledGemmOptions options;
    options.model = find_model("fma_fp32", "e4m3", "e4m3").model;
    options.promote = rows(c.chunk);
    options.order = c.chunk ? order : ScaleOrder::plain;
    std::vector<float> reference(c.m * c.n), d(c.m * c.n);
    scaled_gemm({e4m3, rows(c.m), rows(c.k), a.codes, block(), a.scales},
                {e4m3, rows(c.n), rows(c.k), b.codes, block(), b.scales}, options, {}, reference);
    for (const Isa wanted : supported_isas()) {
      set_isa(wanted);
      ChainGemm g{c.m, c.n, c.k, {a.values.data(), c.k, 1, a.scales.data(), c.chunk ? a.chunks : 0, 1},
                  {b.values.data(), c.k, 1, b.scales.data(), c.chunk ? b.chunks : 0, 1}};
      g.chunk = c.chunk, g.order = options.order, g.d = d.data(), g.d_stride = c.n;
      chain_gemm(g);
      for (std::size_t i = 0; i < d.size(); ++i)
        ASSERT_EQ(float_bits(d[i]), float_bits(reference[i])) << isa_name(wanted) << " element " << i;
    }
  }
  set_isa(Isa::automatic);
}

TEST_P(ChainGemms, ReadTransposedOperands) {
  const Case c = GetParam();
  const Side a(c.m, c.k, 0, 3), b(c.n, c.k, 0, 4);
  std::vector<float> d(c.m * c.n), e(c.m * c.n), at(c.m * c.k), bt(c.n * c.k);
  for (std::size_t i = 0; i < c.m * c.k; ++i) at[i % c.k * c.m + i / c.k] = a.values[i];
  for (std::size_t i = 0; i < c.n * c.k; ++i) bt[i % c.k * c.n + i / c.k] = b.values[i];
  ChainGemm g{c.m, c.n, c.k, {a.values.data(), c.k, 1}, {b.values.data(), c.k, 1}};
  g.d = d.data(), g.d_stride = c.n;
  chain_gemm(g);
  g.a = {at.data(), 1, c.m}, g.b = {bt.data(), 1, c.n}, g.d = e.data();
  chain_gemm(g);
  EXPECT_EQ(d, e);
}

INSTANTIATE_TEST_SUITE_P(Shapes, ChainGemms, testing::ValuesIn(cases),
                         [](const auto& info) { return "case" + std::to_string(info.index); });

}  // namespace
}  // namespace fp8scope
