#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "sim/scale.hpp"

namespace fp8scope {

/// What Transformer Engine keeps of one tensor under delayed scaling, in its own layout, so that a checkpoint can
/// be loaded into it: slot 0 is being written, slot 1 is the oldest, slot L-1 the newest.
struct DelayedState {
  float scale = 1.0f;
  std::vector<float> history;  ///< [L], zeros at first

  friend bool operator==(const DelayedState&, const DelayedState&) = default;
};

/// How a state is updated.
struct DelayedRule {
  bool fused = true;         ///< the kernel; else the update in Python
  bool roll_on_zero = false; ///< fused: also roll where nothing was recorded (TE's kernel for one tensor; all before PR 825,
                             ///< version 1.6)
  bool most_recent = false;  ///< the newest amax, not the largest
  float max = 448.0f;        ///< MAX of the element format
  int margin = 0;

  friend bool operator==(const DelayedRule&, const DelayedRule&) = default;
};

/// A cast: slot 0 keeps the larger amax by their bits, so that a NaN would win (the kernel's atomicMax; its
/// amaxes hold no NaN).
void record_amax(DelayedState& state, float amax);

/// What update() did.
struct DelayedUpdate {
  bool rolled = false;   ///< the history moved
  bool usable = false;   ///< the amax chosen was finite and positive: the scale was computed from it
  float chosen = 0.0f;   ///< that amax
};

/// The update at the end of a forward or backward pass.
///
/// fused:    last = slot 0; where it is not 0 (or roll_on_zero): h[i] = h[i+1], h[L-1] = last, h[0] = 0,
///           a = fmax over the history, or last; else a = 0.
///           scale = delayed_scale(a, scale, fl(MAX 2^-margin)).
/// unfused:  a = max(h), NaN propagates, or h[0]; then rolls, always; scale = fl(fl(fl(1/a) MAX) / 2^margin) where
///           a is finite and positive, infinity becoming the largest number.
/// Source: TransformerEngine delayed_scaling.cu kernel_bulk; fp8.py _default_get_amax_and_update_history,
/// _default_sf_compute.
DelayedUpdate update(DelayedState& state, const DelayedRule& rule);

/// The history with another length: shorter keeps the first slots, longer pads zeros at the end.
void resize_history(DelayedState& state, std::size_t length);

}  // namespace fp8scope
