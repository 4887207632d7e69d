#pragma once

#include <limits>

#include "sim/bits.hpp"

namespace fp8scope {

/// log2(x), within 2 units in the last place, from the four operations of IEEE 754 alone: the same
/// bits on every machine, which no libm promises. NaN for x < 0 or NaN, -inf for 0.
constexpr double stable_log2(double x) {
  if (!(x >= 0.0)) return std::numeric_limits<double>::quiet_NaN();
  if (x == 0.0) return -std::numeric_limits<double>::infinity();
  if (x > std::numeric_limits<double>::max()) return x;
  int exponent = 0;
  if (x < std::numeric_limits<double>::min()) x *= 0x1p64, exponent -= 64;
  const auto word = bit_cast<std::uint64_t>(x);
  exponent += static_cast<int>(word >> 52) - 1023;
  double m = bit_cast<double>((word & 0xfffffffffffffULL) | 0x3ff0000000000000ULL);
  if (m > 1.4142135623730951) m *= 0.5, ++exponent;
  // ln m = 2 atanh(f), |f| < 0.172: thirteen terms leave less than 2^-70.
  const double f = (m - 1.0) / (m + 1.0), square = f * f;
  double sum = 0.0;
  for (int k = 25; k >= 1; k -= 2) sum = sum * square + 1.0 / k;
  return static_cast<double>(exponent) + 2.0 * f * sum * 1.4426950408889634;
}

/// 10 log10(x), with the same promise.
constexpr double decibels(double x) { return stable_log2(x) * 3.0102999566398120; }

}  // namespace fp8scope
