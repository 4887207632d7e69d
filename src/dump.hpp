#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "sim/accumulator.hpp"
#include "sim/format.hpp"
#include "sim/operand.hpp"
#include "src/hdf5.hpp"

namespace fp8scope {

/// Dot products of a matrix unit as somebody recorded them: one group of a dump file, with datasets
/// a [n, k], b [n, k], c [n], d [n], optionally scale_a, scale_b [n, k / block], and attributes a_fmt,
/// b_fmt, c_fmt, d_fmt (f32, f16, bf16, tf32 or a format's name); words as unsigned integers.
struct Dump {
  std::string name, where;
  std::string a_format, b_format, output;  ///< names of formats; output "f32" or "f16"
  std::size_t rows = 0, k = 0, scales_per_row = 0;
  std::vector<Operand> a, b;               ///< [rows, k]
  std::vector<std::uint32_t> scale_a, scale_b;  ///< [rows, scales_per_row] codes
  std::vector<std::uint32_t> c, d;         ///< [rows] words
  bool c_used = true;                      ///< false: the unit started from zero
};

/// Throws DataError where datasets or attributes are missing or do not fit each other.
Dump read_dump(const h5::Group& group, const std::string& name);

/// A way to compute a dump's results.
struct DumpModel {
  std::string name;            ///< of the model
  Model model;
  std::size_t promote = 0;     ///< N_C; 0: never
  /// "hopper_wgmma", or "hopper_wgmma promoted every 128".
  std::string text() const;
};

/// d as the model computes it.  [rows] words
std::vector<std::uint32_t> recompute(const Dump& dump, const DumpModel& model);

/// Whether two result words say the same; NaNs are alike unless `nan_bits`.
bool same_word(const Dump& dump, std::uint32_t a, std::uint32_t b, bool nan_bits);

/// Units in the last place between two finite words of the output; -1 if one is not finite.
std::int64_t ulps_between(const Dump& dump, std::uint32_t a, std::uint32_t b);

/// The longest name of a model that `group` begins with; "" if there is none.
std::string model_named_by(const std::string& group);

/// Every model of the table that multiplies these formats, alone and with every promotion interval
/// below K, by which the whole dump comes out. Rows that fail early are given up early.
std::vector<DumpModel> models_that_fit(const Dump& dump, bool nan_bits);

}  // namespace fp8scope
