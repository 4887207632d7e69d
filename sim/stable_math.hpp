#pragma once

#include <limits>

#include "sim/bits.hpp"

// Logarithm and power of two from the four operations of IEEE 754 alone: the same bits on every
// machine, which no libm promises.
namespace fp8scope {

/// log2(x), within 2 units in the last place. NaN for x < 0 or NaN, -inf for 0.
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

/// 2^x, within 4 units in the last place; 0 below -1000, infinity from 1000 on. NaN for NaN.
constexpr double stable_exp2(double x) {
  if (!(x < 1000.0)) return x >= 1000.0 ? std::numeric_limits<double>::infinity() : x;
  if (x < -1000.0) return 0.0;
  int whole = static_cast<int>(x);
  if (x - whole > 0.5) ++whole;
  if (x - whole < -0.5) --whole;
  // e^t, |t| < 0.347: sixteen terms leave less than 2^-68.
  const double t = (x - whole) * 0.6931471805599453;
  double sum = 1.0;
  for (int k = 16; k >= 1; --k) sum = sum * t / k + 1.0;
  return sum * bit_cast<double>(static_cast<std::uint64_t>(whole + 1023) << 52);
}

}  // namespace fp8scope
