#pragma once

#include "cuda/team.hpp"
#include "sim/block.hpp"
#include "sim/fused_step.hpp"
#include "sim/scale_order.hpp"

/// The loops of the GEMM emulation: one product of FP8 codes, every element as the unit adds it.
namespace fp8scope::cuda {

/// Products of K that a thread block decodes at a time.
inline constexpr int stage = 32;

/// One operand. Rows are padded with zero codes to a multiple of the tile, K to a multiple of 32.
struct EmulatedOperand {
  const std::uint8_t* codes;       ///< [padded rows, stride]
  const std::uint8_t* special;     ///< [padded rows] 1 where a row holds NaN or infinity
  const float* scale_inv;          ///< [grid.blocks()]
  std::int64_t stride;             ///< bytes from row to row
  BlockGrid grid{0, 0, {}};
  std::int64_t blocks_across;      ///< grid.across()
  fused::NarrowFormat narrow;
  Format format;
};

/// Scale of an element. A matrix has fewer than 2^31 rows and columns: divisions of 64 bits are calls.
FP8_HD inline float operand_scale(const EmulatedOperand& x, std::int64_t row, std::int64_t k) {
  const auto down = static_cast<std::uint32_t>(row) / static_cast<std::uint32_t>(x.grid.block_rows);
  const auto across = static_cast<std::uint32_t>(k) / static_cast<std::uint32_t>(x.grid.block_cols);
  return x.scale_inv[static_cast<std::int64_t>(down) * x.blocks_across + across];
}

/// The part [k_begin, k_end) of a product.
struct EmulatedJob {
  EmulatedOperand a, b;
  Model model;
  std::int64_t m, n, k_begin, k_end, promote;
  ScaleOrder order;
  bool scaled;   ///< promotion applies the operands' scales
  float* out;    ///< [m, n]
};

/// Operand of a row's index.
struct RowOperands {
  Format format;
  const std::uint8_t* codes;
  FP8_HD constexpr Operand operator()(std::size_t i) const { return unpack_code(format, codes[i]); }
};

struct NoScales {
  FP8_HD constexpr int operator()(std::size_t) const { return 0; }
};

inline namespace FP8_LOOPS {

/// Tiles of ROWS x COLUMNS outputs per thread, 16 x 16 threads; sums in `Real`.
template <class Real, int ROWS, int COLUMNS>
struct EmulatedTile {
  static constexpr int threads = 256, rows = 16 * ROWS, columns = 16 * COLUMNS, outputs = ROWS * COLUMNS;
  using Job = EmulatedJob;

  struct Shared {
    alignas(16) Real a[stage][rows], b[stage][columns];
    alignas(16) std::uint32_t a_exponents[stage][rows];        ///< twice the exponent of a row
    alignas(16) std::uint32_t b_exponents[stage][columns / 2]; ///< of two neighbouring columns
    std::uint32_t a_signs[rows], b_signs[columns];             ///< bit k
  };

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
    for (std::int64_t k = job.k_begin; k < job.k_end; k += stage) {
      team.each([&](int t) {
        for (int task = t; task < rows * 4; task += threads) decode_row(shared, job, row0, k, task % rows, task / rows);
        for (int task = t; task < columns * 4; task += threads)
          decode_column(shared, job, column0, k, task % columns, task / columns);
      });
      team.sync();
      const int terms = job.model.terms;
      for (int s = 0; s < stage && k + s < job.k_end; s += terms) {
        team.each([&](int t) { step(shared, job, t, s, terms, sums(t)); });
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
  /// Decodes 8 codes of a row of A: k + 8 * group and on.
  static FP8_KERNEL void decode_row(Shared& shared, const Job& job, std::int64_t row0, std::int64_t k, int row, int group) {
    std::uint32_t signs = 0;
    const std::uint8_t* codes = job.a.codes + (row0 + row) * job.a.stride + k + 8 * group;
    FP8_UNROLL
    for (int i = 0; i < 8; ++i) {
      const std::uint32_t code = code_at(codes, i, job.k_end - k - 8 * group);
      const fused::NarrowOperand x = fused::narrow_operand(job.a.narrow, code);
      shared.a[8 * group + i][row] = x.value;
      shared.a_exponents[8 * group + i][row] = fused::pack_exponents(x.exponent, x.exponent);
      signs |= (code >> 7 & 1u) << i;
    }
    reinterpret_cast<std::uint8_t*>(&shared.a_signs[row])[group] = static_cast<std::uint8_t>(signs);
  }

  static FP8_KERNEL void decode_column(Shared& shared, const Job& job, std::int64_t column0, std::int64_t k, int column, int group) {
    std::uint32_t signs = 0;
    const std::uint8_t* codes = job.b.codes + (column0 + column) * job.b.stride + k + 8 * group;
    FP8_UNROLL
    for (int i = 0; i < 8; ++i) {
      const std::uint32_t code = code_at(codes, i, job.k_end - k - 8 * group);
      const fused::NarrowOperand x = fused::narrow_operand(job.b.narrow, code);
      shared.b[8 * group + i][column] = x.value;
      reinterpret_cast<std::int16_t*>(shared.b_exponents[8 * group + i])[column] = static_cast<std::int16_t>(x.exponent);
      signs |= (code >> 7 & 1u) << i;
    }
    reinterpret_cast<std::uint8_t*>(&shared.b_signs[column])[group] = static_cast<std::uint8_t>(signs);
  }

  /// A part of K may end within a stage: what follows belongs to the next part.
  static FP8_KERNEL std::uint32_t code_at(const std::uint8_t* codes, int i, std::int64_t left) {
    return i < left ? codes[i] : 0u;
  }

  /// One step of the unit for a thread's outputs: products s .. s + terms of the stage.
  static FP8_KERNEL void step(const Shared& shared, const Job& job, int t, int s, int terms, Sums& sums) {
    const int row = t / 16 * ROWS, column = t % 16 * COLUMNS;
    std::uint32_t largest[ROWS][COLUMNS / 2];
    FP8_UNROLL
    for (int i = 0; i < ROWS; ++i)
      FP8_UNROLL
      for (int j = 0; j < COLUMNS / 2; ++j)
        largest[i][j] = fused::pack_exponents(job.model.floor_exponent, job.model.floor_exponent);
    for (int k = s; k < s + terms; ++k)
      FP8_UNROLL
      for (int i = 0; i < ROWS; ++i)
        FP8_UNROLL
        for (int j = 0; j < COLUMNS / 2; ++j)
          largest[i][j] = fused::max_plus(shared.a_exponents[k][row + i], shared.b_exponents[k][column / 2 + j], largest[i][j]);

    Real p[ROWS][COLUMNS];
    FP8_UNROLL
    for (int i = 0; i < ROWS; ++i)
      FP8_UNROLL
      for (int j = 0; j < COLUMNS; ++j) {
        const float c = sums.unit[i * COLUMNS + j];
        int e = j % 2 == 0 ? fused::low_exponent(largest[i][j / 2]) : fused::high_exponent(largest[i][j / 2]);
        const int of_c = fused::accumulator_exponent(c);
        e = of_c > e ? of_c : e;
        p[i][j] = fused::add_accumulator(fused::base<Real>(e, job.model.fraction_bits), c);
      }
    for (int k0 = s; k0 < s + terms; k0 += 8) add_products(shared, row, column, k0, p);
    FP8_UNROLL
    for (int i = 0; i < ROWS; ++i)
      FP8_UNROLL
      for (int j = 0; j < COLUMNS; ++j)
        sums.unit[i * COLUMNS + j] = fused::step_result(p[i][j], job.model.result.fraction_bits, job.model.result.nearest);
  }

  /// Eight products for each output. The signs of a row and a column meet once; their bits choose the
  /// direction.
  static FP8_KERNEL void add_products(const Shared& shared, int row, int column, int k0, Real (&p)[ROWS][COLUMNS]) {
    Real a[8][ROWS], b[8][COLUMNS];
    FP8_UNROLL
    for (int k = 0; k < 8; ++k) {
      FP8_UNROLL
      for (int i = 0; i < ROWS; ++i) a[k][i] = shared.a[k0 + k][row + i];
      FP8_UNROLL
      for (int j = 0; j < COLUMNS; ++j) b[k][j] = shared.b[k0 + k][column + j];
    }
    FP8_UNROLL
    for (int i = 0; i < ROWS; ++i)
      FP8_UNROLL
      for (int j = 0; j < COLUMNS; ++j) {
        const std::uint32_t negative = (shared.a_signs[row + i] ^ shared.b_signs[column + j]) >> k0;
        FP8_UNROLL
        for (int k = 0; k < 8; ++k) p[i][j] = fused::add_product(p[i][j], a[k][i], b[k][j], (negative >> k & 1u) != 0);
      }
  }

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
/// that no fused step computes.
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
    const std::uint8_t* a = job.a.codes + row * job.a.stride + job.k_begin;
    const std::uint8_t* b = job.b.codes + column * job.b.stride + job.k_begin;
    const int length = static_cast<int>(job.k_end - job.k_begin), interval = job.promote > 0 ? static_cast<int>(job.promote) : length;
    // One loop over the steps of the unit: with one over promotions around it ptxas spills.
    float total = 0.0f, unit = 0.0f;
    for (int k = 0, begin = 0; k < length;) {
      const int end = begin + interval < length ? begin + interval : length;
      const int count = end - k < job.model.terms ? end - k : job.model.terms;
      unit = accumulate::aligned_terms(job.model, RowOperands{job.a.format, a + k}, RowOperands{job.b.format, b + k}, NoScales{},
                                       static_cast<std::size_t>(count), {}, accumulate::unpack_c(job.model.result, unit));
      k += count;
      if (k < end) continue;
      if (job.promote == 0) return is_nan(unit) ? bits_float(accumulate::nan_bits) : unit;
      const float sa = job.scaled ? operand_scale(job.a, row, job.k_begin + begin) : 1.0f;
      const float sb = job.scaled ? operand_scale(job.b, column, job.k_begin + begin) : 1.0f;
      total = promote(job.order, total, unit, sa, sb);
      unit = 0.0f;
      begin = end;
    }
    return is_nan(total) ? bits_float(accumulate::nan_bits) : total;
  }
};

}  // namespace FP8_LOOPS
}  // namespace fp8scope::cuda
