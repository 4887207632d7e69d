#include "sim/delayed_state.hpp"

#include <algorithm>

namespace fp8scope {
namespace {

void roll(std::vector<float>& history) {
  if (history.size() > 1) std::rotate(history.begin(), history.begin() + 1, history.end());
}

/// torch.max: NaN propagates.
float torch_max(std::span<const float> values) {
  float largest = values[0];
  for (const float value : values) {
    if (is_nan(value)) return value;
    if (value > largest) largest = value;
  }
  return largest;
}

float fmax_of(std::span<const float> values) {
  float largest = 0.0f;
  for (const float value : values)
    if (value > largest) largest = value;
  return largest;
}

DelayedUpdate update_fused(DelayedState& state, const DelayedRule& rule) {
  std::vector<float>& h = state.history;
  const float last = h[0];
  DelayedUpdate done;
  if (last != 0.0f || rule.roll_on_zero) {
    roll(h);
    h.back() = last;
    done.rolled = true;
    done.chosen = rule.most_recent ? last : fmax_of(h);
    h[0] = 0.0f;  // after the maximum: the window is the newest L
  }
  done.usable = is_finite(done.chosen) && done.chosen > 0.0f;
  state.scale = delayed_scale(done.chosen, state.scale, rule.max * pow2(-rule.margin));
  return done;
}

DelayedUpdate update_unfused(DelayedState& state, const DelayedRule& rule) {
  DelayedUpdate done;
  done.chosen = rule.most_recent ? state.history[0] : torch_max(state.history);
  roll(state.history);
  state.history[0] = 0.0f;
  done.rolled = true;
  done.usable = is_finite(done.chosen) && done.chosen > 0.0f;
  if (!done.usable) return done;
  const float scale = 1.0f / done.chosen * rule.max / pow2(rule.margin);
  state.scale = is_finite(scale) ? scale : float_max;
  return done;
}

}  // namespace

void record_amax(DelayedState& state, float amax) {
  const std::uint32_t bits = float_bits(amax) & magnitude_bits;
  if (bits > (float_bits(state.history[0]) & magnitude_bits)) state.history[0] = bits_float(bits);
}

DelayedUpdate update(DelayedState& state, const DelayedRule& rule) {
  return rule.fused ? update_fused(state, rule) : update_unfused(state, rule);
}

void resize_history(DelayedState& state, std::size_t length) { state.history.resize(length, 0.0f); }

}  // namespace fp8scope
