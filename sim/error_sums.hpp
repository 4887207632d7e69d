#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include "sim/convert.hpp"
#include "sim/format.hpp"

namespace fp8scope {

/// Sums run in 16 lanes, element i of a row in lane i % 16, added at the end by halves: lane i takes
/// lane i + 8, then i + 4, i + 2, i + 1. Every vector width can do that in the same order, so the
/// bits of a sum depend on nothing but the row.
inline constexpr std::size_t sum_lanes = 16;

/// The tree that ends a sum over lanes.
double add_lanes(std::array<double, sum_lanes> lanes);

/// What the cast of a row is measured with.
struct CastLimits {
  float max = 448.0f;         ///< MAX of the element format
  float clip = 464.0f;        ///< |x * scale| above this saturates: not even rounding leads to MAX
  float min_normal = 0.0f;    ///< smallest normal element value
  float bulk = 0.0f;          ///< |x| above this belongs to the top 0.1 % of the tensor
  std::uint32_t magic = 0;    ///< binary32 field offset that rounds to the mantissa: (23-m) << 23
  bool by_magic = true;       ///< the element value is found by rounding in binary32
  Rounding rounding = Rounding::nearest_even;  ///< by_magic: nearest (three kinds) or toward zero
  bool divide = false;        ///< x / scale instead of x * scale
};

/// The limits of a format; `bulk` as above. `by_magic` where a saturating cast to nearest or toward zero
/// equals rounding in binary32 arithmetic: the exponent fits.
CastLimits cast_limits(const Format& f, const CastRule& rule, float bulk, bool divide = false);

/// One row of a tensor on its way through a cast.
struct CastRow {
  const float* x;          ///< [n]
  const float* scale;      ///< [n] multiplier of each element's block, or divisor
  const float* scale_inv;  ///< [n] dequantise factor of each element's block
  const float* value;      ///< [n] decoded code of each element; unused if limits.by_magic
  std::size_t n;
};

/// What the cast of some rows lost. With y = fl(value * scale_inv) and e = fl(x - y), over the
/// elements whose x and y are finite:
struct ErrorSums {
  double noise_bulk = 0.0;    ///< sum e^2, |x| <= bulk
  double noise_top = 0.0;     ///< sum e^2, |x| > bulk
  double error = 0.0;         ///< sum e
  double cross = 0.0;         ///< sum x e
  double clipped_loss = 0.0;  ///< sum |x| - |y|, clipped elements
  float max_abs = 0.0f;       ///< max |e|
  float max_rel = 0.0f;       ///< max |e| / |x|, x != 0
  std::uint64_t underflow = 0;  ///< x != 0, value = 0
  std::uint64_t overflow = 0;   ///< |x| > fl(MAX * scale_inv): Transformer Engine's count
  std::uint64_t clipped = 0;    ///< |fl(x * scale)| > limits.clip: saturation changed the value
  std::uint64_t subnormal = 0;  ///< 0 < |value| < min_normal
  std::uint64_t lost = 0;       ///< x finite, y or fl(x * scale) not: not in any sum above

  double noise() const { return noise_bulk + noise_top; }
  /// Adds `other`, which comes after this one.
  void merge(const ErrorSums& other);
};

/// The sums of one row, in plain C++. The vector kernels give the same bits.
ErrorSums error_sums_scalar(const CastLimits& limits, const CastRow& row);

/// What a tensor is, whatever recipe follows. Over its finite elements:
struct MomentSums {
  double absolute = 0.0;  ///< sum |x|
  double power1 = 0.0, power2 = 0.0, power3 = 0.0, power4 = 0.0;  ///< sum x^k
  std::uint64_t finite = 0, zeros = 0, nans = 0, infs = 0;
  std::uint32_t smallest = inf_bits;  ///< pattern of min |x| over x != 0; that of infinity where there is none

  void merge(const MomentSums& other);
};

/// The sums of one row, in plain C++. The vector kernels give the same bits.
MomentSums moment_sums_scalar(std::span<const float> x);

/// Sum of x^2 over the elements with |x| <= bulk, in lanes as above.
double bulk_power_scalar(std::span<const float> x, float bulk);

}  // namespace fp8scope
