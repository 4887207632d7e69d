#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "sim/accumulator.hpp"
#include "sim/block.hpp"
#include "sim/format.hpp"
#include "sim/promotion.hpp"

namespace fp8scope {

/// A quantised matrix with K along its rows: value[r, k] = decode(code[r, k]) * scale of its block.
struct GemmMatrix {
  Format format;
  std::int64_t rows, k;
  std::span<const std::uint16_t> codes;  ///< [rows, k]
  BlockShape block;                      ///< rows and k that share a scale; 0 is all
  std::span<const float> scale_inv;      ///< [ceil(rows / block.rows), ceil(k / block.cols)]

  BlockGrid grid() const { return {rows, k, block}; }
  float scale(std::int64_t r, std::int64_t kk) const { return scale_inv[grid().block(r, kk)]; }
};

enum class GemmOutput : std::uint8_t { fp32, bf16 };

struct GemmOptions {
  Model model;
  std::int64_t promote = 0;  ///< N_C, products between promotions; 0: never
  Promotion order = Promotion::plain;
  GemmOutput output = GemmOutput::fp32;
  std::int64_t split_k = 1;  ///< parts of K summed apart, then added in order
};

/// D = A B^T as a matrix unit and the loop around it compute it, bit for bit.
///
/// Each part of K: every N_C products, k ascending, run through dot() from zero; the promotion order
/// adds them up. Parts are added in binary32. If both matrices have one scale, the sum is multiplied by
/// fl(sa * sb) at the end. Models with block scales take the scales into the unit instead (E8M0
/// matrices only). The output is rounded to its format; then C is added and rounded again.
class Gemm {
 public:
  /// Both matrices and their spans must outlive this object.
  /// Throws std::invalid_argument if the shapes differ, a span is short, N_C is no multiple of the
  /// model's step, or a scale changes within N_C products.
  Gemm(const GemmMatrix& a, const GemmMatrix& b, const GemmOptions& options);
  ~Gemm();

  /// Rows and columns of one tile; tiles may be computed by any thread in any order.
  static constexpr std::int64_t tile_rows = 32, tile_cols = 64;
  std::int64_t tiles_down() const { return (a_.rows + tile_rows - 1) / tile_rows; }
  std::int64_t tiles_across() const { return (b_.rows + tile_cols - 1) / tile_cols; }

  /// Writes one tile of D.
  ///
  /// c  [a.rows, b.rows] or empty
  /// d  [a.rows, b.rows]
  void tile(std::int64_t down, std::int64_t across, std::span<const float> c, std::span<float> d) const;

  /// Whether the vector kernel computes it; else the scalar models do.
  bool vectorised() const { return fast_ != nullptr; }

 private:
  struct Fast;
  float element(std::int64_t r, std::int64_t c) const;
  float part(std::int64_t r, std::int64_t c, std::int64_t begin, std::int64_t end) const;
  float finish(float sum, std::int64_t r, std::int64_t c) const;
  void fast_tile(std::int64_t r0, std::int64_t rows, std::int64_t across, float* out) const;
  std::int64_t part_begin(std::int64_t part) const;

  GemmMatrix a_, b_;
  GemmOptions options_;
  bool scales_at_end_ = false;  ///< one scale each
  std::vector<Operand> operands_a_, operands_b_;  ///< by code
  std::vector<bool> special_a_, special_b_;       ///< [rows] holds a NaN or an infinity
  std::unique_ptr<Fast> fast_;
};

/// All tiles, one after another.
void gemm(const GemmMatrix& a, const GemmMatrix& b, const GemmOptions& options, std::span<const float> c,
          std::span<float> d);

}  // namespace fp8scope
