#include "sim/recipes/lossless.hpp"

#include <algorithm>

#include "sim/block.hpp"
#include "sim/convert.hpp"
#include "sim/require.hpp"

namespace fp8scope {

LosslessCodes e2m1_to_e4m3(std::span<const std::uint16_t> codes, std::span<const std::uint8_t> scales, std::int64_t rows,
                           std::int64_t cols, std::int64_t block_rows, std::int64_t block_cols) {
  constexpr Format e2m1{2, 1, 1, Specials::finite};
  const BlockGrid small(rows, cols, {1, 32}), large(rows, cols, {block_rows, block_cols});
  require(block_cols % 32 == 0, "e2m1_to_e4m3: blocks are multiples of 32 columns");
  require(std::ssize(codes) >= small.size() && std::ssize(scales) >= small.blocks(),
          "e2m1_to_e4m3: fewer codes or scales than the shape says");
  LosslessCodes out;
  out.codes.resize(static_cast<std::size_t>(small.size()));
  out.scales.assign(static_cast<std::size_t>(large.blocks()), 0);
  for (std::int64_t r = 0; r < rows; ++r)
    for (std::int64_t c = 0; c < cols; c += 32) {
      std::uint8_t& scale = out.scales[static_cast<std::size_t>(large.block(r, c))];
      const int lowered = std::max(0, scales[static_cast<std::size_t>(small.block(r, c))] - 6);
      scale = std::max(scale, static_cast<std::uint8_t>(lowered));
    }
  for (std::int64_t r = 0; r < rows; ++r)
    for (std::int64_t c = 0; c < cols; ++c) {
      const int from = scales[static_cast<std::size_t>(small.block(r, c))];
      const int to = out.scales[static_cast<std::size_t>(large.block(r, c))];
      out.exact = out.exact && from + 5 >= to;
      const float value = decode(e2m1, codes[static_cast<std::size_t>(small.element(r, c))]);
      // At most 2^6 up; far down the result is zero whatever the exponent.
      const float moved = value * pow2(std::max(from - to, -126));
      out.codes[static_cast<std::size_t>(small.element(r, c))] = static_cast<std::uint8_t>(encode(e4m3, moved));
    }
  return out;
}

}  // namespace fp8scope
