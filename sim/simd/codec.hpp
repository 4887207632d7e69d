#pragma once

#include <span>

#include "sim/recipes/codec.hpp"

namespace fp8scope {

/// codec_values_scalar() of one tile, by the vector instructions in use: the same bits.
///
/// x, y  [n]; may be the same
void codec_values(Codec codec, std::span<const float> x, std::span<float> y);

}  // namespace fp8scope
