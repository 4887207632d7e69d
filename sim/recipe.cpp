#include "sim/recipe.hpp"

#include <deque>
#include <map>
#include <mutex>

#include "sim/names.hpp"
#include "sim/recipes/make.hpp"
#include "sim/recipes/rows.hpp"

namespace fp8scope {
namespace {

/// Records of the rows, and the names that point into them.
struct Book {
  std::deque<RecipeRecord> records;
  std::deque<std::string> options;
  std::vector<NamedRecipe> names;

  Book() {
    for (const auto rows : {te_recipes(), deepseek_recipes(), torchao_recipes(), mx_recipes(), inference_recipes(),
                            msamp_recipes(), other_recipes()})
      for (const RecipeRow& row : rows) {
        const RecipeRecord& record = records.emplace_back(record_of(row));
        const std::string& described = options.emplace_back(describe_options(record));
        names.push_back({record.name, record.version, record.summary, described, record.evidence, &record});
      }
  }
};

const Book& book() {
  static const Book all;
  return all;
}

RecipeRecord (*file_reader)(const std::string& path) = nullptr;

/// Files are read once.
const RecipeRecord& record_of_file(const std::string& path) {
  static std::mutex lock;
  static std::map<std::string, RecipeRecord> read;
  const std::lock_guard guard(lock);
  const auto found = read.find(path);
  return found != read.end() ? found->second : read.emplace(path, file_reader(path)).first->second;
}

}  // namespace

std::span<const NamedRecipe> recipes() { return book().names; }

std::string_view recipe_name(std::string_view spec) {
  const std::size_t file = spec.find(".toml");
  return spec.substr(0, spec.find(':', file == std::string_view::npos ? 0 : file));
}

const RecipeRecord& find_recipe(std::string_view name) {
  if (file_reader && name.ends_with(".toml")) return record_of_file(std::string(name));
  return *by_name(recipes(), name, "recipe").record;
}

void read_recipe_files_with(RecipeRecord (*reader)(const std::string& path)) { file_reader = reader; }

std::unique_ptr<Recipe> make_recipe(std::string_view spec, const TensorKind& operand) {
  const std::string_view name = recipe_name(spec);
  const RecipeRecord& record = find_recipe(name);
  try {
    const std::string_view options = spec.substr(std::min(name.size() + 1, spec.size()));
    return make_recipe(resolve(record, operand, options), operand);
  } catch (const UnknownName& error) {
    throw UnknownName("recipe '" + std::string(spec) + "': " + error.what());
  } catch (const std::invalid_argument& error) {
    throw std::invalid_argument("recipe '" + std::string(spec) + "': " + error.what());
  }
}

}  // namespace fp8scope
