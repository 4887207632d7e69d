#pragma once

#include "src/train/cast_operand.hpp"
#include "src/train/precision.hpp"

namespace fp8scope::train {

/// d = a b^T as `precision` says: by chains of fused multiply-adds (fma_fp32), or by a matrix unit's
/// model, bit for bit.
///
/// a, b  [rows, k]; a matrix unit other than fma_fp32 needs row-major operands (k_stride 1)
/// d     [a.rows, b.rows], written
/// Throws UsageError where the unit does not take the operands.
void multiply(const Executor& execute, const CastOperand& a, const CastOperand& b, const GemmPrecision& precision,
              bool bf16_output, Matrix& d);

/// Whether products of this precision run on chains of fused multiply-adds.
inline bool is_chain(const GemmPrecision& precision) { return precision.accumulator == "fma_fp32"; }

}  // namespace fp8scope::train
