#pragma once
// The statistics of a cast and of a tensor, a row at a time, in the order of sim/error_sums.hpp: 16
// lanes of a row, then a tree. The bits of a sum depend on nothing but the row.

#include "cuda/chunk.hpp"
#include "sim/block.hpp"
#include "sim/error_element.hpp"
#include "sim/quantize.hpp"

namespace fp8scope::cuda {

inline namespace FP8_LOOPS {

/// What every thread holds, folded over the 16 lanes of its row, to the first of them.
template <class T, class Get, class Op, class Put>
FP8_KERNEL void fold_rows(const Team& team, const Get& get, const Op& op, const Put& put) {
  Register<T> value(team);
  team.each([&](int t) { value(t) = get(t); });
  fold16(team, value, op);
  team.each([&](int t) {
    if (t % 16 == 0) put(t, value(t));
  });
}

}  // namespace FP8_LOOPS

/// error_sums_scalar() of every row: the cast, its dequantisation and their statistics in one read of
/// x. 16 threads a row.
template <class In>
struct ErrorLoop {
  struct Job {
    const void* x = nullptr;
    BlockGrid grid{0, 0, {}};
    int cols_log2 = -1;              ///< log2 of grid.block_cols; -1 if it is no power of two
    const Scales* scales = nullptr;  ///< [grid.blocks()]
    CastLimits limits;
    Format format = e4m3;            ///< this and the next three only where limits.by_magic is false
    CastRule rule;
    std::uint64_t seed = 0, first = 0;
    ErrorSums* sums = nullptr;       ///< [rows], written
    double* bulk_power = nullptr;    ///< [rows] bulk_power_scalar(), written; may be nullptr
  };
  struct Shared {};

  static FP8_KERNEL void run(const Team& team, Shared&, const Job& job) {
    const std::int64_t row0 = static_cast<std::int64_t>(team.block().x) * (team.threads() / 16);
    Register<State> state(team);
    Register<std::uint32_t> rare(team);
    Register<float> error(team), magnitude(team), rest(team);
    team.each([&](int t) { state(t) = State{}; });
    for (std::int64_t c0 = 0; c0 < job.grid.cols; c0 += 16) {
      team.each([&](int t) {
        rare(t) = 0;
        const std::int64_t r = row0 + t / 16, c = c0 + t % 16;
        if (r >= job.grid.rows || c >= job.grid.cols) return;
        const ElementError of = measure(job, r, c, state(t));
        add(state(t), of);
        rare(t) = (of.top ? 1u : 0u) | (of.clipped ? 2u : 0u);
        error(t) = of.e, magnitude(t) = magnitude_of(of.x), rest(t) = of.rest;
      });
      team.each([&](int t) {
        if (!any_of_warp(rare, t)) return;
        for (int i = 0; i < 16; ++i) add_rare(state(t), from_lane(rare, t, i), from_lane(error, t, i),
                                              from_lane(magnitude, t, i), from_lane(rest, t, i));
      });
    }
    finish(team, job, row0, state);
  }

 private:
  /// A lane of a row.
  struct State {
    double noise = 0.0, error = 0.0, cross = 0.0, bulk = 0.0;
    double noise_top = 0.0, clipped_loss = 0.0;  ///< of the whole row, the same in every lane
    float max_abs = 0.0f, max_rel = 0.0f;
    std::uint32_t underflow = 0, overflow = 0, clipped = 0, subnormal = 0, lost = 0;
  };

  static FP8_KERNEL ElementError measure(const Job& job, std::int64_t r, std::int64_t c, State& s) {
    const std::int64_t i = job.grid.element(r, c);
    const float x = load_value<In>(job.x, i);
    const std::int64_t across = job.cols_log2 >= 0 ? c >> job.cols_log2 : c / job.grid.block_cols;
    const Scales scales = job.scales[r / job.grid.block_rows * job.grid.across() + across];
    if (magnitude_of(x) <= job.limits.bulk) s.bulk += static_cast<double>(x) * x;
    const Apply apply = job.limits.divide ? Apply::divide : Apply::multiply;
    const float v = scaled(apply, is_finite(x) ? x : 0.0f, scales.scale);
    float value = 0.0f;
    if (job.limits.by_magic) {
      value = value_by_magic(job.limits, v);
    } else {
      const bool stochastic = draws_bits(job.rule.rounding);
      const RandomBits random = stochastic ? random_bits(job.seed, job.first + static_cast<std::uint64_t>(i)) : RandomBits{};
      value = decode(job.format, quantize_element(job.format, x, scales.scale, job.rule, random, apply));
    }
    return element_error(job.limits, x, v, value, scales.scale_inv);
  }

