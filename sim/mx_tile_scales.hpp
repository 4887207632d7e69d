#pragma once

#include <span>

namespace fp8scope {

/// Scales of MXFP8 tiles, e8m0_ceil(fl(amax * fl(1/448)), 254) and its reciprocal, many at a time: for
/// quantize_tiles(). NaN gives NaN for both. Throws std::invalid_argument if the sizes differ.
///
/// amax              [tiles]
/// scale, scale_inv  [tiles], written
void mx_tile_scales(std::span<const float> amax, std::span<float> scale, std::span<float> scale_inv);

}  // namespace fp8scope
