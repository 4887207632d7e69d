// What the native product decides and prepares on the host.
#include "cuda/gemm.hpp"
#include "cuda/native_gemm.hpp"
#include "sim/convert.hpp"
#include "sim/philox.hpp"

namespace fp8scope::cuda {

NativeScales::NativeScales(const ScaledMatrix& x, const ScaledMatrix& y)
    : scaled(x.grid().blocks() > 1 || y.grid().blocks() > 1) {
  for (std::int64_t k = 0; k < x.k; k += native_tile)
    for (std::int64_t r = 0; r < x.rows; ++r) a.push_back(x.scale(r, k));
  for (std::int64_t n = 0; n < y.rows; n += native_tile)
    for (std::int64_t k = 0; k < y.k; k += native_tile) b.push_back(y.scale(n, k));
}

std::string native_gemm_refusal(const ScaledMatrix& a, const ScaledMatrix& b, const ScaledGemmOptions& options) {
  for (const std::int64_t extent : {a.rows, b.rows, a.k})
    if (extent % native_tile != 0) return "M, N and K of the native product are multiples of 128";
  for (const ScaledMatrix* x : {&a, &b})
    if (x->format != e4m3 && x->format != e5m2) return "the native product takes E4M3 and E5M2 codes";
  if (options.promote != 0 && options.promote != native_tile) return "the native product promotes every 128 products or never";
  if (options.split_k != 1) return "the native product does not split K";
  const auto fits = [](const ScaledMatrix& m, std::int64_t rows) {
    const BlockGrid grid = m.grid();
    return grid.blocks() == 1 || (grid.block_cols % native_tile == 0 && grid.block_rows % rows == 0);
  };
  if (!fits(a, 1) || !fits(b, native_tile)) return "the native product takes scales of 1x128 blocks of A and of 128x128 blocks of B, or one each";
  return "";
}

std::vector<std::uint8_t> random_normal_codes(std::int64_t count, std::uint64_t seed) {
  // A table of 4096 drawn values, drawn from by cheap steps: timing needs the distribution, not independence.
  std::vector<std::uint8_t> table(4096), codes(static_cast<std::size_t>(count));
  for (std::size_t i = 0; i < table.size(); ++i) {
    float x = -6.0f;
    for (std::uint64_t j = 0; j < 12; ++j) x += static_cast<float>(random_bits(seed, 12 * i + j).value >> 8) * 0x1p-24f;
    table[i] = static_cast<std::uint8_t>(encode(e4m3, 16.0f * x));
  }
  std::uint32_t state = static_cast<std::uint32_t>(seed) * 2654435761u + 1u;
  for (std::uint8_t& code : codes) state = state * 1664525u + 1013904223u, code = table[state >> 20];
  return codes;
}

}  // namespace fp8scope::cuda
