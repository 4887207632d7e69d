#pragma once

#include "sim/recipe.hpp"

namespace fp8scope {

/// Scales of this step from the amaxes of this step, every block on its own: scales = rule(amax). With a
/// factor of the tensor, the largest of the amaxes is that of the tensor.
class OnlineRecipe final : public Recipe {
 public:
  OnlineRecipe(const Plan& plan, const ScaleRule& rule) : Recipe(plan), rule_(rule) {}

  void step(std::span<const float> amax, std::span<Scales> scales) override;
  const ScaleRule* block_rule() const override { return &rule_; }

 private:
  ScaleRule rule_;
};

}  // namespace fp8scope
