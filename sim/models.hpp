#pragma once

#include <span>
#include <string>
#include <string_view>

#include "sim/accumulator.hpp"

namespace fp8scope {

/// One instruction of one matrix unit, or one yardstick.
struct ModelRow {
  std::string_view name;      ///< of the instruction; several rows share it
  std::string_view inputs;    ///< formats of A and B, any pair of them; "" for every format
  std::string_view output;    ///< "f32", "f16" or "f64": the format of C and D
  Model model;
  std::string_view evidence;  ///< hardware words, models of others, and what rests on one source
};

/// Every accumulation model that has a name. To add one, add a row.
std::span<const ModelRow> model_rows();

/// A name that the words of a GPU go by, and the model that reproduces them.
struct ModelAlias {
  std::string_view name;
  std::string_view model;
};

std::span<const ModelAlias> model_aliases();

/// Whether the row multiplies A and B of these formats. The names are those of parse_format(), or
/// "fp32", "fp64".
bool accepts(const ModelRow& row, std::string_view a, std::string_view b);

/// The row called `name` (or an alias) for these formats and this output.
/// Throws UnknownName if there is no such name, std::invalid_argument if none of its rows fits.
const ModelRow& find_model(std::string_view name, std::string_view a, std::string_view b,
                           std::string_view output = "f32");

/// The model that `text` spells: a name, then options that change it, "name:key=value:key=value".
/// `custom` starts from terms=32:f=25:result=23 toward zero, C inside. Keys:
///
///   terms=N          products of one step; 0 is all of K
///   f=N              fraction bits kept below the largest exponent of a step, 0 .. 40
///   floor=N          smallest exponent of the alignment (D2)
///   result=N         fraction bits of the sum written back, 0 .. 23; or f32, f16, e8m13
///   round=truncate|nearest      of the sum written back
///   cut=truncate|floor|nearest  of each term
///   c=inside|outside            whether C is one more term of the alignment
///   zero_sign=kept|positive     of a result that underflows (D3)
///   zeros=floor|counted         exponent of products with a zero factor (D4)
///   nonfinite_c=dropped|propagated  of CDNA3 FP8 (D5)
///   window=scales|elements          of scaled 4-bit formats (D6)
///
/// Throws as find_model(), and std::invalid_argument for a value out of range.
Model parse_model(std::string_view text, std::string_view a, std::string_view b,
                  std::string_view output = "f32");

/// "terms=32:f=13:result=13:...": the options of `model` that differ from those of `custom`.
std::string model_text(const Model& model);

}  // namespace fp8scope
