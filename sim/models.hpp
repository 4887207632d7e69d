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

/// `name`, or the model that it is an alias of. Throws UnknownName listing the names there are.
std::string_view model_called(std::string_view name);

/// Whether the row multiplies A and B of these formats. The names are those of parse_format(), or
/// "fp32", "fp64".
bool accepts(const ModelRow& row, std::string_view a, std::string_view b);

/// The row called `name` (or an alias) for these formats and this output.
/// Throws UnknownName if there is no such name, std::invalid_argument if none of its rows fits.
const ModelRow& find_model(std::string_view name, std::string_view a, std::string_view b,
                           std::string_view output = "f32");

/// A number or a choice of a model that the command line can change.
struct ModelOption {
  std::string_view name, values, meaning;
  void (*apply)(Model&, std::string_view value);
};

std::span<const ModelOption> model_options();

/// "aligned", "grouped", "fma", ...: how the row of the specification calls it in brackets.
std::string_view summation_name(Summation summation);

/// The model that `text` spells: a name, then options that change it, "name:key=value:key=value".
/// `custom` starts from the numbers of Model{}. The keys are those of model_options().
///
/// Throws as find_model(), and std::invalid_argument for a value out of range.
Model parse_model(std::string_view text, std::string_view a, std::string_view b,
                  std::string_view output = "f32");

/// "terms=32:f=13:result=13:...": the options of `model` that differ from those of `custom`.
std::string model_text(const Model& model);

}  // namespace fp8scope
