#include "sim/simd/gemm.hpp"

#include <algorithm>

#include "sim/require.hpp"
#include "sim/simd/gemm_tile.hpp"
#include "sim/simd/isa.hpp"

namespace fp8scope {
namespace {

constexpr std::size_t largest_tile = 512, smallest_tile = 128;
constexpr std::size_t tiles_per_thread = 4;

}  // namespace

bool gemm_has_vector_kernel(const Model& model, const Format& a, const Format& b) {
  const bool plain = model.summation == Summation::aligned && model.cut == Cut::toward_zero &&
                     model.join == Join::inside && model.zero_factors == ZeroFactors::floor;
  if (!plain || model.terms == 0 || a.mantissa_bits + b.mantissa_bits > 22) return false;
  if (model.result == rne_f16 ? model.underflow_sign != UnderflowSign::kept
                              : model.result.nearest || model.result.max_exponent != 127)
    return false;
  if (model.scale_block != 0 && (model.scale_block != model.terms || model.scale_format.mantissa_bits != 0))
    return false;
  const std::size_t terms = static_cast<std::size_t>(model.terms + 3) / 4 * 4;
  return model.fraction_bits <= 28 && (terms / 2) << (model.fraction_bits + 2) <= std::size_t{1} << 31;
}

GemmPlan::GemmPlan(const Gemm& gemm, int threads) : gemm_(gemm) {
  const GemmShape& s = gemm.shape;
  const auto block = static_cast<std::size_t>(gemm.model.scale_block);
  require(block == 0 || gemm.promote_every % block == 0,
          "gemm: promotion must come after whole blocks of scales");
  vectorised_ = isa() != Isa::scalar && s.k > 0 && gemm_has_vector_kernel(gemm.model, gemm.a.format, gemm.b.format);
  const std::size_t enough_tiles = threads > 1 ? tiles_per_thread * static_cast<std::size_t>(threads) : 1;
  for (tile_rows_ = tile_columns_ = largest_tile;;) {
    row_tiles_ = (s.m + tile_rows_ - 1) / tile_rows_;
    column_tiles_ = (s.n + tile_columns_ - 1) / tile_columns_;
    std::size_t& longer = tile_rows_ >= tile_columns_ ? tile_rows_ : tile_columns_;
    if (row_tiles_ * column_tiles_ >= enough_tiles || longer == smallest_tile) break;
    longer /= 2;
  }
}

void GemmPlan::run(std::size_t tile, GemmScratch& scratch, float* d) const {
  const std::size_t row = tile / column_tiles_ * tile_rows_;
  const std::size_t column = tile % column_tiles_ * tile_columns_;
  const simd::TileRange range{row, std::min(tile_rows_, gemm_.shape.m - row), column,
                              std::min(tile_columns_, gemm_.shape.n - column)};
  if (vectorised_)
    simd::GemmTile(gemm_, range, scratch, d).run();
  else
    gemm_block_by_dot(gemm_, range.row, range.rows, range.column, range.columns, d);
}

void gemm(const Gemm& gemm, float* d) {
  const GemmPlan plan(gemm);
  GemmScratch scratch;
  for (std::size_t tile = 0; tile < plan.tiles(); ++tile) plan.run(tile, scratch, d);
}

}  // namespace fp8scope
