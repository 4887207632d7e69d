// Microscaling (MX): blocks along the contracted dimension that share an E8M0 scale.
#include "sim/recipe_online.hpp"
#include "sim/recipe_options.hpp"
#include "sim/recipe_rows.hpp"

namespace fp8scope {

std::unique_ptr<Recipe> make_mxfp8(const TensorKind&, RecipeOptions& options) {
  Plan plan;
  plan.format = options.format("format", e4m3);
  plan.storage = ScaleStorage::e8m0;
  plan.whole_blocks = true;
  plan.block = {1, options.integer("block", 32, 1, 1 << 20)};
  const bool floor = options.choice("scale", {"rceil", "floor"}) == 1;
  // Each rule has its home: rceil is NVIDIA's, floor OCP's and torchao's; "specials" crosses them.
  const bool torchao = floor ? options.choice("specials", {"torchao", "te"}) == 0
                             : options.choice("specials", {"te", "torchao"}) == 1;
  plan.amax_rule = torchao ? AmaxRule::propagate_nan : AmaxRule::ignore_nan;
  ScaleRule rule;
  rule.kind = floor ? ScaleRule::Kind::e8m0_floor : ScaleRule::Kind::e8m0_ceil;
  rule.max = plan.format.max_value();
  rule.max_exponent = plan.format.max_exponent();
  rule.infinity_code = torchao ? 255u : 254u;
  return std::make_unique<OnlineRecipe>(plan, rule);
}

}  // namespace fp8scope
