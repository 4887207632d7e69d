#pragma once

#include <cstdint>
#include <map>
#include <string_view>

#include "src/coded/coded_tensor.hpp"

namespace fp8scope {

/// How codes under row tiles become codes under column tiles, for the transposed use of a tensor.
enum class TransposeRule : std::uint8_t {
  requantise,     ///< decode, take fresh scales, cast again: two roundings
  exact_shift,    ///< power-of-two factors: value * 2^-k rounded once, k = exponent of the column's largest factor - own
  exponent_only,  ///< the exponent field is lowered by k, at least to 0, and the mantissa kept: wrong below the normals
};

struct NamedTransposeRule {
  std::string_view name;
  TransposeRule rule;
  std::string_view summary;
};
inline constexpr NamedTransposeRule transpose_rules[] = {
    {"requantise", TransposeRule::requantise, "fresh scales, a second rounding"},
    {"exact_shift", TransposeRule::exact_shift, "power-of-two factors: shift, rounded once"},
    {"exponent_only", TransposeRule::exponent_only, "FP8-Flow-MoE on exponent bits, as a third-party port clamps it"},
};

/// How binary32 factors become powers of two.
enum class ScaleRounding : std::uint8_t { up, down, nearest };

struct NamedScaleRounding {
  std::string_view name;
  ScaleRounding rounding;
};
inline constexpr NamedScaleRounding scale_roundings[] = {
    {"up", ScaleRounding::up}, {"down", ScaleRounding::down}, {"nearest", ScaleRounding::nearest}};

/// s as a power of two between 2^-127 and 2^127 (an E8M0 number); nearest rounds the exponent's half up.
float to_power_of_two(float s, ScaleRounding rounding);

/// Code of value * 2^-shift, rounded to nearest even once; shift >= 0. A NaN code stays.
std::uint32_t exact_shift(const Format& f, std::uint32_t code, int shift);
/// The code with its exponent field lowered by `shift`, at least to 0, its mantissa kept. A NaN or infinity stays.
std::uint32_t exponent_only_shift(const Format& f, std::uint32_t code, int shift);

/// The tensor under tiles of [n, 1] instead of [1, n], by exact_shift or exponent_only.
///
/// Throws DataError if the tiles are no rows or a factor is no power of two.
CodedTensor transpose_by_shift(const CodedTensor& t, TransposeRule rule);

/// The tensor with its factors rounded to powers of two (E8M0). Codes stay, or are cast again from the decoded
/// values: code = encode(fl(value * fl(1/factor))).
CodedTensor rewrite_scales(const CodedTensor& t, ScaleRounding rounding, bool requantise);

/// E2M1 codes under E8M0 factors of 1x32 as E4M3 codes under E8M0 factors of larger blocks: exactly the same values where the
/// factors of a block lie within 2^11 of each other, else some are rounded. Source: TileKernels per_block_cast_lossless.
///
/// within  set to whether every block's factors lie that near
/// Throws DataError for other codes or factors, UsageError for columns of the block that are no multiple of 32.
CodedTensor lossless_e4m3(const CodedTensor& t, const BlockShape& block, bool& within);

/// What became of a block that holds something.
struct RewriteCheck {
  std::uint64_t elements = 0;
  std::uint64_t same = 0;     ///< decoded values equal
  std::uint64_t rounded = 0;  ///< the new code is the nearest to the old value: one more rounding
  std::uint64_t wrong = 0;    ///< neither
  std::uint64_t flushed = 0;  ///< of those rounded or wrong: the new value is 0, the old was not
  std::uint64_t saturated = 0;///< of those wrong: the new code is MAX, the old value lies beyond
  std::uint64_t codes_changed = 0;
  std::uint64_t blocks = 0, blocks_wrong = 0, blocks_zero = 0;
  std::uint64_t blocks_scaled = 0;         ///< of the wrong: every value is off by one and the same factor
  double factor_low = 0.0, factor_high = 0.0;  ///< of those
  std::int64_t first_wrong = -1;           ///< element
  double power = 0.0, noise = 0.0;         ///< sum y^2 of the old values, sum (y' - y)^2: the second rounding

  /// Whether the codes and factors still describe the same tensor, up to one rounding.
  bool describes_the_same() const { return wrong == 0; }
};

/// Whether `after` describes the tensor that `before` does. Blocks are those of `after`.
/// Throws DataError if the shapes differ.
RewriteCheck check_rewrite(const CodedTensor& before, const CodedTensor& after);

/// Decoded value of element i, exact in binary64: value(code) * factor.
double decoded(const CodedTensor& t, std::int64_t i);

}  // namespace fp8scope
