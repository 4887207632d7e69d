#pragma once

#include <cstdint>
#include <span>

#include "sim/amax.hpp"
#include "sim/block.hpp"
#include "sim/convert.hpp"
#include "sim/scale.hpp"

namespace fp8scope {

/// codes[i] = encode(f, x[i] * scale, rule): quantize_element() of every element, by the vector
/// instructions in use where the rounding is nearest-even, else by the plain code. Large arrays are
/// written past the caches.
///
/// x      [n]
/// codes  [n], written
/// Throws std::invalid_argument if f has over 8 bits, is a scale format, or codes is shorter than x.
/// Requires a deterministic rounding.
void encode_all(const Format& f, const CastRule& rule, std::span<const float> x, float scale,
                std::span<std::uint8_t> codes);

/// x[i] = decode(f, codes[i]).
///
/// codes  [n], no bits beyond the format's
/// x      [n], written
/// Throws as encode_all().
void decode_all(const Format& f, std::span<const std::uint8_t> codes, std::span<float> x);

/// The online recipes in one pass over memory: the amax of every 1 x width tile, its scales by `rule`,
/// and the codes. The last tile of a row may be shorter.
///
/// x       [rows, cols]
/// codes   [rows, cols], written
/// scales  [rows, ceil(cols / width)], written
/// Throws as encode_all().
void quantize_tiles(const Format& f, const CastRule& cast, const ScaleRule& rule, AmaxRule amax,
                    std::int64_t rows, std::int64_t cols, std::int64_t width,
                    std::span<const float> x, std::span<std::uint8_t> codes,
                    std::span<Scales> scales);

/// What limits a cast: reads x and writes one byte for every element past the caches, with as little
/// arithmetic as can be (the top byte of each). For measurements.
void copy_top_bytes(std::span<const float> x, std::span<std::uint8_t> bytes);

}  // namespace fp8scope
