#include <fmt/format.h>

#include "sim/models.hpp"
#include "src/command.hpp"
#include "src/options.hpp"
#include "src/table.hpp"

namespace fp8scope {

int run_models(const Args& args) {
  Options options("models", "");
  options.flag("md", "as a Markdown table");
  if (!options.parse(args)) return 0;
  Table table("models", "accumulation models");
  auto& name = table.add<std::string>("name", "1", "");
  auto& inputs = table.add<std::string>("inputs", "1", "");
  auto& output = table.add<std::string>("output", "1", "");
  auto& numbers = table.add<std::string>("numbers", "1", "");
  auto& evidence = table.add<std::string>("evidence", "1", "");
  for (const ModelRow& row : model_rows()) {
    name.emplace_back(row.name);
    inputs.emplace_back(row.inputs.empty() ? "any" : row.inputs);
    output.emplace_back(row.output);
    numbers.push_back(model_text(row.model));
    evidence.emplace_back(row.evidence);
  }
  fmt::print("{}", print_table(table, options.has("md") ? TableStyle::md : TableStyle::text));
  return 0;
}

}  // namespace fp8scope
