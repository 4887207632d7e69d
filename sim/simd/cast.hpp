#pragma once

#include <cstdint>
#include <functional>
#include <span>

#include "sim/amax.hpp"
#include "sim/convert.hpp"
#include "sim/simd/isa.hpp"

namespace fp8scope {

// Vectorised conversions. Each equals encode() or decode() of sim/convert.hpp bit for bit on every
// ISA. All throw std::invalid_argument on spans that do not fit or an ISA that is not there, and
// std::runtime_error if the CPU flushes subnormals or does not round to nearest: results would not
// be those of IEEE 754.

/// How codes go to memory.
enum class Stores {
  automatic,  ///< streaming from 2^20 elements on, if aligned
  cached,
  streaming,  ///< past the caches; where the codes are not 64-byte aligned, cached
};

/// How a vectorised function runs; changes its speed only.
struct Run {
  Isa isa = Isa::automatic;  ///< automatic: those of set_isa()
  Stores stores = Stores::automatic;
};

/// codes[i] = encode(f, x[i], rule), for a format of at most 8 bits.
///
/// x      [n]
/// codes  [n], written
/// Vectorised for nearest-even and formats with a sign whose values are not near the ends of
/// binary32; the rest runs the scalar code. Rounding::stochastic throws: it needs random bits.
void encode_span(const Format& f, const CastRule& rule, std::span<const float> x,
                 std::span<std::uint8_t> codes, Run run = {});

/// codes[i] = encode(f, x[i] * scale, rule), the product rounded to binary32. A NaN scale gives
/// the code of a positive NaN.
///
/// x      [n]
/// codes  [n], written
void encode_scaled(const Format& f, const CastRule& rule, std::span<const float> x, float scale,
                   std::span<std::uint8_t> codes, Run run = {});

/// codes[i] = encode(f, x[i] * scale[i / tile], rule).
///
/// x      [n]
/// tile   elements that share one scale, at least 1; the last tile may be short
/// scale  [ceil(n / tile)], multipliers
/// codes  [n], written
void encode_tiles(const Format& f, const CastRule& rule, std::span<const float> x,
                  std::int64_t tile, std::span<const float> scale, std::span<std::uint8_t> codes,
                  Run run = {});

/// Largest |x|; 0 if there is none. A propagated NaN is 0x7fc00000.
float amax_span(std::span<const float> x, AmaxRule amax_rule, Isa isa = Isa::automatic);

/// amax[t] = largest |x| of tile t.
///
/// x     [n]
/// amax  [ceil(n / tile)], written
void tile_amax(std::span<const float> x, std::int64_t tile, AmaxRule amax_rule,
               std::span<float> amax, Isa isa = Isa::automatic);

/// Scales of a run of tiles from their amaxes; called with tiles in order, some dozens at a time.
///
/// amax       [tiles]
/// scale      [tiles], written, multipliers: the code stored is that of x * scale
/// scale_inv  [tiles], written, what decoded values are multiplied by
using TileScales = std::function<void(std::span<const float> amax, std::span<float> scale,
                                      std::span<float> scale_inv)>;

/// Amax, scale and cast of every tile in one pass over memory:
/// codes[i] = encode(f, x[i] * scale[i / tile], rule).
///
/// x          [n]
/// tile       elements that share one scale, at least 1; the last tile may be short
/// scale      [ceil(n / tile)], written by `scales`
/// scale_inv  [ceil(n / tile)], written by `scales`
/// codes      [n], written
void quantize_tiles(const Format& f, const CastRule& rule, std::span<const float> x,
                    std::int64_t tile, AmaxRule amax_rule, const TileScales& scales,
                    std::span<float> scale, std::span<float> scale_inv,
                    std::span<std::uint8_t> codes, Run run = {});

/// out[i] = table[codes[i]].
///
/// table  [256], decode_table() of an 8-bit format; a shorter table holds every code that occurs
/// codes  [n]
/// out    [n], written
void decode_span(std::span<const float> table, std::span<const std::uint8_t> codes,
                 std::span<float> out, Isa isa = Isa::automatic);

/// codes[i] = low byte of x[i], by streaming stores: what memory allows a cast at best, the
/// ceiling of the benches. Requires 64-byte aligned codes.
void read4_write1(std::span<const float> x, std::span<std::uint8_t> codes, bool prefetch,
                  Isa isa = Isa::automatic);

}  // namespace fp8scope
