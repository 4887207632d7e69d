#pragma once

#include "cuda/fused_unit.hpp"
#include "cuda/grouped_unit.hpp"

/// The loops of the GEMM emulation: one product of FP8, FP6 or FP4 codes, every element as the unit adds it.
namespace fp8scope::cuda {

/// Operand of a row's index.
struct RowOperands {
  Format format;
  const std::uint8_t* codes;
  FP8_HD constexpr Operand operator()(std::size_t i) const { return unpack_code(format, codes[i]); }
};

/// The scales of a unit with block scales, by the index of a product of one row and column.
struct PairScales {
  const EmulatedJob& job;
  std::int64_t row, column;
  int k;

  FP8_HD Operand of_a(std::size_t i) const { return unit_scale(job.a, job.model, row, k + static_cast<int>(i)); }
  FP8_HD Operand of_b(std::size_t i) const { return unit_scale(job.b, job.model, column, k + static_cast<int>(i)); }
  FP8_HD int exponent(std::size_t i) const { return job.model.scale_block == 0 ? 0 : of_a(i).exponent + of_b(i).exponent; }
  FP8_HD accumulate::Product pair(std::size_t i) const { return accumulate::multiply(of_a(i), of_b(i)); }
  /// NaN among the scales of `count` products.
  FP8_HD accumulate::SpecialTerms special(int count) const {
    accumulate::SpecialTerms found;
    for (int i = 0; job.model.scale_block > 0 && i < count; i += job.model.scale_block)
      found.nan |= of_a(static_cast<std::size_t>(i)).kind == Kind::nan || of_b(static_cast<std::size_t>(i)).kind == Kind::nan;
    return found;
  }
};

inline namespace FP8_LOOPS {

/// A thread block's tile of D, 16 x 16 threads, by a unit of fused steps.
template <class Unit>
struct EmulatedTile {
  static constexpr int ROWS = Unit::ROWS, COLUMNS = Unit::COLUMNS;  ///< outputs per thread
  static constexpr int threads = 256, rows = 16 * ROWS, columns = 16 * COLUMNS, outputs = ROWS * COLUMNS;
  using Job = EmulatedJob;
  using Shared = typename Unit::Shared;

  struct Sums {
    float unit[outputs], total[outputs];
  };

  static FP8_KERNEL void run(const Team& team, Shared& shared, const Job& job) {
    Register<Sums> sums(team);
    team.each([&](int t) {
      FP8_UNROLL
      for (int i = 0; i < outputs; ++i) sums(t).unit[i] = sums(t).total[i] = 0.0f;
    });
    const std::int64_t row0 = static_cast<std::int64_t>(team.block().y) * rows;
    const std::int64_t column0 = static_cast<std::int64_t>(team.block().x) * columns;
    std::int64_t chunk = job.k_begin;  // where the sum in the unit began
    for (std::int64_t k = job.k_begin; k < job.k_end; k += Unit::depth) {
      team.each([&](int t) {
        for (int task = t; task < rows * 4; task += threads) Unit::decode_row(shared, job, row0, k, task % rows, task / rows);
        for (int task = t; task < columns * 4; task += threads)
          Unit::decode_column(shared, job, column0, k, task % columns, task / columns);
      });
      team.sync();
      const int terms = job.model.terms;
      for (int s = 0; s < Unit::depth && k + s < job.k_end; s += terms) {
        team.each([&](int t) { Unit::step(shared, job, t, s, terms, sums(t).unit); });
        const std::int64_t end = k + s + terms < job.k_end ? k + s + terms : job.k_end;
        if (job.promote == 0 || (static_cast<std::uint32_t>(end - job.k_begin) % static_cast<std::uint32_t>(job.promote) != 0 && end != job.k_end))
          continue;
        team.each([&](int t) { promote_sums(job, row0, column0, chunk, t, sums(t)); });
        chunk = end;
      }
      team.sync();
    }
    team.each([&](int t) { store(job, row0, column0, t, sums(t)); });
  }

 private:
  static FP8_KERNEL void promote_sums(const Job& job, std::int64_t row0, std::int64_t column0, std::int64_t k, int t, Sums& sums) {
    const std::int64_t row = row0 + t / 16 * ROWS, column = column0 + t % 16 * COLUMNS;
    FP8_UNROLL
    for (int i = 0; i < ROWS; ++i) {
      const float sa = job.scaled && row + i < job.m ? operand_scale(job.a, row + i, k) : 1.0f;
      FP8_UNROLL
      for (int j = 0; j < COLUMNS; ++j) {
        const float sb = job.scaled && column + j < job.n ? operand_scale(job.b, column + j, k) : 1.0f;
        const int o = i * COLUMNS + j;
        sums.total[o] = promote(job.order, sums.total[o], sums.unit[o], sa, sb);
        sums.unit[o] = 0.0f;
      }
    }
  }

  static FP8_KERNEL void store(const Job& job, std::int64_t row0, std::int64_t column0, int t, const Sums& sums) {
    const std::int64_t row = row0 + t / 16 * ROWS, column = column0 + t % 16 * COLUMNS;
    FP8_UNROLL
    for (int i = 0; i < ROWS; ++i)
      FP8_UNROLL
      for (int j = 0; j < COLUMNS; ++j) {
        if (row + i >= job.m || column + j >= job.n) continue;
        const float d = job.promote > 0 ? sums.total[i * COLUMNS + j] : sums.unit[i * COLUMNS + j];
        job.out[(row + i) * job.n + column + j] = is_nan(d) ? bits_float(accumulate::nan_bits) : d;
      }
  }
};

/// One output per thread, by the arithmetic of dot(): rows and columns with NaN or infinity, and models
/// that no fused step computes. `GROUPED`: Summation::grouped, else aligned.
template <bool GROUPED>
struct EmulatedElement {
  static constexpr int threads = 256;
  struct Job : EmulatedJob {
    bool only_special;  ///< leave the other outputs alone
  };
  struct Shared {};

  static FP8_KERNEL void run(const Team& team, Shared&, const Job& job) {
    team.each([&](int t) {
      const auto across = static_cast<std::uint32_t>((job.n + threads - 1) / threads);
      const std::int64_t column = static_cast<std::int64_t>(team.block().x % across) * threads + t;
      const std::int64_t row = team.block().x / across;  // a grid has few rows of blocks, D may have many
      if (column >= job.n || row >= job.m) return;
      if (job.only_special && job.a.special[row] == 0 && job.b.special[column] == 0) return;
      job.out[row * job.n + column] = element(job, row, column);
    });
  }

 private:
  static FP8_KERNEL float element(const Job& job, std::int64_t row, std::int64_t column) {
    // K in 32 bits: with 64 of them ptxas spills.
    const int k_end = static_cast<int>(job.k_end), k_begin = static_cast<int>(job.k_begin);
    const int interval = job.promote > 0 ? static_cast<int>(job.promote) : k_end - k_begin;
    // One loop over the steps of the unit: with one over promotions around it ptxas spills.
    float total = 0.0f, unit = 0.0f;
    for (int k = k_begin, begin = k_begin; k < k_end;) {
      const int end = k_end - begin > interval ? begin + interval : k_end;
      const int count = end - k < job.model.terms ? end - k : job.model.terms;
      unit = step(job, row, column, k, count, unit);
      k += count;
      if (k < end) continue;
      if (job.promote == 0) return is_nan(unit) ? bits_float(accumulate::nan_bits) : unit;
      const float sa = job.scaled ? operand_scale(job.a, row, begin) : 1.0f;
      const float sb = job.scaled ? operand_scale(job.b, column, begin) : 1.0f;
      total = promote(job.order, total, unit, sa, sb);
      unit = 0.0f;
      begin = end;
    }
    return is_nan(total) ? bits_float(accumulate::nan_bits) : total;
  }

  /// Products k .. k + count.
  static FP8_KERNEL float step(const Job& job, std::int64_t row, std::int64_t column, int k, int count, float unit) {
    const RowOperands a{job.a.format, job.a.codes + row * job.a.stride + k}, b{job.b.format, job.b.codes + column * job.b.stride + k};
    const PairScales scales{job, row, column, k};
    const accumulate::SpecialTerms special = scales.special(count);
    const Operand c = accumulate::unpack_c(job.model.result, unit);
    const auto terms = static_cast<std::size_t>(count);
    if constexpr (GROUPED)
      return accumulate::grouped_terms(job.model, a, b, [&](std::size_t i) { return scales.pair(i); }, terms, special, c);
    else
      return accumulate::aligned_terms(job.model, a, b, [&](std::size_t i) { return scales.exponent(i); }, terms, special, c);
  }
};

}  // namespace FP8_LOOPS
}  // namespace fp8scope::cuda
