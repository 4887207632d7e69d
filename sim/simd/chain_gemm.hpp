#pragma once

#include <cstddef>
#include <vector>

#include "sim/scale_order.hpp"

namespace fp8scope {

/// A matrix of binary32 numbers, K along one of its dimensions: element (r, k) is
/// data[r * row_stride + k * k_stride].
struct ChainOperand {
  const float* data;
  std::size_t row_stride, k_stride;
  const float* scale_inv = nullptr;  ///< of row r in chunk c: scale_inv[r * scale_row + c * scale_chunk]
  std::size_t scale_row = 0, scale_chunk = 0;
};

/// D[m, n] = sum over k of A[m, k] B[n, k], every element one chain of fused multiply-adds in binary32,
/// k ascending: Summation::fma. With `chunk`, chains of so many products start from zero and join the
/// total as `order` says; chunk 0 is one chain. Order `plain` leaves the scales out until the end: those
/// of the first chunk, if there are any, multiply the total as fl(sa * sb).
struct ChainGemm {
  std::size_t m, n, k;
  ChainOperand a, b;
  std::size_t chunk = 0;
  ScaleOrder order = ScaleOrder::plain;
  bool bf16_output = false;  ///< D is rounded to bfloat16
  float* d = nullptr;        ///< element (i, j) is d[i * d_stride + j], written
  std::size_t d_stride = 0;
};

/// A product cut into tasks. The bits do not depend on the tasks, their order, the threads or the
/// instructions.
class ChainPlan {
 public:
  /// Packs B. The operands must outlive the plan.
  explicit ChainPlan(const ChainGemm& gemm);
  std::size_t tasks() const;
  /// Computes some rows of D. Several tasks may run at a time.
  void run(std::size_t task) const;

 private:
  void promote_block(std::size_t chunk, std::size_t row, std::size_t rows, std::size_t panel, std::size_t columns,
                     const float* block, float* d) const;

  ChainGemm gemm_;
  std::size_t segment_;          ///< products between visits to D
  std::vector<float> b_;         ///< [segments, panels, segment, 32]
  std::vector<float> b_scales_;  ///< [chunks, panels, 32], 1 without scales
};

/// D by all tasks, one after the other.
void chain_gemm(const ChainGemm& gemm);

/// total[j] = promote(order, first ? 0 : total[j], partial[j], sa, sb[j]).
///
/// partial, sb, total  [n]
void promote_row(ScaleOrder order, bool first, std::size_t n, const float* partial, float sa, const float* sb,
                 float* total);

}  // namespace fp8scope
