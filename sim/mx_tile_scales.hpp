#pragma once

#include <cstddef>
#include <span>

#include "sim/bits.hpp"

namespace fp8scope {

/// Scales of MXFP8 tiles, e8m0_ceil(fl(amax * fl(1/448)), 254) and its reciprocal, without a branch, so that compilers make
/// vectors of it: for quantize_tiles(). NaN gives NaN for both.
///
/// amax              [tiles]
/// scale, scale_inv  [tiles], written
inline void mx_tile_scales(std::span<const float> amax, std::span<float> scale, std::span<float> scale_inv) {
  const float* a = amax.data();
  float *s = scale.data(), *inverse = scale_inv.data();
  for (std::size_t t = 0; t < amax.size(); ++t) {
    const std::uint32_t bits = float_bits(a[t] * (1.0f / 448.0f));
    const std::uint32_t field = bits >> 23, rest = bits & 0x7fffffu;
    // Up unless it is a power of two, or a subnormal number of at most 2^-127.
    const std::uint32_t up = (rest > (field == 0 ? 0x400000u : 0u) ? 1u : 0u) & (field < 254 ? 1u : 0u);
    const std::uint32_t code = field + up - (field == 255 ? 1u : 0u);
    const std::uint32_t nan = bits > inf_bits ? 0x7fc00000u : 0u;
    const std::uint32_t down = 254u - code;
    s[t] = bits_float((down == 0 ? 0x400000u : down << 23) | nan);
    inverse[t] = bits_float((code == 0 ? 0x400000u : code << 23) | nan);
  }
}

}  // namespace fp8scope