  static FP8_KERNEL void add(State& s, const ElementError& of) {
    s.lost += of.lost ? 1 : 0;
    if (!of.counts) return;
    const float error = magnitude_of(of.e), magnitude = magnitude_of(of.x);
    if (!of.top) s.noise += static_cast<double>(of.e) * of.e;
    s.error += of.e;
    s.cross += static_cast<double>(of.x) * of.e;
    s.max_abs = error > s.max_abs ? error : s.max_abs;
    const float relative = of.x != 0.0f ? error / magnitude : 0.0f;
    s.max_rel = relative > s.max_rel ? relative : s.max_rel;
    s.underflow += of.underflow ? 1 : 0;
    s.overflow += of.overflow ? 1 : 0;
    s.clipped += of.clipped ? 1 : 0;
    s.subnormal += of.subnormal ? 1 : 0;
  }

  static FP8_KERNEL void add_rare(State& s, std::uint32_t flags, float e, float magnitude, float rest) {
    if ((flags & 1u) != 0) s.noise_top += static_cast<double>(e) * e;
    if ((flags & 2u) != 0) s.clipped_loss += static_cast<double>(magnitude) - rest;
  }

  static FP8_KERNEL void finish(const Team& team, const Job& job, std::int64_t row0, Register<State>& state) {
    const auto row_of = [&](int t) { return row0 + t / 16; };
    const auto there = [&](int t) { return row_of(t) < job.grid.rows; };
    const auto sum = [](auto a, auto b) { return a + b; };
    const auto larger = [](float a, float b) { return b > a ? b : a; };
    const auto fold_sum = [&](double State::*from, double ErrorSums::*to) {
      fold_rows<double>(team, [&](int t) { return state(t).*from; }, sum,
                        [&](int t, double v) { if (there(t)) job.sums[row_of(t)].*to = v; });
    };
    const auto fold_max = [&](float State::*from, float ErrorSums::*to) {
      fold_rows<float>(team, [&](int t) { return state(t).*from; }, larger,
                       [&](int t, float v) { if (there(t)) job.sums[row_of(t)].*to = v; });
    };
    const auto fold_count = [&](std::uint32_t State::*from, std::uint64_t ErrorSums::*to) {
      fold_rows<std::uint32_t>(team, [&](int t) { return state(t).*from; }, sum,
                               [&](int t, std::uint32_t v) { if (there(t)) job.sums[row_of(t)].*to = v; });
    };
    fold_sum(&State::noise, &ErrorSums::noise_bulk);
    fold_sum(&State::error, &ErrorSums::error);
    fold_sum(&State::cross, &ErrorSums::cross);
    fold_max(&State::max_abs, &ErrorSums::max_abs);
    fold_max(&State::max_rel, &ErrorSums::max_rel);
    fold_count(&State::underflow, &ErrorSums::underflow);
    fold_count(&State::overflow, &ErrorSums::overflow);
    fold_count(&State::clipped, &ErrorSums::clipped);
    fold_count(&State::subnormal, &ErrorSums::subnormal);
    fold_count(&State::lost, &ErrorSums::lost);
    team.each([&](int t) {
      if (t % 16 != 0 || !there(t)) return;
      job.sums[row_of(t)].noise_top = state(t).noise_top;
      job.sums[row_of(t)].clipped_loss = state(t).clipped_loss;
    });
    if (!job.bulk_power) return;
    fold_rows<double>(team, [&](int t) { return state(t).bulk; }, sum,
                      [&](int t, double v) { if (there(t)) job.bulk_power[row_of(t)] = v; });
  }
};

/// moment_sums_scalar() of every row, and the tensor's elements counted by the top 15 bits of their
/// magnitude.
template <class In>
struct MomentLoop {
  struct Job {
    const void* x = nullptr;
    std::int64_t rows = 0, cols = 0;
    MomentSums* sums = nullptr;        ///< [rows], written
    std::uint32_t* buckets = nullptr;  ///< [2^15], added to
  };
  struct Shared {};

  static FP8_KERNEL void run(const Team& team, Shared&, const Job& job) {
    const std::int64_t row0 = static_cast<std::int64_t>(team.block().x) * (team.threads() / 16);
    Register<State> state(team);
    team.each([&](int t) {
      State& s = state(t) = State{};
      const std::int64_t r = row0 + t / 16;
      if (r >= job.rows) return;
      FP8_UNROLL_2
      for (std::int64_t c = t % 16; c < job.cols; c += 16) {
        const float x = load_value<In>(job.x, r * job.cols + c);
        atomic_add(job.buckets + ((float_bits(x) & magnitude_bits) >> 16), 1);
        add(s, x);
      }
    });
    finish(team, job, row0, state);
  }

