#pragma once

#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include "sim/simd/gemm.hpp"
#include "sim/simd/gemm_kernel.hpp"
#include "sim/simd/gemm_pack.hpp"

namespace fp8scope::simd {

/// Rows [row, row + rows) and columns [column, column + columns) of D.
struct TileRange {
  std::size_t row, rows, column, columns;
};

/// One tile of D by the vector kernels: packs a stretch of K, runs its steps, and so on; then does
/// by dot() what the kernels left out.
class GemmTile {
 public:
  GemmTile(const Gemm& gemm, const TileRange& range, GemmScratch& scratch, float* d);
  void run();

 private:
  /// Steps [first, first + count) of the product, packed together.
  struct Stretch {
    std::size_t first, count;
  };
  void start();
  void pack_rows(Stretch stretch);
  void run_panel(Stretch stretch, std::size_t panel);
  void run_block(Stretch stretch, std::size_t panel, std::size_t row);
  void promote(std::size_t chunk, std::size_t panel, std::size_t row, std::size_t rows);
  void finish();

  std::size_t panels() const { return (range_.columns + panel_columns - 1) / panel_columns; }
  /// Sums of row `row` in a panel, [64].
  float* sums(std::size_t panel, std::size_t row);
  float& sum_at(std::size_t row, std::size_t column);
  std::uint32_t* packed_row(std::size_t row);
  std::uint32_t* packed_panel(std::size_t panel);
  float* output(std::size_t row) { return d_ + (range_.row + row) * gemm_.shape.n + range_.column; }

  const Gemm& gemm_;
  const TileRange range_;
  GemmScratch& scratch_;
  float* const d_;
  const StepNumbers numbers_;
  const bool promotes_;
  const StepMap map_;
  const Packer a_, b_;
  const std::size_t most_steps_;  ///< packed together
  const std::size_t a_step_;      ///< words from a row's record to its next step's
  std::vector<std::uint8_t> bad_rows_, bad_columns_;  ///< marks of Packer
  /// Row and column of elements whose C is out of the kernels' range.
  std::vector<std::pair<std::size_t, std::size_t>> by_dot_;
};

}  // namespace fp8scope::simd
