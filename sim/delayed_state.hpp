#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "sim/scale.hpp"

namespace fp8scope {

/// What remembers earlier steps.
enum class HistoryKind : std::uint8_t {
  none,
  te_fused,    ///< Transformer Engine's kernel
  te_unfused,  ///< its Python update
  te_jax,      ///< its JAX variant
  torchao,     ///< torchao's delayed scaling, removed in February 2025
  msamp,       ///< MS-AMP's window, with an in-time start
  predicted,   ///< MOSS' weights: the amax grows by the learning rate, measured now and then
};

/// What a library keeps of one tensor under delayed scaling, in its own layout, so that a checkpoint can be loaded
/// into it. Transformer Engine: slot 0 is being written, slot 1 is the oldest, slot L-1 the newest. MS-AMP: slot 0 is
/// being written, the others newest first. torchao: newest first, and what is being written is beside it.
struct DelayedState {
  float scale = 1.0f;
  std::vector<float> history;  ///< [L], zeros at first
  float pending = 0.0f;        ///< torchao: the amax of the last cast; MAX of the format before the first
  std::int64_t counted = 0;    ///< msamp: updates since the last amax that was no number
  bool started = false;        ///< torchao: the first cast has set the scale

  friend bool operator==(const DelayedState&, const DelayedState&) = default;
};

/// How a state is updated.
struct DelayedRule {
  HistoryKind kind = HistoryKind::te_fused;  ///< any but none and predicted
  bool roll_on_zero = false; ///< te_fused: also roll where nothing was recorded (TE's kernel for one tensor, non-bulk; all
                             ///< before PR 825, version 1.6)
  bool most_recent = false;  ///< Transformer Engine: the newest amax, not the largest
  float max = 448.0f;        ///< MAX of the element format
  int margin = 0;
  float mu = 1.0f;           ///< msamp: multiplies the scale (FP8-LM)

  friend bool operator==(const DelayedRule&, const DelayedRule&) = default;
};

/// A cast of Transformer Engine: slot 0 keeps the larger amax by their bits, so that a NaN would win (the kernel's
/// atomicMax; its amaxes hold no NaN).
void record_amax(DelayedState& state, float amax);

/// What update() did.
struct DelayedUpdate {
  bool rolled = false;   ///< the history moved
  bool usable = false;   ///< the amax chosen was finite and positive: the scale was computed from it
  float chosen = 0.0f;   ///< that amax
};

/// Whether the next cast takes its scale from its own amax.
///
/// torchao: the first. msamp: all if L = 1, else those before L updates in a row had a finite amax.
bool casts_in_time(const DelayedState& state, const DelayedRule& rule);

/// A cast: returns the scale that it takes, after which the state knows its amax.
///
/// te_fused, te_unfused:  S; record_amax().
/// te_jax:   S; h[0] = a (set, no maximum). update() follows at once, inside the cast.
/// torchao:  in time: h[0] = a, S = P10(max(h)). S; pending = a.
/// msamp:    in time: h[0] = a, S = P11(h[0], S, mu). S; h[0] = the larger of h[0] and a.
/// Source: TransformerEngine jax/quantize/quantizer.py; torchao float8_scaling_utils.py before d370196;
/// MS-AMP msamp/common/tensor/cast.py.
float take_cast(DelayedState& state, const DelayedRule& rule, float amax);

/// The update at the end of a forward or backward pass (te_fused, te_unfused), of a cast (te_jax), of an optimizer step
/// (torchao's sync, msamp).
///
/// te_fused:    last = slot 0; where it is not 0 (or roll_on_zero): h[i] = h[i+1], h[L-1] = last, h[0] = 0,
///              a = fmax over the history, or last; else a = 0.
///              scale = delayed_scale(a, scale, fl(MAX 2^-margin)).
/// te_unfused:  a = max(h), NaN propagates, or h[0]; then rolls, always; scale = fl(fl(fl(1/a) MAX) / 2^margin) where
///              a is finite and positive, infinity becoming the largest number.
/// te_jax:      the same with fl(fl(MAX/a) / 2^margin), whatever it is.
/// torchao:     h = roll(h, 1), h[0] = pending; scale = P10(max(h)), whatever that is: 0 for infinity, 4.48e14 for 0.
/// msamp:       an h[0] that is no finite number becomes 0; scale = P11(max(h), scale, mu); h = roll(h, 1), h[0] = 0;
///              one more is counted, or none if h[0] was no number.
/// Source: TransformerEngine delayed_scaling.cu kernel_bulk; fp8.py _default_get_amax_and_update_history,
/// _default_sf_compute; jax/quantize/quantizer.py; torchao sync_float8_amax_and_scale_history; MS-AMP
/// msamp/optim/optimizer.py _update_scaling_factors.
DelayedUpdate update(DelayedState& state, const DelayedRule& rule);

/// The history with another length: shorter keeps the first slots, longer pads zeros at the end.
void resize_history(DelayedState& state, std::size_t length);

}  // namespace fp8scope
