#pragma once

#include <cstdint>
#include <span>

#include "sim/block.hpp"
#include "sim/convert.hpp"
#include "sim/scale.hpp"

namespace fp8scope {

/// Code of one element: all the arithmetic of quantize(), on the CPU and on the GPU. A NaN keeps its
/// sign; a GPU's product would not.
FP8_HD constexpr std::uint32_t quantize_element(const Format& f, float x, float scale,
                                                const CastRule& rule, RandomBits random = {},
                                                Apply apply = Apply::multiply) {
  return encode(f, is_nan(x) ? x : scaled(apply, x, scale), rule, random);
}

/// codes[r, c] = encode(x[r, c] * scale of its block), or x / scale as `apply` says.
///
/// x       [grid.rows, grid.cols]
/// scales  [grid.blocks()]
/// codes   [grid.rows, grid.cols], written
/// seed    of the random bits of a stochastic cast; element i of the tensor draws number first + i
/// Throws std::invalid_argument if a span is shorter than its shape or the format has over 16 bits.
void quantize(const Format& f, const CastRule& rule, const BlockGrid& grid,
              std::span<const float> x, std::span<const Scales> scales,
              std::span<std::uint16_t> codes, std::uint64_t seed = 0, std::uint64_t first = 0,
              Apply apply = Apply::multiply);

/// y[r, c] = decode(code[r, c]) * scale_inv of its block, rounded to binary32.
///
/// codes   [grid.rows, grid.cols]
/// scales  [grid.blocks()]
/// y       [grid.rows, grid.cols], written
/// Throws as quantize().
void dequantize(const Format& f, const BlockGrid& grid, std::span<const std::uint16_t> codes,
                std::span<const Scales> scales, std::span<float> y);

}  // namespace fp8scope
