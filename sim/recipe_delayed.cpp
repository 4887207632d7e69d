#include "sim/recipe_delayed.hpp"

#include "sim/require.hpp"

namespace fp8scope {

DelayedRecipe::DelayedRecipe(const Plan& plan, std::int64_t length, AmaxAlgorithm algorithm,
                             int margin, DelayedOptions options)
    : Recipe(plan), window_(length), algorithm_(algorithm), options_(options),
      max_(plan.format.max_value() * pow2(-margin)) {}

void DelayedRecipe::step(std::span<const float> amax, std::span<Scales> scales) {
  require(amax.size() == 1 && scales.size() == 1, "DelayedRecipe::step: one amax, one scale");
  scales[0] = {scale_, 1.0f / scale_};  // the past decides; only then is this step remembered
  remember(amax[0]);
}

void DelayedRecipe::remember(float amax) {
  const std::int64_t step = steps_++;
  ++frozen_;
  if (amax == 0.0f && !options_.roll_on_zero) return;
  newest_ = (newest_ + 1) % window_.size();
  window_[newest_] = {amax, step};
  const Entry entry = chosen();
  const bool usable = is_finite(entry.amax) && entry.amax > 0.0f;
  scale_ = delayed_scale(entry.amax, scale_, max_, options_.guard_tiny ? float_max : bits_float(inf_bits));
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

}  // namespace fp8scope
