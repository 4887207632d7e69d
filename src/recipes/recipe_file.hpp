#pragma once

#include <string>
#include <string_view>

#include "sim/recipes/record.hpp"

namespace fp8scope {

/// The recipe of a TOML file: keys of recipe_fields() in tables of their sections, [[override]] and
/// [[option]]. `name` stands for the file in messages and is the recipe's name unless the file says.
///
/// Throws UsageError "FILE:LINE:COLUMN: what is wrong; what is near".
RecipeRecord parse_recipe(std::string_view toml, const std::string& name);

/// The recipe of a file. Throws as parse_recipe(), and IoError.
RecipeRecord read_recipe_file(const std::string& path);

/// TOML that parse_recipe() reads as the same record. Keys that have their default are left out.
std::string recipe_toml(const RecipeRecord& record);

}  // namespace fp8scope
