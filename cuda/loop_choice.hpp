#pragma once
// Which loop a cast runs on, and on how many threads. The same on every machine.

#include "cuda/engine.hpp"
#include "cuda/team.hpp"
#include "sim/cast_plan.hpp"

namespace fp8scope::cuda {

enum class Loops : std::uint8_t { segments, tiles, columns, tensor };

inline bool is_power_of_two(std::int64_t n) { return n > 0 && (n & (n - 1)) == 0; }

inline Loops choose_loops(const BlockShape& block, const BlockGrid& grid) {
  if (block == BlockShape{}) return Loops::tensor;
  if (one_kernel_transposes(block)) return Loops::columns;
  const bool short_row = is_power_of_two(grid.block_cols) && grid.block_cols >= 16 && grid.block_cols <= 512;
  return grid.block_rows == 1 && short_row ? Loops::segments : Loops::tiles;
}

/// True if the fast loops know the codes; the others are found element by element. A product loses
/// the sign of a NaN, so it must not matter.
inline bool fast_codes(const CastPlan& plan, Apply apply) {
  return apply == Apply::multiply && (plan.vectorised || plan.stochastic) && plan.nan == plan.negative_nan;
}

inline std::uint32_t ceil_div(std::int64_t n, std::int64_t by) { return static_cast<std::uint32_t>((n + by - 1) / by); }

/// At most 65535, the limit of a grid's y.
inline std::uint32_t grid_y(std::int64_t n) { return static_cast<std::uint32_t>(n < 65535 ? n : 65535); }

}  // namespace fp8scope::cuda
