#pragma once

#include <cmath>
#include <string_view>

namespace fp8scope {

/// When FP8-LM's automatic scaling halves its factor. Both are in use: the threshold was 1e-5 on
/// 8 December 2023 and 1e-3 from 12 December on.
struct AutoScalePreset {
  std::string_view name;
  float ratio;      ///< share of saturated codes above which mu is halved
  int window;       ///< updates without one that double it
  int frequency;    ///< steps between updates
};

inline constexpr AutoScalePreset auto_scale_presets[] = {
    {"r1e-5_w1000", 1e-5f, 1000, 1},
    {"r1e-3_w100", 1e-3f, 100, 10},
};

/// FP8-LM's automatic scaling: a factor mu of the scale of weight gradients, from the share of codes that
/// saturated after the all-reduce. share > ratio: mu/2; else mu * fl(2^(1/window)).
/// For an amax above MAX the scale is a reciprocal, and lowering mu raises it: see msamp_scale().
/// Source: MS-AMP pull request 140; MS-AMP-Examples pull request 21.
class AutoScale {
 public:
  /// mu before the first update
  AutoScale(const AutoScalePreset& preset, float mu)
      : preset_(preset), mu_(mu), growth_(static_cast<float>(std::exp2(1.0 / preset.window))) {}

  /// Where MS-AMP starts when `world` ranks sum: fl(1/sqrt(world)).
  static float start(int world) { return static_cast<float>(1.0 / std::sqrt(static_cast<double>(world))); }

  /// Takes the share of codes whose magnitude is that of MAX; returns the new mu.
  float update(float saturated_share) {
    mu_ = saturated_share > preset_.ratio ? mu_ / 2.0f : mu_ * growth_;
    return mu_;
  }
  float mu() const { return mu_; }

 private:
  AutoScalePreset preset_;
  float mu_, growth_;
};

}  // namespace fp8scope
