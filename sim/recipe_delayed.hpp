#pragma once

#include <vector>

#include "sim/recipe.hpp"
#include "sim/recipes/record.hpp"

namespace fp8scope {

/// Versions of the fused update.
struct DelayedOptions {
  bool roll_on_zero = false;  ///< before 1.6.0 (PR 825) a zero amax was remembered like any other
  bool guard_tiny = true;     ///< since May 2024 an infinite quotient becomes the largest binary32 number
};

/// Per-tensor scaling from the amaxes of earlier steps, as Transformer Engine's fused update does it.
///
/// A step casts with the scale there is, then remembers its amax a:
///   a != 0: the window holds the newest L amaxes that were not zero, a among them;
///           scale = fl(fl(MAX * 2^-margin) / m), m = max(window), NaN skipped, or a (most_recent);
///   a == 0: nothing moves.
/// The scale stays where m is 0, infinite or NaN. It starts at 1.
/// Source: TransformerEngine delayed_scaling.cu kernel_bulk; no roll on zero since PR 825.
class DelayedRecipe final : public Recipe {
 public:
  DelayedRecipe(const Plan& plan, std::int64_t length, AmaxAlgorithm algorithm, int margin,
                DelayedOptions options = {});

  void step(std::span<const float> amax, std::span<Scales> scales) override;
  std::int64_t amax_age() const override { return made_ < 0 ? -1 : steps_ - made_; }
  float amax_in_use() const override { return in_use_; }
  std::int64_t frozen_steps() const override { return frozen_; }

  AmaxAlgorithm algorithm() const { return algorithm_; }
  const DelayedOptions& options() const { return options_; }
  /// fl(MAX * 2^-margin).
  float max() const { return max_; }

  float scale() const { return scale_; }
  /// [L] as Transformer Engine stores it: 0, then the newest L-1 amaxes, oldest first.
  std::vector<float> history() const;

 private:
  struct Entry {
    float amax = 0.0f;
    std::int64_t step = -1;
  };
  void remember(float amax);
  Entry chosen() const;

  std::vector<Entry> window_;  ///< [L], a ring
  std::size_t newest_ = 0;
  AmaxAlgorithm algorithm_;
  DelayedOptions options_;
  float max_;  ///< fl(MAX * 2^-margin)
  float scale_ = 1.0f;
  float in_use_ = 0.0f;
  std::int64_t made_ = -1;  ///< the step of in_use_
  std::int64_t steps_ = 0;
  std::int64_t frozen_ = 0;
};

}  // namespace fp8scope
