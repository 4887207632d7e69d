#pragma once

#include <memory>

#include "sim/recipe.hpp"

namespace fp8scope {

// The makers of the rows of recipe.cpp.
std::unique_ptr<Recipe> make_te_delayed(const TensorKind&, RecipeOptions&);
std::unique_ptr<Recipe> make_te_current(const TensorKind&, RecipeOptions&);
std::unique_ptr<Recipe> make_te_block(const TensorKind&, RecipeOptions&);
std::unique_ptr<Recipe> make_dsv3(const TensorKind&, RecipeOptions&);
std::unique_ptr<Recipe> make_mxfp8(const TensorKind&, RecipeOptions&);

}  // namespace fp8scope
