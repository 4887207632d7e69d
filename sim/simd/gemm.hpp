#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "sim/gemm.hpp"

namespace fp8scope {

/// Memory of one thread that computes tiles; grows to what a tile needs and stays.
struct GemmScratch {
  std::vector<std::uint32_t> a, b, rows;
  std::vector<float> sums;
};

/// A product cut into tiles of D. The bits do not depend on the tiles, on the order or the threads
/// that compute them, or on the instructions used: every element is what dot() gives.
class GemmPlan {
 public:
  /// For `threads` threads there are several tiles each, if D is large enough.
  /// Throws std::invalid_argument if a block of scales would cross a chunk of promotion.
  explicit GemmPlan(const Gemm& gemm, int threads = 1);

  std::size_t tiles() const { return row_tiles_ * column_tiles_; }
  /// Whether the vector kernel computes it; else every element is one call of dot().
  bool vectorised() const { return vectorised_; }
  /// Computes one tile of D. Several tiles may be computed at a time, each with its own scratch.
  ///
  /// d  [M, N], the tile's part is written
  void run(std::size_t tile, GemmScratch& scratch, float* d) const;

 private:
  Gemm gemm_;
  bool vectorised_;
  std::size_t tile_rows_, tile_columns_, row_tiles_, column_tiles_;
};

/// D by all tiles, one after the other.
void gemm(const Gemm& gemm, float* d);

/// Whether the vector kernel is exact for steps of this model on these formats.
bool gemm_has_vector_kernel(const Model& model, const Format& a, const Format& b);

}  // namespace fp8scope
