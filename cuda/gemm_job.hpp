#pragma once

#include "cuda/team.hpp"
#include "sim/block.hpp"
#include "sim/fused_step.hpp"
#include "sim/scale_order.hpp"

/// What the loops of the GEMM emulation are told.
namespace fp8scope::cuda {

/// Products of K that operands are padded to: no unit decodes more of them at a time.
inline constexpr int stage = 64;

/// One operand. Rows are padded with zero codes to a multiple of the tile, K to a multiple of the stage.
struct EmulatedOperand {
  const std::uint8_t* codes;       ///< [padded rows, stride]
  const std::uint8_t* special;     ///< [padded rows] 1 where a row or its block scales hold NaN or infinity
  const float* scale_inv;          ///< [grid.blocks()]
  const std::uint8_t* unit_scales; ///< [padded rows, unit_stride] codes of units with block scales, else nullptr
  std::int64_t stride;             ///< bytes from row to row
  std::int64_t unit_stride;
  BlockGrid grid{0, 0, {}};
  std::int64_t blocks_across;      ///< grid.across()
  fused::NarrowFormat narrow;
  Format format;
};

/// Scale of an element. A matrix has fewer than 2^31 rows and columns: divisions of 64 bits are calls.
FP8_HD inline float operand_scale(const EmulatedOperand& x, std::int64_t row, std::int64_t k) {
  const auto down = static_cast<std::uint32_t>(row) / static_cast<std::uint32_t>(x.grid.block_rows);
  const auto across = static_cast<std::uint32_t>(k) / static_cast<std::uint32_t>(x.grid.block_cols);
  return x.scale_inv[static_cast<std::int64_t>(down) * x.blocks_across + across];
}

/// Scale of an element inside the unit. Requires unit_scales.
FP8_HD inline Operand unit_scale(const EmulatedOperand& x, const Model& model, std::int64_t row, std::int64_t k) {
  const std::uint32_t block = static_cast<std::uint32_t>(k) / static_cast<std::uint32_t>(model.scale_block);
  return unpack_scale(model.scale_format, x.unit_scales[row * x.unit_stride + block]);
}

/// The part [k_begin, k_end) of a product.
struct EmulatedJob {
  EmulatedOperand a, b;
  Model model;
  std::int64_t m, n, k_begin, k_end, promote;
  ScaleOrder order;
  bool scaled;   ///< promotion applies the operands' scales
  float* out;    ///< [m, n]
};

/// Code k + i of a row; a part of K may end within a stage: what follows belongs to the next part.
FP8_HD inline std::uint32_t code_within(const EmulatedJob& job, const std::uint8_t* codes, std::int64_t k, int i) {
  return k + i < job.k_end ? codes[k + i] : 0u;
}

}  // namespace fp8scope::cuda
