#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "sim/accumulator.hpp"

namespace fp8scope {

/// D[m, n] = sum over k of A[m, k] * B[n, k]: both operands are contiguous along K.
struct GemmShape {
  std::size_t m, n, k;
};

/// The codes of one operand, [rows, K], row after row.
struct GemmCodes {
  Format format;
  const void* codes;     ///< 1, 2 or 4 bytes each, the narrowest that hold format.bits()
  const void* scales = nullptr;  ///< uint8_t [rows, ceil(K / scale_block)] of models with block scales
};

/// Bytes of a code of `format` in GemmCodes.
inline std::size_t code_bytes(const Format& format) {
  return format.bits() <= 8 ? 1 : format.bits() <= 16 ? 2 : 4;
}

/// How the partial sum of a chunk of K joins the total: rows and columns are those of D.
/// Called for every chunk of every part of a row, chunks in ascending order, from several threads. It
/// may be called with a NaN and then again from chunk 0 on for the same element, which must not
/// change what it does: keep no state in it.
class Promotion {
 public:
  virtual ~Promotion() = default;
  /// total[j] = total[j] + partial[j], with whatever scales belong between, for the columns
  /// column + j. Before chunk 0 the total is 0.
  ///
  /// partial, total  [count]
  virtual void add(std::size_t chunk, std::size_t row, std::size_t column, std::size_t count,
                   const float* partial, float* total) const = 0;
};

/// total + partial, rounded to nearest even: an ordinary FP32 register outside the unit.
class PlainPromotion : public Promotion {
 public:
  void add(std::size_t, std::size_t, std::size_t, std::size_t count, const float* partial,
           float* total) const override {
    for (std::size_t j = 0; j < count; ++j) total[j] += partial[j];
  }
};

/// One product of matrices as a matrix unit computes it.
struct Gemm {
  Model model;
  GemmShape shape;
  GemmCodes a, b;
  /// Products after which the unit's sum, started from zero, is added to the total; 0: never.
  std::size_t promote_every = 0;
  const Promotion* promotion = nullptr;  ///< PlainPromotion if not set
  const float* c = nullptr;              ///< [M, N], where the unit starts without promotion
};

/// The reference: a block of D, every element by dot().
///
/// d  [M, N], the block's part is written
void gemm_block_by_dot(const Gemm& gemm, std::size_t first_row, std::size_t rows,
                       std::size_t first_column, std::size_t columns, float* d);

/// D[row, column] by dot(), promotion included.
float gemm_element_by_dot(const Gemm& gemm, std::size_t row, std::size_t column);

}  // namespace fp8scope
