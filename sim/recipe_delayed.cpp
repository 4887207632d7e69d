#include "sim/recipe_delayed.hpp"

#include "sim/recipe_hybrid.hpp"
#include "sim/recipe_options.hpp"
#include "sim/recipe_rows.hpp"
#include "sim/require.hpp"

namespace fp8scope {

DelayedRecipe::DelayedRecipe(const Plan& plan, std::int64_t length, AmaxAlgorithm algorithm,
                             int margin)
    : Recipe(plan), window_(length), algorithm_(algorithm),
      max_(plan.format.max_value() * pow2(-margin)) {}

void DelayedRecipe::step(std::span<const float> amax, std::span<Scales> scales) {
  require(amax.size() == 1 && scales.size() == 1, "DelayedRecipe::step: one amax, one scale");
  scales[0] = {scale_, 1.0f / scale_};  // the past decides; only then is this step remembered
  remember(amax[0]);
}

void DelayedRecipe::remember(float amax) {
  const std::int64_t step = steps_++;
  ++frozen_;
  if (amax == 0.0f) return;
  newest_ = (newest_ + 1) % window_.size();
  window_[newest_] = {amax, step};
  const Entry entry = chosen();
  const bool usable = is_finite(entry.amax) && entry.amax > 0.0f;
  scale_ = delayed_scale(entry.amax, scale_, max_);
  if (usable) in_use_ = entry.amax, made_ = entry.step, frozen_ = 0;
}

DelayedRecipe::Entry DelayedRecipe::chosen() const {
  if (algorithm_ == AmaxAlgorithm::most_recent) return window_[newest_];
  Entry largest;
  for (const Entry& entry : window_)  // a NaN compares false: skipped, as fmaxf skips it
    if (entry.amax > largest.amax || (entry.amax == largest.amax && entry.step > largest.step))
      largest = entry;
  return largest;
}

std::vector<float> DelayedRecipe::history() const {
  std::vector<float> slots(window_.size(), 0.0f);
  for (std::size_t back = 0; back + 1 < slots.size(); ++back)
    slots[slots.size() - 1 - back] =
        window_[(newest_ + window_.size() - back) % window_.size()].amax;
  return slots;
}

std::unique_ptr<Recipe> make_te_delayed(const TensorKind& operand, RecipeOptions& options) {
  Plan plan;
  plan.format = hybrid_format(operand, options);
  plan.delayed = true;
  const std::int64_t length = options.integer("amax_history_len", 1024, 1, 1 << 20);
  const auto algorithm =
      static_cast<AmaxAlgorithm>(options.choice("amax_compute_algo", {"max", "most_recent"}));
  const auto margin = static_cast<int>(options.integer("margin", 0, 0, 100));
  return std::make_unique<DelayedRecipe>(plan, length, algorithm, margin);
}

}  // namespace fp8scope
