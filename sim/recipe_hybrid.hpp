#pragma once

#include "sim/recipe.hpp"
#include "sim/recipe_options.hpp"

namespace fp8scope {

/// Element format of Transformer Engine's per-tensor recipes: option format = hybrid (E4M3 forward,
/// E5M2 gradients) or the name of one format for all.
inline Format hybrid_format(const TensorKind& operand, RecipeOptions& options) {
  return options.format("format", operand.role == Role::gradient ? e5m2 : e4m3, "hybrid");
}

}  // namespace fp8scope