 private:
  struct State {
    double absolute = 0.0, power1 = 0.0, power2 = 0.0, power3 = 0.0, power4 = 0.0;
    std::uint32_t finite = 0, zeros = 0, nans = 0, infs = 0, smallest = inf_bits;
  };

  static FP8_KERNEL void add(State& s, float x) {
    if (!is_finite(x)) {
      (is_nan(x) ? s.nans : s.infs) += 1;
      return;
    }
    ++s.finite;
    s.zeros += x == 0.0f ? 1 : 0;
    const std::uint32_t magnitude = float_bits(x) & magnitude_bits;
    if (magnitude != 0 && magnitude < s.smallest) s.smallest = magnitude;
    const double value = x, square = value * value;
    s.absolute += magnitude_of(x);
    s.power1 += value;
    s.power2 += square;
    s.power3 += square * value;
    s.power4 += square * square;
  }

  static FP8_KERNEL void finish(const Team& team, const Job& job, std::int64_t row0, Register<State>& state) {
    const auto row_of = [&](int t) { return row0 + t / 16; };
    const auto sum = [](auto a, auto b) { return a + b; };
    const auto fold_sum = [&](double State::*from, double MomentSums::*to) {
      fold_rows<double>(team, [&](int t) { return state(t).*from; }, sum,
                        [&](int t, double v) { if (row_of(t) < job.rows) job.sums[row_of(t)].*to = v; });
    };
    const auto fold_count = [&](std::uint32_t State::*from, std::uint64_t MomentSums::*to) {
      fold_rows<std::uint32_t>(team, [&](int t) { return state(t).*from; }, sum,
                               [&](int t, std::uint32_t v) { if (row_of(t) < job.rows) job.sums[row_of(t)].*to = v; });
    };
    fold_sum(&State::absolute, &MomentSums::absolute);
    fold_sum(&State::power1, &MomentSums::power1);
    fold_sum(&State::power2, &MomentSums::power2);
    fold_sum(&State::power3, &MomentSums::power3);
    fold_sum(&State::power4, &MomentSums::power4);
    fold_count(&State::finite, &MomentSums::finite);
    fold_count(&State::zeros, &MomentSums::zeros);
    fold_count(&State::nans, &MomentSums::nans);
    fold_count(&State::infs, &MomentSums::infs);
    fold_rows<std::uint32_t>(team, [&](int t) { return state(t).smallest; },
                             [](std::uint32_t a, std::uint32_t b) { return a < b ? a : b; },
                             [&](int t, std::uint32_t v) { if (row_of(t) < job.rows) job.sums[row_of(t)].smallest = v; });
  }
};

/// Range of the scales of a cast, and how near it came to clipping.
struct ScaleRange {
  std::uint32_t low = inf_bits;                    ///< pattern of the smallest scale_inv
  std::uint32_t high = 0;                          ///< of the largest
  std::uint64_t headroom = 0x7ff0000000000000ull;  ///< binary64 pattern of min(max * scale_inv / amax)
  std::uint32_t floored = 0;                       ///< blocks whose amax is below the floor
  std::uint32_t unused = 0;
};

/// Minima and maxima of patterns of numbers that are not negative: the order is free.
struct RangeLoop {
  struct Job {
    const Scales* scales = nullptr;       ///< [n]
    const std::uint32_t* amax = nullptr;  ///< [n] patterns
    std::int64_t n = 0;
    float max = 448.0f, floor = 0.0f;
    ScaleRange* range = nullptr;
  };
  struct Shared {};

  static FP8_KERNEL void run(const Team& team, Shared&, const Job& job) {
    team.each([&](int t) {
      ScaleRange mine;
      const std::int64_t step = static_cast<std::int64_t>(team.grid().x) * team.threads();
      for (std::int64_t i = static_cast<std::int64_t>(team.block().x) * team.threads() + t; i < job.n; i += step) {
        const float inverse = job.scales[i].scale_inv, amax = amax_of(job.amax[i]);
        if (!is_nan(inverse)) {
          const std::uint32_t bits = float_bits(inverse);
          mine.low = bits < mine.low ? bits : mine.low;
          mine.high = bits > mine.high ? bits : mine.high;
        }
        mine.floored += amax < job.floor ? 1 : 0;
        if (!is_finite(amax) || !(amax > 0.0f)) continue;
        const double headroom = static_cast<double>(job.max) * inverse / amax;
        if (headroom != headroom) continue;
        const auto bits = bit_cast<std::uint64_t>(headroom);
        mine.headroom = bits < mine.headroom ? bits : mine.headroom;
      }
      atomic_min(&job.range->low, mine.low);
      atomic_max(&job.range->high, mine.high);
      atomic_min(&job.range->headroom, mine.headroom);
      atomic_add(&job.range->floored, mine.floored);
    });
  }
};

}  // namespace fp8scope::cuda
