#include <fmt/format.h>

#include "sim/models.hpp"
#include "src/command.hpp"
#include "src/options.hpp"
#include "src/table.hpp"

namespace fp8scope {
namespace {

std::string result_text(const Result& r) {
  const std::string_view way = r.nearest ? "nearest" : "truncated";
  if (r.max_exponent == rne_f16.max_exponent) return fmt::format("f16 {}", way);
  return r.fraction_bits == 23 ? fmt::format("f32 {}", way) : fmt::format("e8m{} {}", r.fraction_bits, way);
}

/// Numbers that the way of adding does not use are left out.
Table model_table(std::string_view name) {
  Table table("models", "accumulation models");
  auto& names = table.add<std::string>("model", "1", "name of the instruction");
  auto& inputs = table.add<std::string>("inputs", "1", "formats of A and B, any pair");
  auto& sums = table.add<std::string>("sum", "1", "how the products of one step are added");
  auto& terms = table.add<std::string>("terms", "1", "products of one step");
  auto& fractions = table.add<std::string>("F", "1", "fraction bits below the largest exponent");
  auto& floors = table.add<std::string>("floor", "1", "smallest exponent of the alignment");
  auto& results = table.add<std::string>("result", "1", "what a step writes");
  auto& blocks = table.add<std::string>("scales", "1", "format and products of a block of scales");
  auto& evidence = table.add<std::string>("evidence", "1", "what the numbers rest on");
  for (const ModelRow& row : model_rows()) {
    if (!name.empty() && row.name != name) continue;
    const Model& m = row.model;
    const bool ordinary = row.output == "f64" || m.summation >= Summation::exact;
    const bool cuts = !ordinary || m.summation == Summation::lowered;
    names.emplace_back(row.name);
    inputs.emplace_back(row.inputs.empty() ? "any" : row.inputs);
    sums.emplace_back(summation_name(m.summation));
    terms.push_back(m.terms == 0 ? "K" : fmt::format("{}", m.terms));
    fractions.push_back(cuts ? fmt::format("{}", m.fraction_bits) : "");
    const bool cdna3 = m.summation == Summation::cdna3 || m.summation == Summation::cdna3_even_odd;
    floors.push_back(cuts && !cdna3 ? fmt::format("{}", m.floor_exponent) : "");
    results.push_back(row.output == "f64" ? "f64 nearest" : result_text(m.result));
    blocks.push_back(m.scale_block == 0 ? ""
                                        : fmt::format("{} / {}", format_name(m.scale_format), m.scale_block));
    evidence.emplace_back(row.evidence);
  }
  return table;
}

Table option_table() {
  Table table("options", "numbers and choices of a model");
  auto& names = table.add<std::string>("option", "1", "as in NAME:option=value");
  auto& values = table.add<std::string>("values", "1", "what it takes");
  auto& meanings = table.add<std::string>("meaning", "1", "what it changes");
  for (const ModelOption& option : model_options()) {
    names.emplace_back(option.name);
    values.emplace_back(option.values);
    meanings.emplace_back(option.meaning);
  }
  return table;
}

}  // namespace

int run_models(const Args& args) {
  Options options("models", "[NAME]");
  options.flag("options", "what 'NAME:option=value' can change in every model");
  options.flag("md", "as a Markdown table");
  if (!options.parse(args)) return 0;
  const TableStyle style = options.has("md") ? TableStyle::md : TableStyle::text;
  std::string_view name = options.words().empty() ? std::string_view() : options.words().front();
  if (!name.empty()) name = model_called(name);
  fmt::print("{}", print_table(options.has("options") ? option_table() : model_table(name), style));
  return 0;
}

}  // namespace fp8scope
