#pragma once

#include "cuda/engine.hpp"
#include "cuda/quantize_tensor.hpp"

namespace fp8scope::cuda {

/// A cast within a pass: slot 0 keeps the larger amax by their bits, as the atomicMax of TE's casts does. One thread.
struct RecordLoop {
  struct Job {
    const TensorTop* measured = nullptr;
    AmaxRule amax_rule = AmaxRule::ignore_nan;
    float* history = nullptr;
  };
  struct Shared {};

  static FP8_KERNEL void run(const Team& team, Shared&, const Job& job) {
    team.each([&](int t) {
      if (t != 0) return;
      const std::uint32_t amax = job.measured->by(job.amax_rule);
      if (amax > float_bits(job.history[0])) job.history[0] = bits_float(amax);
    });
  }
};

/// The end of a step of delayed scaling: the measured amax, or what slot 0 recorded, joins the history, the scale of the
/// next step follows. One thread block.
///
/// history[0] is 0 after it; the newest L - 1 amaxes follow, oldest first. For an amax a != 0:
///   history[i] = history[i + 1], history[L - 1] = a, history[0] = 0;
///   scale = delayed_scale(m), m the largest of the old history[1 ..] and a, or a (most recent).
/// For a == 0 nothing moves (kernel_bulk), unless rule.roll_on_zero (kernel, of one tensor).
/// Source: TransformerEngine delayed_scaling.cu; DelayedRecipe of sim/recipe_delayed.hpp, update() of sim/delayed_state.hpp.
struct HistoryLoop {
  struct Job {
    const TensorTop* measured = nullptr;  ///< nullptr: slot 0
    AmaxRule amax_rule = AmaxRule::ignore_nan;
    DelayedRule rule;
    float* history = nullptr;    ///< [rule.length]
    Scales* scales = nullptr;    ///< of the last step; becomes that of the next
  };
  struct Shared {
    std::uint32_t scratch[32];
  };

  static FP8_KERNEL void run(const Team& team, Shared& shared, const Job& job) {
    const float amax = job.measured ? amax_of(job.measured->by(job.amax_rule)) : job.history[0];
    if (amax == 0.0f && !job.rule.roll_on_zero) return;
    Register<std::uint32_t> top(team);
    Register<float> moved(team);
    team.each([&](int t) { top(t) = 0; });
    for (std::int64_t first = 0; first < job.rule.length; first += team.threads()) {
      team.each([&](int t) {
        const std::int64_t i = first + t;
        if (i >= job.rule.length) return;
        moved(t) = i + 1 < job.rule.length ? job.history[i + 1] : amax;
        top(t) = larger_magnitude(AmaxRule::ignore_nan, top(t), moved(t));
      });
      team.sync();  // all have read before one writes what its neighbour reads
      team.each([&](int t) {
        const std::int64_t i = first + t;
        if (i < job.rule.length) job.history[i] = i > 0 ? moved(t) : 0.0f;
      });
      team.sync();
    }
    block_max(team, top, shared.scratch);
    team.each([&](int t) {
      if (t != 0) return;
      const float chosen = job.rule.most_recent ? amax : bits_float(top(t));
      const float scale = delayed_scale(chosen, job.scales->scale, job.rule.max, job.rule.big);
      *job.scales = {scale, 1.0f / scale};
    });
  }
};

}  // namespace fp8scope::cuda
