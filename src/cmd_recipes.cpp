#include <fmt/format.h>

#include "sim/names.hpp"
#include "sim/recipes/record.hpp"
#include "src/command.hpp"
#include "src/errors.hpp"
#include "src/options.hpp"
#include "src/recipes/recipe_docs.hpp"
#include "src/recipes/recipe_file.hpp"
#include "src/table.hpp"

namespace fp8scope {
namespace {

Table recipe_table() {
  Table table("recipes", "scaling recipes");
  auto& name = table.add<std::string>("name", "1", "");
  auto& summary = table.add<std::string>("what it does", "1", "");
  auto& keys = table.add<std::string>("options, the first value is the default", "1", "");
  auto& version = table.add<std::string>("behaviour of", "1", "");
  auto& evidence = table.add<std::string>("evidence", "1", "");
  for (const NamedRecipe& row : recipes()) {
    name.emplace_back(row.name);
    summary.emplace_back(row.summary);
    keys.emplace_back(row.options);
    version.emplace_back(row.version);
    evidence.emplace_back(row.evidence);
  }
  return table;
}

Table key_table() {
  Table table("keys", "keys of a recipe");
  auto& key = table.add<std::string>("key", "1", "");
  auto& value = table.add<std::string>("default", "1", "");
  auto& values = table.add<std::string>("values", "1", "");
  auto& help = table.add<std::string>("what it is", "1", "");
  for (const RecipeField& field : recipe_fields()) {
    key.emplace_back(field.key);
    value.push_back(field.get({}));
    values.push_back(field_values(field));
    help.emplace_back(field.help);
  }
  return table;
}

/// Everything about one recipe: its record, then how each operand is cast where that differs.
std::string describe(const std::string& spec) {
  const std::string_view name = recipe_name(spec);
  const RecipeRecord& record = find_recipe(name);
  const std::string options = spec.size() > name.size() ? spec.substr(name.size() + 1) : "";
  std::string out = fmt::format("{}: {}\nbehaviour of  {}\nevidence      {}: {}\nsource        {}\noptions       {}\n\n",
                                record.name, record.summary, record.version, record.evidence,
                                by_name(recipe_evidence, record.evidence, "evidence").meaning, record.source,
                                describe_options(record));
  return out + print_table(operand_table(record, options), TableStyle::text);
}

}  // namespace

int run_recipes(const Args& args) {
  Options options("recipes", "[NAME]");
  options.flag("md", "as a Markdown table");
  options.flag("toml", "NAME as a recipe file: change it, and use its path where a recipe is asked for");
  options.flag("keys", "the keys of recipe files, which options may also set: NAME:tile.shape=1x64");
  options.flag("docs", "notebooks-data/docs/recipes.md, which is generated");
  if (!options.parse(args)) return 0;
  const TableStyle style = options.has("md") ? TableStyle::md : TableStyle::text;
  if (options.has("docs")) {
    fmt::print("{}", recipe_docs());
  } else if (options.has("keys")) {
    fmt::print("{}", print_table(key_table(), style));
  } else if (options.words().empty()) {
    if (options.has("toml")) throw UsageError("recipes --toml: which recipe? 'fp8scope recipes' lists them");
    fmt::print("{}", print_table(recipe_table(), style));
  } else if (options.has("toml")) {
    fmt::print("{}", recipe_toml(find_recipe(options.words()[0])));
  } else {
    fmt::print("{}", describe(options.words()[0]));
  }
  return 0;
}

}  // namespace fp8scope
