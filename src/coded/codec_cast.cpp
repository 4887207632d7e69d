#include "src/coded/codec_cast.hpp"

#include <fmt/format.h>
#include <tbb/parallel_for.h>

#include <algorithm>

#include "sim/simd/codec.hpp"
#include "src/errors.hpp"

namespace fp8scope {

CodecCast codec_cast(Codec codec, const BlockGrid& grid, std::span<const float> x, const std::string& where,
                     std::int64_t first_row) {
  const auto bad = std::ranges::find_if_not(x, is_finite);
  if (bad != x.end()) {
    const std::int64_t i = bad - x.begin();
    throw DataError(fmt::format("{}: element [{}, {}] is {}: {} has no code for it; replace it first (replay counts such "
                                "elements and leaves them out)",
                                where, first_row + i / grid.cols, i % grid.cols, *bad, codec_row(codec).name));
  }
  CodecCast out;
  out.codes.resize(x.size());
  out.tiles.resize(static_cast<std::size_t>(grid.blocks()));
  out.values.resize(x.size());
  tbb::parallel_for(std::int64_t{0}, grid.down(), [&](std::int64_t d) {
    const std::int64_t top = d * grid.block_rows, bottom = std::min(top + grid.block_rows, grid.rows);
    const auto at = static_cast<std::size_t>(top * grid.cols), size = static_cast<std::size_t>((bottom - top) * grid.cols);
    codec_matrix(codec, BlockGrid(bottom - top, grid.cols, {grid.block_rows, grid.block_cols}), x.subspan(at, size),
                 std::span(out.values).subspan(at, size));
    for (std::int64_t k = 0; k < grid.across(); ++k) {
      std::vector<float> tile;
      const std::int64_t left = k * grid.block_cols, right = std::min(left + grid.block_cols, grid.cols);
      for (std::int64_t r = top; r < bottom; ++r)
        tile.insert(tile.end(), x.begin() + grid.element(r, left), x.begin() + grid.element(r, left) + (right - left));
      const CodecRange range = codec_range_scalar(tile);
      const CodecTile numbers = codec_tile(codec, range.smallest, range.largest);
      out.tiles[static_cast<std::size_t>(d * grid.across() + k)] = numbers;
      for (std::int64_t r = top; r < bottom; ++r)
        for (std::int64_t c = left; c < right; ++c)
          out.codes[static_cast<std::size_t>(grid.element(r, c))] =
              static_cast<std::uint16_t>(codec_encode(codec, numbers, x[static_cast<std::size_t>(grid.element(r, c))]));
    }
  });
  return out;
}

}  // namespace fp8scope
