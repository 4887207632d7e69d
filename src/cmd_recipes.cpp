#include <fmt/format.h>

#include "sim/recipe.hpp"
#include "src/command.hpp"
#include "src/options.hpp"
#include "src/table.hpp"

namespace fp8scope {

int run_recipes(const Args& args) {
  Options options("recipes", "");
  options.flag("md", "as a Markdown table");
  if (!options.parse(args)) return 0;
  Table table("recipes", "scaling recipes");
  auto& name = table.add<std::string>("name", "1", "");
  auto& summary = table.add<std::string>("what it does", "1", "");
  auto& keys = table.add<std::string>("options, the first value is the default", "1", "");
  auto& version = table.add<std::string>("behaviour of", "1", "");
  for (const NamedRecipe& row : recipes()) {
    name.emplace_back(row.name);
    summary.emplace_back(row.summary);
    keys.emplace_back(row.options);
    version.emplace_back(row.version);
  }
  fmt::print("{}", print_table(table, options.has("md") ? TableStyle::md : TableStyle::text));
  return 0;
}

}  // namespace fp8scope
