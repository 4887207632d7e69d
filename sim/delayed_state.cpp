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

/// te_unfused and te_jax: both roll always, and differ in how the quotient is evaluated.
DelayedUpdate update_rolling(DelayedState& state, const DelayedRule& rule) {
  DelayedUpdate done;
  done.chosen = rule.most_recent ? state.history[0] : torch_max(state.history);
  roll(state.history);
  state.history[0] = 0.0f;
  done.rolled = true;
  done.usable = is_finite(done.chosen) && done.chosen > 0.0f;
  if (!done.usable) return done;
  if (rule.kind == HistoryKind::te_jax) {
    state.scale = rule.max / done.chosen / pow2(rule.margin);
    return done;
  }
  const float scale = 1.0f / done.chosen * rule.max / pow2(rule.margin);
  state.scale = is_finite(scale) ? scale : float_max;
  return done;
}

DelayedUpdate update_torchao(DelayedState& state, const DelayedRule& rule) {
  std::shift_right(state.history.begin(), state.history.end(), 1);
  state.history[0] = state.pending;
  const float chosen = torch_max(state.history);
  state.scale = torchao_scale(chosen, rule.max, Pow2::none);
  return {true, true, chosen};
}

DelayedUpdate update_msamp(DelayedState& state, const DelayedRule& rule) {
  std::vector<float>& h = state.history;
  const bool number = is_finite(h[0]);
  if (!number) h[0] = 0.0f;
  const float chosen = torch_max(h);
  state.scale = msamp_scale(chosen, state.scale, rule.max, rule.margin, rule.mu);
  std::shift_right(h.begin(), h.end(), 1);
  h[0] = 0.0f;
  state.counted = number ? state.counted + 1 : 0;
  return {true, chosen > 0.0f, chosen};
}

}  // namespace

void record_amax(DelayedState& state, float amax) {
  const std::uint32_t bits = float_bits(amax) & magnitude_bits;
  if (bits > (float_bits(state.history[0]) & magnitude_bits)) state.history[0] = bits_float(bits);
}

bool casts_in_time(const DelayedState& state, const DelayedRule& rule) {
  if (rule.kind == HistoryKind::torchao) return !state.started;
  return rule.kind == HistoryKind::msamp &&
         (state.history.size() == 1 || state.counted < std::ssize(state.history));
}

float take_cast(DelayedState& state, const DelayedRule& rule, float amax) {
  const bool in_time = casts_in_time(state, rule);
  switch (rule.kind) {
    case HistoryKind::te_jax: state.history[0] = amax; return state.scale;
    case HistoryKind::torchao:
      if (in_time) {
        state.history[0] = amax, state.started = true;
        state.scale = torchao_scale(torch_max(state.history), rule.max, Pow2::none);
      }
      state.pending = amax;
      return state.scale;
    case HistoryKind::msamp:
      if (in_time) {
        state.history[0] = amax;
        state.scale = msamp_scale(amax, state.scale, rule.max, rule.margin, rule.mu);
      }
      record_amax(state, amax);
      return state.scale;
    default: record_amax(state, amax); return state.scale;
  }
}

DelayedUpdate update(DelayedState& state, const DelayedRule& rule) {
  switch (rule.kind) {
    case HistoryKind::te_unfused:
    case HistoryKind::te_jax: return update_rolling(state, rule);
    case HistoryKind::torchao: return update_torchao(state, rule);
    case HistoryKind::msamp: return update_msamp(state, rule);
    default: return update_fused(state, rule);
  }
}

void resize_history(DelayedState& state, std::size_t length) { state.history.resize(length, 0.0f); }

}  // namespace fp8scope
