#pragma once

#include <memory>

#include "sim/recipes/record.hpp"

namespace fp8scope {

/// The rule that turns the amax of a tile into its scales.
ScaleRule rule_of(const CastRecord& cast, const TensorKind& operand);

/// What of a cast does not change from step to step.
Plan plan_of(const CastRecord& cast);

/// The recipe of one operand; requires check_cast().
std::unique_ptr<Recipe> make_recipe(const CastRecord& cast, const TensorKind& operand);

}  // namespace fp8scope
