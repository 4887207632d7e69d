#pragma once

#include <cstddef>
#include <cstdint>

#include "sim/format.hpp"

/// The inner loops of gemm(): steps of truncated sums over packed operands. Private to sim/simd.
///
/// An exponent is packed as a byte: 0 for a zero, else 64 and more, so that the sum of two bytes is
/// 128 or more only where the product is not zero. Of formats with wide exponents (and of block
/// scales) each step of a row has a shift: value and byte are those of the number times 2^-shift.
namespace fp8scope::simd {

inline constexpr std::size_t panel_columns = 64;

/// How operands are packed. Records are arrays of 32-bit words.
enum class Layout : std::uint8_t {
  /// Row: values (float) [terms], bytes [terms], one shift.
  /// Panel: values [terms, 64], bytes [terms / 4, 64, 4], shifts [64].
  floats,
  /// Significands and signs are 16-bit, two to a 32-bit word: of each four k, 0 and 2 or 1 and 3.
  /// Row: significands [2, terms / 4, 2], signs (0 or -2) [2, terms / 4, 2], bytes [terms].
  /// Panel: for each four k: bytes [64, 4], significands [2, 64, 2], signs (+1 or -1) [2, 64, 2].
  words,
};

/// What a kernel needs of a Model.
struct StepNumbers {
  Layout layout;
  std::size_t terms;             ///< L, padded to a multiple of 4 with zeros
  std::int32_t fraction;         ///< F
  std::int32_t exponent_offset;  ///< byte sum + offset (+ shifts) = biased exponent of the product
  std::int32_t floor;            ///< smallest biased exponent of the alignment
  int c_exponent;                ///< without shifts: exponent of the smallest C that is exact
  std::uint32_t result_mask;     ///< bits of a binary32 result that are kept
  bool wide;                     ///< the sum of a step needs more than a float
  bool shifted;                  ///< steps have shifts
  bool half;                     ///< the result is binary16

  std::size_t row_words() const {
    return layout == Layout::floats ? terms + terms / 4 + 1 : terms + terms / 4;
  }
  std::size_t panel_words() const {
    return panel_columns * (layout == Layout::floats ? terms + terms / 4 + 1 : terms + terms / 4);
  }
};

/// Biased exponents of the alignment between which a kernel is exact. Lower ones come from sums of
/// nothing but zeros; no number times the scale that lifts it to the quantum overflows.
inline constexpr std::int32_t lowest_exponent = 52, highest_exponent = 227;
/// Packed exponents reach that far below the largest of their step; smaller ones are clamped.
inline constexpr int clamp_places = 62;

/// One block of sums: some rows of A against the 64 columns of a panel, over some steps.
struct StepBlock {
  const std::uint32_t* a;   ///< record of the first row in the first step
  std::size_t a_step;       ///< words from a row's record to its next step's
  const std::uint32_t* b;   ///< record of the panel's first step; aligned to 64 bytes
  std::size_t rows, steps;
  float* sums;              ///< [rows, stride], 64 columns each; aligned to 64 bytes
  std::size_t stride;
};

/// sums[r, j] = the unit's sum after the steps, started from sums[r, j].
/// NaN where the kernel is not exact: with shifts, where the exponents leave the range above; of
/// binary16 results, where one overflows. Without shifts, the sums must start in that range.
void run_float_steps(const StepNumbers& numbers, const StepBlock& block);

/// The same on Layout::words, for F <= 13, steps of 16 or 32, binary32 results, no shifts.
void run_word_steps(const StepNumbers& numbers, const StepBlock& block);

/// Whether this processor and this build have run_word_steps().
bool has_word_steps();

/// totals[r, j] = totals[r, j] + sums[r, j], to nearest even, for the first `columns`; sums = 0.
///
/// sums    [rows, 64], aligned to 64 bytes
/// totals  [rows, stride]
void add_sums(float* sums, std::size_t rows, std::size_t columns, float* totals, std::size_t stride);

/// Packs `count` codes of one row as steps of Layout::words, significands times 2^lift. What the last
/// step lacks is zero. Returns false if a number is not finite; the records are then of no use.
///
/// record  one every `record_step` words, written
bool pack_word_row(const Format& format, int lift, std::size_t terms, const std::uint8_t* codes,
                   std::size_t count, std::uint32_t* record, std::size_t record_step);

/// Packs one whole step of up to 64 rows, `stride` codes apart, as a panel of Layout::words.
///
/// record  [panel_words], written
bool pack_word_panel(const Format& format, int lift, std::size_t terms, const std::uint8_t* codes,
                     std::size_t stride, std::size_t columns, std::uint32_t* record);

}  // namespace fp8scope::simd
