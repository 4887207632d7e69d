#pragma once

#include "cuda/quantize_job.hpp"
#include "sim/quantize.hpp"

namespace fp8scope::cuda {

/// Patterns of the largest magnitudes of a tensor; both start at 0.
struct TensorTop {
  std::uint32_t raw = 0;      ///< above infinity where there is a NaN
  std::uint32_t numbers = 0;  ///< without NaN

  FP8_HD std::uint32_t by(AmaxRule rule) const { return rule == AmaxRule::propagate_nan ? raw : numbers; }
};

inline namespace FP8_LOOPS {

/// Chunk i of n elements in a row: how many are left.
FP8_KERNEL int count_of(std::int64_t n, std::int64_t i) {
  const std::int64_t left = n - i * chunk;
  return left < chunk ? static_cast<int>(left) : chunk;
}

/// Adds a thread block's largest magnitudes to those of the tensor.
FP8_KERNEL void add_top(const Team& team, Register<std::uint32_t>& raw, Register<std::uint32_t>& numbers,
                        std::uint32_t (*scratch)[32], TensorTop* top) {
  block_max(team, raw, scratch[0]);
  block_max(team, numbers, scratch[1]);
  team.each([&](int t) {
    if (t != 0) return;
    atomic_max(&top->raw, raw(t));
    atomic_max(&top->numbers, numbers(t));
  });
}

}  // namespace FP8_LOOPS

/// The largest magnitudes of a tensor, in one read. A maximum of integers: the order is free.
template <class In>
struct AmaxLoop {
  struct Job {
    const void* x = nullptr;
    std::int64_t n = 0;
    TensorTop* top = nullptr;
  };
  struct Shared {
    std::uint32_t scratch[2][32];
  };

  static FP8_KERNEL void run(const Team& team, Shared& shared, const Job& job) {
    Register<std::uint32_t> raw(team), numbers(team);
    team.each([&](int t) {
      raw(t) = numbers(t) = 0;
      const std::int64_t chunks = (job.n + chunk - 1) / chunk;
      const std::int64_t step = static_cast<std::int64_t>(team.grid().x) * team.threads();
      FP8_UNROLL_2
      for (std::int64_t i = static_cast<std::int64_t>(team.block().x) * team.threads() + t; i < chunks; i += step) {
        const int count = count_of(job.n, i);
        const Chunk<In> x = load_chunk<In>(job.x, i * chunk, count, count == chunk);
        const std::uint32_t top = x.top(), counted = counted_top(x, top, AmaxRule::ignore_nan);
        raw(t) = top > raw(t) ? top : raw(t);
        numbers(t) = counted > numbers(t) ? counted : numbers(t);
      }
    });
    add_top(team, raw, numbers, shared.scratch, job.top);
  }
};

/// One scale for the whole tensor: a given one (delayed scaling, which measures the amax of this step
/// on the way), or rule(amax) of AmaxLoop.
template <class In, class Mode>
struct TensorLoop {
  struct Job {
    const void* x = nullptr;
    std::int64_t n = 0;
    Coding coding;
    std::uint8_t* codes = nullptr;
    const Scales* given = nullptr;    ///< in device memory; nullptr: scale = rule(top)
    ScaleRule rule;
    AmaxRule amax_rule = AmaxRule::ignore_nan;
    const TensorTop* top = nullptr;   ///< without `given`
    TensorTop* measured = nullptr;    ///< with `given`; may be nullptr
    ScaleOutput scales;               ///< one block
  };
  struct Shared {
    std::uint32_t scratch[2][32];
  };

  static FP8_KERNEL void run(const Team& team, Shared& shared, const Job& job) {
    const std::uint32_t top = job.given ? 0u : job.top->by(job.amax_rule);
    const Scales scales = job.given ? *job.given : block_scales(job.rule, amax_of(top));
    Register<std::uint32_t> raw(team), numbers(team);
    team.each([&](int t) {
      raw(t) = numbers(t) = 0;
      if (team.block().x == 0 && t == 0) write(job, top, scales);
      const std::int64_t chunks = (job.n + chunk - 1) / chunk;
      const std::int64_t step = static_cast<std::int64_t>(team.grid().x) * team.threads();
      for (std::int64_t i = static_cast<std::int64_t>(team.block().x) * team.threads() + t; i < chunks; i += step) {
        const int count = count_of(job.n, i);
        const Chunk<In> x = load_chunk<In>(job.x, i * chunk, count, count == chunk);
        const std::uint32_t here = x.top(), counted = counted_top(x, here, AmaxRule::ignore_nan);
        raw(t) = here > raw(t) ? here : raw(t);
        numbers(t) = counted > numbers(t) ? counted : numbers(t);
        if (!job.codes) continue;
        const Codes codes = encode_chunk<Mode>(job.coding, x, here, [&](int) { return scales.scale; },
                                         is_finite(scales.scale), static_cast<std::uint64_t>(i) * chunk);
        store_codes(job.codes, i * chunk, count, count == chunk, codes);
      }
    });
    if (job.measured) add_top(team, raw, numbers, shared.scratch, job.measured);
  }

 private:
  static FP8_KERNEL void write(const Job& job, std::uint32_t top, const Scales& scales) {
    if (job.scales.both) *job.scales.both = scales;
    if (job.scales.amax) *job.scales.amax = top;
    if (job.scales.inverse) *job.scales.inverse = scales.scale_inv;
    if (job.scales.code) *job.scales.code = scale_code(job.rule, job.scales.storage, top, scales);
  }
};

/// quantize() of sim/quantize.hpp, element by element: every format of at most 16 bits, every rule,
/// every block shape. For what the fast loops do not know.
template <class In>
struct ElementLoop {
  struct Job {
    const void* x = nullptr;
    BlockGrid grid{0, 0, {}};
    Format format = e4m3;
    CastRule rule;
    Apply apply = Apply::multiply;
    std::uint64_t seed = 0, first = 0;
    const Scales* scales = nullptr;  ///< [grid.blocks()]
    std::uint8_t* narrow = nullptr;   ///< codes, of formats of at most 8 bits
    std::uint16_t* wide = nullptr;    ///< codes, of the others
    std::uint8_t* transposed = nullptr;  ///< [cols, rows] the codes again, of formats of at most 8 bits
  };
  struct Shared {};

  static FP8_KERNEL void run(const Team& team, Shared&, const Job& job) {
    team.each([&](int t) {
      const std::int64_t c = static_cast<std::int64_t>(team.block().x) * team.threads() + t;
      if (c >= job.grid.cols) return;
      const bool stochastic = draws_bits(job.rule.rounding);
      for (std::int64_t r = team.block().y; r < job.grid.rows; r += team.grid().y) {
        const std::int64_t i = job.grid.element(r, c);
        const RandomBits random =
            stochastic ? random_bits(job.seed, job.first + static_cast<std::uint64_t>(i)) : RandomBits{};
        const float scale = job.scales[job.grid.block(r, c)].scale;
        const std::uint32_t code = quantize_element(job.format, load_value<In>(job.x, i), scale, job.rule, random,
                                                    job.apply);
        if (job.narrow) job.narrow[i] = static_cast<std::uint8_t>(code);
        else job.wide[i] = static_cast<std::uint16_t>(code);
        if (job.transposed) job.transposed[c * job.grid.rows + r] = static_cast<std::uint8_t>(code);
      }
    });
  }
};

}  // namespace fp8scope::cuda
