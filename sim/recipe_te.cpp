// Transformer Engine's online recipes: Float8CurrentScaling and Float8BlockScaling.
#include "sim/recipe_hybrid.hpp"
#include "sim/recipe_online.hpp"
#include "sim/recipe_options.hpp"
#include "sim/recipe_rows.hpp"

namespace fp8scope {

std::unique_ptr<Recipe> make_te_current(const TensorKind& operand, RecipeOptions& options) {
  Plan plan;
  plan.format = hybrid_format(operand, options);
  ScaleRule rule;
  rule.max = plan.format.max_value();
  rule.pow2 = options.choice("pow2", {"0", "1"}) == 1;
  rule.floor = options.real("amax_epsilon", 0.0f);
  return std::make_unique<OnlineRecipe>(plan, rule);
}

std::unique_ptr<Recipe> make_te_block(const TensorKind& operand, RecipeOptions& options) {
  Plan plan;
  plan.format = options.format("format", e4m3);
  plan.order = ScaleOrder::first_a;  // cuBLAS
  const bool weight = operand.role == Role::weight;
  plan.block = options.block("block", weight ? BlockShape{128, 128} : BlockShape{1, 128});
  ScaleRule rule;
  rule.max = plan.format.max_value();
  rule.pow2 = options.choice("scales", {"pow2", "fp32"}) == 0;
  rule.floor = options.real("amax_epsilon", 0.0f);
  rule.big = operand.input.max_value();  // the kernel takes the limit of its input type
  return std::make_unique<OnlineRecipe>(plan, rule);
}

}  // namespace fp8scope
