#pragma once

#include <cstddef>
#include <cstdint>

#include "sim/bits.hpp"

namespace fp8scope {

/// The magnitude of a pattern; any NaN is the quiet one.
constexpr float from_magnitude(std::uint32_t bits) { return bits_float(bits > inf_bits ? 0x7fc00000u : bits); }

/// column_max[c] = max over the rows of the bits of |x[r, c]|. As integers: a NaN is above infinity.
///
/// x           [rows, cols]
/// column_max  [cols], written
void column_magnitudes(const float* x, std::size_t rows, std::size_t cols,
                       std::uint32_t* column_max);

/// segment_max[k] = max of magnitudes[k * width .. (k + 1) * width), the last one maybe shorter.
///
/// magnitudes   [n]
/// segment_max  [ceil(n / width)], written
void segment_magnitudes(const std::uint32_t* magnitudes, std::size_t n, std::size_t width,
                        std::uint32_t* segment_max);

/// to[i] = max(to[i], from[i])
///
/// from, to  [n]
void raise_magnitudes(const std::uint32_t* from, std::size_t n, std::uint32_t* to);

}  // namespace fp8scope
