#pragma once

#include <cstdint>

#include "sim/philox.hpp"

namespace fp8scope {

/// Uniform in (0, 1): the middle of one of 2^32 equal parts.
inline double uniform01(std::uint32_t bits) { return (static_cast<double>(bits) + 0.5) * 0x1p-32; }

/// ln(x), the same bits on every machine.
double stable_ln(double x);

/// The normal quantile of p in (0, 1), from the four operations, sqrt and stable_ln() alone.
/// Source: Wichura, Algorithm AS 241, Applied Statistics 37 (1988).
double normal_quantile(double p);

/// A stream of its own for each purpose: Philox words by (seed, stream, index), whatever the order.
inline PhiloxWords random_words(std::uint64_t seed, std::uint64_t stream, std::uint64_t index) {
  return philox4x32({{static_cast<std::uint32_t>(index), static_cast<std::uint32_t>(index >> 32),
                      static_cast<std::uint32_t>(stream), static_cast<std::uint32_t>(stream >> 32)}},
                    seed);
}

}  // namespace fp8scope
