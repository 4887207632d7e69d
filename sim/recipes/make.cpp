// From the resolved cast of an operand to the object that chooses its scales.
#include "sim/recipes/make.hpp"

#include "sim/recipe_delayed.hpp"
#include "sim/recipe_online.hpp"
#include "sim/recipes/history.hpp"

namespace fp8scope {

ScaleRule rule_of(const CastRecord& cast, const TensorKind& operand) {
  ScaleRule rule;
  rule.kind = cast.rule;
  rule.quotient = cast.quotient;
  rule.multiplier = cast.multiplier;
  rule.pow2 = cast.pow2;
  rule.max = cast.max > 0.0f ? cast.max : cast.format.max_value();
  rule.floor = cast.floor;
  rule.add_floor = cast.add_floor;
  rule.scale_floor = cast.scale_floor;
  if (cast.big == Big::input) rule.big = operand.input.max_value();
  if (cast.big == Big::infinity) rule.big = bits_float(inf_bits);
  rule.zero_for_infinity = cast.zero_for_infinity;
  rule.max_exponent = cast.format.max_exponent();
  rule.mantissa_bits = cast.format.mantissa_bits;
  rule.exponent_limit = (1 << (cast.exponent_bits - 1)) - 1;
  rule.infinity_code = static_cast<std::uint32_t>(cast.infinity_code);
  rule.old_reciprocal = cast.old_reciprocal;
  rule.flush_subnormal = cast.flush_subnormal;
  rule.bf16_store = cast.store == ScaleStorage::bf16;
  rule.unit_tensor_factor = cast.rule == ScaleRule::Kind::nvfp4_torchao && cast.scope == Scope::none;
  rule.old_order = cast.old_order;
  rule.bf16_multiplier = cast.bf16_multiplier;
  rule.block_max = cast.block_max;
  return rule;
}

Plan plan_of(const CastRecord& cast) {
  Plan plan;
  plan.format = cast.format;
  plan.cast.rounding = cast.rounding;
  plan.cast.overflow = cast.overflow;
  plan.cast.zero = cast.zero;
  plan.cast.nan = cast.element_nan;
  plan.block = cast.tile;
  plan.amax_rule = cast.nan;
  plan.storage = cast.store;
  plan.order = cast.order;
  plan.whole_blocks = cast.whole_tiles;
  plan.delayed = cast.history != HistoryKind::none;
  plan.apply = cast.multiplier == ScaleRule::Multiplier::divisor ? Apply::divide : Apply::multiply;
  plan.scope = cast.scope;
  plan.select = cast.select;
  plan.codec = cast.codec;
  plan.hadamard = cast.hadamard.size > 0 ? cast.hadamard : Hadamard{};
  return plan;
}

std::unique_ptr<Recipe> make_recipe(const CastRecord& cast, const TensorKind& operand) {
  const Plan plan = plan_of(cast);
  const ScaleRule rule = rule_of(cast, operand);
  if (cast.history == HistoryKind::none) return std::make_unique<OnlineRecipe>(plan, rule);
  if (cast.history == HistoryKind::te_fused)
    return std::make_unique<DelayedRecipe>(plan, cast.length, cast.algorithm, static_cast<int>(cast.margin),
                                           DelayedOptions{cast.roll_on_zero, cast.guard_tiny});
  return std::make_unique<HistoryRecipe>(plan, rule, cast);
}

}  // namespace fp8scope
