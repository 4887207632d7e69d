#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include "sim/bits.hpp"
#include "sim/block.hpp"

namespace fp8scope {

/// What a NaN among the elements does to their largest magnitude.
enum class AmaxRule : std::uint8_t {
  ignore_nan,     ///< fmaxf: the largest of the others, 0 if there are none (CUDA kernels)
  propagate_nan,  ///< torch.amax: NaN
};

inline std::string_view amax_rule_name(AmaxRule rule) {
  return rule == AmaxRule::ignore_nan ? "ignore NaN" : "propagate NaN";
}

/// The larger of an amax so far and |x|, as an integer comparison of bit patterns: magnitudes order
/// like their bits and every NaN lies above infinity, so `propagate_nan` is a plain maximum.
FP8_HD constexpr std::uint32_t larger_magnitude(AmaxRule rule, std::uint32_t so_far, float x) {
  const std::uint32_t magnitude = float_bits(x) & magnitude_bits;
  if (rule == AmaxRule::ignore_nan && magnitude > inf_bits) return so_far;
  return magnitude > so_far ? magnitude : so_far;
}

/// max |x|; a NaN result is the default quiet NaN.
float amax(AmaxRule rule, std::span<const float> x);

/// amax[block] = max |x| over the block.
///
/// x     [grid.rows, grid.cols]
/// amax  [grid.blocks()], written
/// Throws std::invalid_argument if a span is shorter than its shape.
void block_amax(AmaxRule rule, const BlockGrid& grid, std::span<const float> x,
                std::span<float> amax);

}  // namespace fp8scope
