#include "sim/recipes/history.hpp"

#include <algorithm>

#include "sim/require.hpp"

namespace fp8scope {

HistoryRecipe::HistoryRecipe(const Plan& plan, const ScaleRule& rule, const CastRecord& how)
    : Recipe(plan), rule_(rule), how_(how), window_(static_cast<std::size_t>(how.length)),
      auto_scale_({"", how.mu_ratio, static_cast<int>(how.mu_window), static_cast<int>(how.mu_frequency)}, how.mu) {}

void HistoryRecipe::take_saturated_share(float share) {
  if (wants_saturated_share() && steps_ % how_.mu_frequency == 0) how_.mu = auto_scale_.update(share);
}

bool HistoryRecipe::in_time() const {
  if (how_.history == HistoryKind::torchao) return steps_ == 0;
  if (how_.history == HistoryKind::predicted) return steps_ % how_.interval == 0;
  return how_.history == HistoryKind::msamp && (how_.length == 1 || counted_ < how_.length);
}

std::int64_t HistoryRecipe::amax_age() const {
  if (in_time()) return 0;
  return made_ < 0 ? -1 : steps_ - made_;
}

void HistoryRecipe::step(std::span<const float> amax, std::span<Scales> scales) {
  require(amax.size() == 1 && scales.size() == 1, "HistoryRecipe::step: one amax, one scale");
  scales[0] = cast_scales(amax[0]);
  remember(amax[0]);
}

Scales HistoryRecipe::cast_scales(float amax) {
  if (how_.history == HistoryKind::predicted) {
    if (in_time()) in_use_ = amax, made_ = steps_;
    const float grown = in_use_ + how_.learning_rate * static_cast<float>(steps_ - made_);
    const Scales scales = block_scales(rule_, grown);
    scale_ = scales.scale;
    return scales;
  }
  if (in_time()) update(amax, steps_);
  if (how_.history == HistoryKind::torchao && steps_ == 0) window_[0] = {amax, 0};  // remembered twice
  return {scale_, 1.0f / scale_};
}

void HistoryRecipe::update(float amax, std::int64_t made) {
  switch (how_.history) {
    case HistoryKind::te_unfused:
      scale_ = delayed_scale_unfused(amax, scale_, rule_.max, static_cast<int>(how_.margin), how_.guard_tiny);
      break;
    case HistoryKind::te_jax:
      if (is_finite(amax) && amax > 0.0f) scale_ = rule_.max / amax / pow2(static_cast<int>(how_.margin));
      break;
    case HistoryKind::torchao: scale_ = torchao_scale(amax, rule_.max, rule_.pow2); break;
    default: scale_ = msamp_scale(amax, scale_, rule_.max, static_cast<int>(how_.margin), how_.mu); break;
  }
  if (is_finite(amax) && amax > 0.0f) in_use_ = amax, made_ = made;
}

void HistoryRecipe::remember(float amax) {
  const std::int64_t step = steps_;
  if (how_.history == HistoryKind::predicted) {
    ++steps_;
    return;
  }
  if (how_.history == HistoryKind::msamp) {
    if (!is_finite(amax)) amax = 0.0f, counted_ = 0;
    else ++counted_;
  }
  std::shift_right(window_.begin(), window_.end(), 1);
  window_[0] = {amax, step};
  const Entry entry = chosen();
  frozen_ = is_finite(entry.amax) && entry.amax > 0.0f ? 0 : frozen_ + 1;
  update(entry.amax, entry.step);
  ++steps_;
}

HistoryRecipe::Entry HistoryRecipe::chosen() const {
  if (how_.algorithm == AmaxAlgorithm::most_recent) return window_[0];
  Entry largest = window_[0];
  for (const Entry& entry : window_) {  // torch.max: a NaN wins
    if (is_nan(entry.amax)) return entry;
    if (entry.amax > largest.amax) largest = entry;
  }
  return largest;
}

std::vector<float> HistoryRecipe::history() const {
  std::vector<float> amaxes;
  for (const Entry& entry : window_) amaxes.push_back(entry.amax);
  return amaxes;
}

}  // namespace fp8scope
