#include "sim/quantize.hpp"

#include "sim/code_table.hpp"
#include "sim/philox.hpp"
#include "sim/require.hpp"

namespace fp8scope {

void quantize(const Format& f, const CastRule& rule, const BlockGrid& grid,
              std::span<const float> x, std::span<const Scales> scales,
              std::span<std::uint16_t> codes, std::uint64_t seed, std::uint64_t first,
              Apply apply) {
  require(f.bits() <= 16, "quantize: codes have at most 16 bits");
  require(std::ssize(x) >= grid.size(), "quantize: fewer elements than the shape says");
  require(std::ssize(scales) >= grid.blocks(), "quantize: fewer scales than blocks");
  require(std::ssize(codes) >= grid.size(), "quantize: fewer places than elements");
  const bool stochastic = draws_bits(rule.rounding);
  for (std::int64_t r = 0; r < grid.rows; ++r)
    for (std::int64_t c = 0; c < grid.cols; ++c) {
      const std::int64_t i = grid.element(r, c);
      const RandomBits random = stochastic ? random_bits(seed, first + i) : RandomBits{};
      codes[i] = static_cast<std::uint16_t>(
          quantize_element(f, x[i], scales[grid.block(r, c)].scale, rule, random, apply));
    }
}

void dequantize(const Format& f, const BlockGrid& grid, std::span<const std::uint16_t> codes,
                std::span<const Scales> scales, std::span<float> y) {
  require(f.bits() <= 16, "dequantize: codes have at most 16 bits");
  require(std::ssize(codes) >= grid.size(), "dequantize: fewer codes than the shape says");
  require(std::ssize(scales) >= grid.blocks(), "dequantize: fewer scales than blocks");
  require(std::ssize(y) >= grid.size(), "dequantize: fewer places than elements");
  const std::vector<float> value = decode_table(f);
  for (std::int64_t r = 0; r < grid.rows; ++r)
    for (std::int64_t c = 0; c < grid.cols; ++c) {
      const std::int64_t i = grid.element(r, c);
      y[i] = value[codes[i]] * scales[grid.block(r, c)].scale_inv;
    }
}

}  // namespace fp8scope
