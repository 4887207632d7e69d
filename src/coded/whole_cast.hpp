#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "src/cast_pass.hpp"

namespace fp8scope {

/// Codes and scales of a whole tensor under one cast.
struct WholeCast {
  Plan plan;
  BlockGrid grid;
  std::vector<std::uint16_t> codes;   ///< [grid.rows, grid.cols]
  std::vector<Scales> scales;         ///< [grid.blocks()]
};

/// Casts x as `cast` says.
///
/// x  [rows, cols]
/// whole_amax  amax of the operand where x is only a part of it, else negative
/// Throws DataError as CastPass::require_whole_blocks().
WholeCast whole_cast(const TensorCast& cast, std::int64_t rows, std::int64_t cols, std::span<const float> x,
                     float whole_amax = -1.0f);

/// Dequantise factor of a block as the recipe stores it: E8M0 byte or binary32 bits.
std::uint32_t stored_scale(const Plan& plan, const Scales& scales);

}  // namespace fp8scope
