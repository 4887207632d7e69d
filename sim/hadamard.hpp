#pragma once

#include <cstdint>
#include <span>

#include "sim/convert.hpp"

namespace fp8scope {

/// A transform of every 16 elements along the contracted dimension, before the amax: with random signs
/// it spreads outliers. The products of two operands that are both transformed stay the same.
struct Hadamard {
  int size = 0;               ///< 0: none; else 16
  std::uint32_t signs = 0;    ///< bit i set: element i is negated first
  bool round_to_bf16 = true;  ///< the transformed elements are rounded to bfloat16

  friend constexpr bool operator==(const Hadamard&, const Hadamard&) = default;
};

/// Round to nearest even bfloat16, as a binary32; NaN stays a NaN.
FP8_HD constexpr float to_bf16(float x) {
  if (is_nan(x)) return x;
  const std::uint32_t word = float_bits(x);
  return bits_float((word + 0x7fffu + (word >> 16 & 1u)) & 0xffff0000u);
}

/// y = H16 (signs x) / 4 in place, H16 by Sylvester, in binary32: sums of pairs 8 apart, then 4, 2, 1.
/// Source: TransformerEngine hadamard_transform.cu (its matrix unit adds in an order of its own; the one
/// rounding to bfloat16 hides it but for ties).
FP8_HD constexpr void hadamard16(const Hadamard& how, float* x) {
  for (int i = 0; i < 16; ++i)
    if ((how.signs >> i & 1u) != 0) x[i] = -x[i];
  for (int half = 8; half > 0; half /= 2)
    for (int i = 0; i < 16; ++i)
      if ((i & half) == 0) {
        const float a = x[i], b = x[i + half];
        x[i] = a + b;
        x[i + half] = a - b;
      }
  for (int i = 0; i < 16; ++i) x[i] = how.round_to_bf16 ? to_bf16(x[i] * 0.25f) : x[i] * 0.25f;
}

/// What hadamard16() undoes but for its rounding, in binary64: x = signs H16 y / 4.
constexpr void inverse_hadamard16(const Hadamard& how, double* y) {
  for (int half = 8; half > 0; half /= 2)
    for (int i = 0; i < 16; ++i)
      if ((i & half) == 0) {
        const double a = y[i], b = y[i + half];
        y[i] = a + b;
        y[i + half] = a - b;
      }
  for (int i = 0; i < 16; ++i) y[i] = (how.signs >> i & 1u) != 0 ? -0.25 * y[i] : 0.25 * y[i];
}

/// The transform of a matrix, 16 elements of a row at a time, or of a column if `turned`. The vector
/// code gives the same bits.
///
/// x    [rows, cols], the transformed dimension a multiple of 16
/// out  [rows, cols], written
/// Throws std::invalid_argument for other shapes.
void hadamard_scalar(const Hadamard& how, std::int64_t rows, std::int64_t cols, bool turned,
                     std::span<const float> x, std::span<float> out);
void hadamard(const Hadamard& how, std::int64_t rows, std::int64_t cols, bool turned, std::span<const float> x,
              std::span<float> out);

}  // namespace fp8scope
