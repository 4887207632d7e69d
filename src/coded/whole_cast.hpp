#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "sim/tensor_cast.hpp"
#include "src/cast_pass.hpp"

namespace fp8scope {

/// Codes and scales of a whole tensor under one cast.
struct WholeCast {
  Plan plan;
  BlockGrid grid;
  std::vector<std::uint16_t> codes;    ///< [grid.rows, grid.cols]
  std::vector<Scales> scales;          ///< [grid.blocks()]
  std::vector<std::uint32_t> stored;   ///< [grid.blocks()] dequantise factors as the recipe stores them
  std::vector<float> x;                ///< what was cast, where that is not the input but a transform of it; else empty
};

/// Casts x as `cast` says, by the plain code.
///
/// x  [rows, cols]
/// whole_amax  amax of the operand where x is only a part of it, else negative
WholeCast whole_cast(const TensorCast& cast, std::int64_t rows, std::int64_t cols, std::span<const float> x,
                     float whole_amax = -1.0f);

/// The format that stored factors are codes of; binary32 where they are bits.
Format stored_format(const Plan& plan);

}  // namespace fp8scope
