#pragma once

#include <vector>

#include "sim/recipes/auto_scale.hpp"
#include "sim/recipes/record.hpp"

namespace fp8scope {

/// Per-tensor scaling with a memory, by the libraries other than Transformer Engine's fused kernel
/// (that is DelayedRecipe). h is the history, newest first.
///
///   te_unfused  cast with S; h[0] = a; m = max(h), NaN propagates, or h[0]; S = P2 as PyTorch evaluates
///               it; always rolls
///   te_jax      the same with S = fl(fl(MAX/m) / 2^margin), never guarded against infinity
///   torchao     the first tensor sets S from its own amax; cast with S; h = roll(h, 1), h[0] = a;
///               S = P10(max(h))
///   msamp       in time, S = P11(a), while fewer than L steps were remembered or L = 1; else with S;
///               then an infinite or NaN a counts as 0 and starts the count again; S = P11(max(h))
///   predicted   s = fl((a0 + lr * t) / MAX), t steps since a0 was measured; again every `interval`
///
/// Sources: TransformerEngine fp8.py, jax/quantize; torchao before d370196; MS-AMP ScalingMeta;
/// arXiv:2511.05811.
class HistoryRecipe final : public Recipe {
 public:
  HistoryRecipe(const Plan& plan, const ScaleRule& rule, const CastRecord& how);

  void step(std::span<const float> amax, std::span<Scales> scales) override;
  std::int64_t amax_age() const override;
  float amax_in_use() const override { return in_use_; }
  std::int64_t frozen_steps() const override { return frozen_; }

  /// Whether take_saturated_share() wants what the cast of each step made.
  bool wants_saturated_share() const { return how_.mu_ratio > 0.0f; }
  /// FP8-LM's automatic scaling, between two steps: share of the codes of the last step whose magnitude is that of MAX.
  /// Every mu_frequency steps mu is halved or grows.
  void take_saturated_share(float share);
  float mu() const { return how_.mu; }

  /// Multiplier of the next step.
  float scale() const { return scale_; }
  /// [L] amaxes, newest first.
  std::vector<float> history() const;

 private:
  struct Entry {
    float amax = 0.0f;
    std::int64_t step = -1;
  };
  Entry chosen() const;
  Scales cast_scales(float amax);
  void remember(float amax);
  void update(float amax, std::int64_t made);
  bool in_time() const;

  ScaleRule rule_;
  CastRecord how_;
  std::vector<Entry> window_;  ///< [L], newest first
  float scale_ = 1.0f;
  float in_use_ = 0.0f;
  std::int64_t made_ = -1;
  std::int64_t steps_ = 0;
  std::int64_t frozen_ = 0;
  std::int64_t counted_ = 0;   ///< msamp: finite steps in a row
  AutoScale auto_scale_;
};

}  // namespace fp8scope
