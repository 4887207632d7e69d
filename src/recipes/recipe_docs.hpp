#pragma once

#include <string>

#include "sim/recipes/record.hpp"
#include "src/table.hpp"

namespace fp8scope {

/// The words or the range a key takes, as its setter would say.
std::string field_values(const RecipeField& field);

/// Every key that is not the default for some operand, by operand.
Table operand_table(const RecipeRecord& record, const std::string& options);

/// notebooks-data/docs/recipes.md: recipe, version, evidence, options; the keys; each recipe's record.
std::string recipe_docs();

}  // namespace fp8scope
