#pragma once

#include <cstdint>
#include <memory>
#include <span>

#include "sim/accumulator.hpp"
#include "sim/format.hpp"
#include "sim/promotion.hpp"

namespace fp8scope {

struct MatmulOperand {
  Format format;
  std::int64_t rows, k;
  std::span<const std::uint16_t> codes;  ///< [rows, k]
};

/// The inner loop of Gemm by vector instructions, for matrix units that cut FP8 products to 13
/// fraction bits: sums of 32 products in 16-bit integers, 64 columns at a time. Equal to dot() bit for
/// bit wherever the operands are finite; where they are not, the result means nothing.
class MatmulKernel {
 public:
  /// Whether this processor, set_isa() and the model allow it.
  static bool covers(const Model& model, const Format& a, const Format& b);

  MatmulKernel(const Model& model, const MatmulOperand& a, const MatmulOperand& b);
  ~MatmulKernel();

  /// p[r, c] = the chain of steps over k in [begin, end) from zero, for rows [r0, r0 + rows) of A and
  /// the 64 rows of B from 64 * across on; rows of B that do not exist give 0.
  ///
  /// p  [rows, 64], written; 64-byte aligned. Requires begin to be a multiple of 32, rows <= 32.
  void chain(std::int64_t r0, std::int64_t rows, std::int64_t across, std::int64_t begin, std::int64_t end,
             float* p) const;

  /// sum[r, c] = promote_one(order, sum, p, sa, sb).
  ///
  /// p, sum  [rows, 64], 64-byte aligned;  sa [rows];  sb [64]
  void promote(Promotion order, std::int64_t rows, const float* p, const float* sa, const float* sb,
               float* sum) const;

 private:
  struct Packed;
  std::unique_ptr<Packed> packed_;
};

}  // namespace fp8scope
