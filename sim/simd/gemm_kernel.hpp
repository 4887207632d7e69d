#pragma once

#include <cstddef>
#include <cstdint>

/// The inner loop of gemm(): steps of truncated sums over packed operands. Private to sim/simd.
///
/// A number is packed as its value (a float, exact), and a byte that orders the exponents: 0 for
/// zero, else 64 and more, so that the sum of two bytes is 128 or more only where the product is not
/// zero. Of formats with wide exponents (and of block scales) each step of a row has a shift: value
/// and byte are those of the number times 2^-shift, so that both fit.
namespace fp8scope::simd {

inline constexpr std::size_t panel_columns = 64;

/// What the kernel needs of a Model.
struct StepNumbers {
  std::size_t terms;        ///< L, padded to a multiple of 4 with zeros
  std::int32_t fraction;    ///< F
  std::int32_t exponent_offset;  ///< byte sum + offset (+ shifts) = biased exponent of the product
  std::int32_t floor;            ///< smallest biased exponent of the alignment
  std::uint32_t result_mask;     ///< bits of a binary32 result that are kept
  bool wide;    ///< the sum of a step needs more than a float
  bool shifted; ///< steps have shifts
  bool half;    ///< the result is binary16
};

/// Biased exponents of the alignment between which the kernel is exact. Lower ones come from sums of
/// nothing but zeros; no number times the scale that lifts it to the quantum overflows.
inline constexpr std::int32_t lowest_exponent = 52, highest_exponent = 227;
/// Smallest sum of two bytes of shifted operands that is exact: smaller ones were clamped.
inline constexpr int clamp_places = 62;

/// Packed steps of some rows of A.
struct PackedRows {
  const float* values;          ///< [steps, rows, terms]
  const std::uint8_t* bytes;    ///< [steps, rows, terms]
  const std::int32_t* shifts;   ///< [steps, rows]
  std::size_t rows;
};

/// Packed steps of 64 columns of D (rows of B).
struct PackedPanel {
  const float* values;          ///< [steps, terms, 64]
  const std::uint8_t* bytes;    ///< [steps, terms / 4, 64, 4]
  const std::int32_t* shifts;   ///< [steps, 64]
};

/// sums[r, j] = the unit's sum after steps [first_step, first_step + steps), started from sums[r, j].
/// NaN where the kernel is not exact: with shifts, where the exponents leave the range above; of
/// binary16 results, where one overflows. Without shifts, the sums must start in that range.
///
/// sums  [rows of `a`, stride], 64 columns each
void run_steps(const StepNumbers& numbers, const PackedRows& a, std::size_t first_row,
               std::size_t rows, const PackedPanel& b, std::size_t first_step, std::size_t steps,
               float* sums, std::size_t stride);

}  // namespace fp8scope::simd
