#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "sim/block.hpp"
#include "sim/recipes/codec.hpp"

namespace fp8scope {

/// A matrix as codes of a codec.
struct CodecCast {
  std::vector<std::uint16_t> codes;   ///< [grid.rows, grid.cols]
  std::vector<CodecTile> tiles;       ///< [grid.blocks()]
  std::vector<float> values;          ///< [grid.rows, grid.cols] what the codes stand for: codec_values()
};

/// Throws DataError, beginning with `where`, at the first element that is not finite: no code stands for it.
///
/// x          [grid.rows, grid.cols]
/// first_row  of the tensor that x is a panel of, for the message
CodecCast codec_cast(Codec codec, const BlockGrid& grid, std::span<const float> x, const std::string& where,
                     std::int64_t first_row = 0);

}  // namespace fp8scope
