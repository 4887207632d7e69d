#include "sim/amax.hpp"

#include <algorithm>
#include <vector>

#include "sim/require.hpp"

namespace fp8scope {
namespace {

float from_magnitude(std::uint32_t magnitude) {
  return bits_float(magnitude > inf_bits ? 0x7fc00000u : magnitude);
}

}  // namespace

float amax(AmaxRule rule, std::span<const float> x) {
  std::uint32_t largest = 0;
  for (const float value : x) largest = larger_magnitude(rule, largest, value);
  return from_magnitude(largest);
}

void block_amax(AmaxRule rule, const BlockGrid& grid, std::span<const float> x,
                std::span<float> amax) {
  require(std::ssize(x) >= grid.size(), "block_amax: fewer elements than the shape says");
  require(std::ssize(amax) >= grid.blocks(), "block_amax: fewer places than blocks");
  std::vector<std::uint32_t> largest(grid.blocks(), 0);
  for (std::int64_t r = 0; r < grid.rows; ++r)
    for (std::int64_t c = 0; c < grid.cols; ++c) {
      std::uint32_t& place = largest[grid.block(r, c)];
      place = larger_magnitude(rule, place, x[grid.element(r, c)]);
    }
  std::ranges::transform(largest, amax.begin(), from_magnitude);
}

}  // namespace fp8scope
