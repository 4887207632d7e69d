#pragma once

#include <span>

#include "sim/block.hpp"
#include "sim/recipes/codec.hpp"

namespace fp8scope {

/// codec_values_scalar() of one tile, by the vector instructions in use: the same bits.
///
/// x, y  [n]; may be the same
void codec_values(Codec codec, std::span<const float> x, std::span<float> y);

/// codec_values() of every tile of a matrix; how the elements of a tile are ordered does not matter.
///
/// x, y  [grid.rows, grid.cols]; not the same
void codec_matrix(Codec codec, const BlockGrid& grid, std::span<const float> x, std::span<float> y);

}  // namespace fp8scope
