#include "sim/recipes/rows.hpp"

namespace fp8scope {

std::span<const RecipeRow> msamp_recipes() { return {}; }

}  // namespace fp8scope
