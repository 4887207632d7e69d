#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "sim/block.hpp"
#include "sim/error_sums.hpp"
#include "sim/recipe.hpp"
#include "src/tiles/spill.hpp"

namespace fp8scope {

/// What the cast of one tile met and lost.
struct TileRow {
  std::int32_t row, col;      ///< of the tile, in tiles
  float amax, min_nonzero;    ///< amax by the recipe's NaN rule; smallest |x| > 0, 0 if there is none
  Scales scales;
  std::uint32_t stored;       ///< scale_inv as the recipe stores it: a byte of E8M0 or E4M3, or bits
  std::uint32_t floored;      ///< 1: the amax lies below the recipe's floor
  std::uint64_t n, nans, infs, lost, underflow, subnormal, clipped, overflow;
  float max_abs, max_rel;
  double power, absolute;     ///< sum x^2, sum |x| of the finite elements
  double noise, error, cross, clipped_loss;  ///< as ErrorSums
};

/// Bins of exponent(x) - exponent(scale_inv): bin i counts the difference i + scaled_exponent_low,
/// the ends take in what lies beyond them. E4M3 holds -9 to 8, E5M2 -16 to 15.
inline constexpr int scaled_exponent_low = -48, scaled_exponent_bins = 80;
using ScaledExponents = std::array<std::uint64_t, scaled_exponent_bins>;

/// The tiles of one cast of one tensor, row-major, and the exponents of its elements as the element
/// format sees them.
struct CastTiles {
  Spill<TileRow> tiles;
  ScaledExponents exponents{};
};

/// How a cast is cut and measured.
struct TilePlan {
  BlockShape tile;      ///< tiles of the statistics; the recipe's own blocks unless asked otherwise
  Plan plan;
  bool turned = false;  ///< the contracted dimension is the rows
  float floor = 0.0f;   ///< smallest amax that counts; 0: none
};

/// Sums the tiles of every cast of one tensor while CastPass walks over its rows.
class TileMeter {
 public:
  TileMeter(std::int64_t rows, std::int64_t cols, std::vector<TilePlan> casts);
  ~TileMeter();

  /// The tiles that some consecutive rows touch; filled by one thread.
  class Rows;
  /// Rows [first, last).
  std::shared_ptr<Rows> rows(std::int64_t first, std::int64_t last) const;
  /// One row of one cast. Casts come in order; `limits` and `row` are what the cast used.
  ///
  /// stored  [cols] stored_scale() of each element's block
  void add(Rows& rows, std::int64_t r, std::size_t cast, const CastLimits& limits, const CastRow& row,
           const std::uint32_t* stored) const;
  /// Takes in the next rows of the tensor, in order.
  void merge(const Rows& rows);
  /// [casts]; to be called once after the last row.
  std::vector<CastTiles> finish();

 private:
  struct Content;
  struct Loss;
  struct Layout;
  void emit(std::size_t cast);
  TileRow tile_row(std::size_t cast, std::int64_t row, std::int64_t col) const;

  std::int64_t rows_, cols_;
  std::vector<TilePlan> casts_;
  std::vector<Layout> layouts_;          ///< distinct tiles
  std::vector<std::size_t> layout_of_;   ///< [casts]
  std::shared_ptr<Rows> open_;           ///< the tiles of the block row that is not complete yet
  std::vector<CastTiles> results_;       ///< [casts]
};

}  // namespace fp8scope
