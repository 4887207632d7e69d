#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "sim/format.hpp"
#include "sim/operand.hpp"
#include "src/hdf5.hpp"

namespace fp8scope {

/// What every recorded group has: words of A, B, C and D as unsigned integers, and attributes a_fmt, b_fmt, c_fmt,
/// d_fmt (f32, f16, bf16, tf32 or a format's name).
struct RecordedWords {
  std::string name, where;
  std::string a_format, b_format, output;  ///< names of formats; output "f32", "f16" or "bf16"
  std::size_t k = 0, scales_per_row = 0;
  std::vector<Operand> a, b;               ///< [rows of A or B, k]
  std::vector<std::uint32_t> scale_a, scale_b;  ///< [rows of A or B, scales_per_row] codes of the unit's block scales
  std::vector<std::uint32_t> c, d;         ///< words
  bool c_used = true;                      ///< false: the unit started from zero

  /// Format of c and d.
  Format output_format() const;
  /// The word that a sum is written as.
  std::uint32_t output_word(float x) const;
};

/// Dot products of a matrix unit, or of a kernel around it, as somebody recorded them: one group of a
/// dump file, with datasets a [n, k], b [n, k], c [n], d [n]. Optional scale_a, scale_b
/// [n, blocks]: integers are codes that the unit applies itself; binary32 numbers are dequantise
/// factors that the kernel applies where it promotes.
struct Dump : RecordedWords {
  std::size_t rows = 0;
  std::vector<std::uint32_t> a_words, b_words;  ///< [rows, k] what a and b were unpacked from
  std::size_t factors_per_row = 0, factor_block = 0;  ///< a factor belongs to factor_block products
  std::vector<float> factor_a, factor_b;        ///< [rows, factors_per_row]
};

/// Throws DataError where datasets or attributes are missing or do not fit each other.
Dump read_dump(const h5::Group& group, const std::string& name);

/// Integers of a dataset.
std::vector<std::uint32_t> read_words(const h5::Group& group, const std::string& name);

/// Name, formats, d and c_used of a group; a and b as their words. Throws DataError for an unknown d_fmt.
struct OperandWords {
  std::vector<std::uint32_t> a, b;
};
OperandWords read_recorded(const h5::Group& group, const std::string& name, RecordedWords& to);

/// Words of a format as a unit reads them.
std::vector<Operand> unpack_words(const std::vector<std::uint32_t>& words, const std::string& format);

/// Whether two result words say the same; NaNs are alike unless `nan_bits`.
bool same_word(const RecordedWords& dump, std::uint32_t a, std::uint32_t b, bool nan_bits);

/// Units in the last place between two finite words of the output; -1 if one is not finite.
std::int64_t ulps_between(const RecordedWords& dump, std::uint32_t a, std::uint32_t b);

}  // namespace fp8scope
