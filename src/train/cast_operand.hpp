#pragma once

#include <vector>

#include "sim/block.hpp"
#include "sim/format.hpp"
#include "sim/scale.hpp"
#include "sim/scale_order.hpp"
#include "src/train/matrix.hpp"

namespace fp8scope::train {

/// An operand of a product as it is multiplied: values, and scales that come in later.
struct CastOperand {
  std::int64_t rows = 0, k = 0;
  std::int64_t row_stride = 0, k_stride = 1;  ///< of `values`
  const float* values = nullptr;  ///< decoded codes; of unscaled operands the numbers themselves
  Format format{};                ///< of the codes; fp32 or bf16 if unscaled
  bool scaled = false;
  BlockShape block;
  ScaleOrder order = ScaleOrder::plain;
  ScaleStorage storage = ScaleStorage::fp32;
  std::vector<float> scale_inv;  ///< [blocks] if scaled
  Matrix own;                    ///< the values, where they are not someone else's

  /// What the operand stands for: own values times their scales.
  ///
  /// out  [rows, k], written
  void dequantise(const Executor& execute, Matrix& out) const;
};

}  // namespace fp8scope::train
