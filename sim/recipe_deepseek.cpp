// DeepSeek-V3's fine-grained scaling, as DeepGEMM casts.
#include "sim/recipe_online.hpp"
#include "sim/recipe_options.hpp"
#include "sim/recipe_rows.hpp"

namespace fp8scope {

std::unique_ptr<Recipe> make_dsv3(const TensorKind& operand, RecipeOptions& options) {
  Plan plan;
  plan.format = options.format("format", e4m3);
  plan.amax_rule = AmaxRule::propagate_nan;
  const bool weight = operand.role == Role::weight;
  plan.block = options.block("block", weight ? BlockShape{128, 128} : BlockShape{1, 128});
  ScaleRule rule;
  rule.kind = ScaleRule::Kind::deepseek;
  rule.max = plan.format.max_value();
  rule.floor = options.real("amax_floor", 1e-4f);
  rule.pow2 = options.choice("scales", {"fp32", "ue8m0"}) == 1;
  if (rule.pow2) plan.storage = ScaleStorage::e8m0;
  return std::make_unique<OnlineRecipe>(plan, rule);
}

}  // namespace fp8scope
