#pragma once

#include <span>

#include "sim/recipe.hpp"

namespace fp8scope {

/// What the elements of a tile become under a codec that is no scaled floating-point format.
///
/// logfmt8, logfmt10 (n bits, the sign among them): with l = log2 |x|, code k >= 1 stands for
///   2^(low + (k - 1) step), step = (high - low) / (2^(n-1) - 2), high = max l,
///   low = max(min l, high - 32); x becomes the nearer of its two neighbours, not the nearer logarithm;
///   0 has a code of its own. Source: arXiv:2505.09343, section 3.2 (LogFMT-nBit); logarithms to any
///   base give the same values.
/// coat_expand: dynamic range expansion of optimizer states: with g = sqrt(max) sqrt(min),
///   k = floor(16 log2(448^2 / 2) / log2(max / min)) / 16, t = (|x| / g)^k, s = (max / g)^k / 448,
///   q = E4M3(t / s); the value is (q s)^(1/k) g. Source: COAT, optimizer kernels.
///
/// Powers in binary64 from stable_math.hpp, values rounded once to binary32. NaN and infinities stay and
/// do not count.
///
/// x, y  [n]
void codec_values(Codec codec, std::span<const float> x, std::span<float> y);

}  // namespace fp8scope
