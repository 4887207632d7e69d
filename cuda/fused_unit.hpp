#pragma once

#include "cuda/gemm_job.hpp"

/// Aligned units by one fused multiply-add per product: sim/fused_step.hpp.
namespace fp8scope::cuda {
inline namespace FP8_LOOPS {

/// ROWS x COLUMNS outputs per thread, 16 x 16 threads; sums in `Real`. `WHOLE`: the result may be subnormal or
/// infinite (binary16, block scales).
template <class Real, int ROWS_, int COLUMNS_, bool WHOLE>
struct FusedUnit {
  static constexpr int ROWS = ROWS_, COLUMNS = COLUMNS_, depth = 32;  ///< products decoded at a time
  static constexpr int rows = 16 * ROWS, columns = 16 * COLUMNS;
  static constexpr bool scaled = WHOLE && sizeof(Real) == 8;  ///< may have block scales
  using Job = EmulatedJob;

  struct Shared {
    alignas(16) Real a[depth][rows], b[depth][columns];
    alignas(16) std::uint32_t a_exponents[depth][rows];        ///< twice the exponent of a row
    alignas(16) std::uint32_t b_exponents[depth][columns / 2]; ///< of two neighbouring columns
    std::uint32_t a_signs[rows], b_signs[columns];             ///< bit k
  };

  /// Decodes 8 codes of a row of A: k + 8 * group and on.
  static FP8_KERNEL void decode_row(Shared& shared, const Job& job, std::int64_t row0, std::int64_t k, int row, int group) {
    const int scale = scale_exponent(job.a, job, row0 + row, k + 8 * group);
    const std::uint8_t* codes = job.a.codes + (row0 + row) * job.a.stride;
    std::uint32_t signs = 0;
    FP8_UNROLL
    for (int i = 0; i < 8; ++i) {
      const std::uint32_t code = code_within(job, codes, k + 8 * group, i);
      const fused::NarrowOperand x = fused::narrow_operand(job.a.narrow, code);
      const int exponent = scaled_exponent(x, scale);
      shared.a[8 * group + i][row] = scaled_value(x, scale);
      shared.a_exponents[8 * group + i][row] = fused::pack_exponents(exponent, exponent);
      signs |= (code >> job.a.narrow.sign_place & 1u) << i;
    }
    reinterpret_cast<std::uint8_t*>(&shared.a_signs[row])[group] = static_cast<std::uint8_t>(signs);
  }

  static FP8_KERNEL void decode_column(Shared& shared, const Job& job, std::int64_t column0, std::int64_t k, int column, int group) {
    const int scale = scale_exponent(job.b, job, column0 + column, k + 8 * group);
    const std::uint8_t* codes = job.b.codes + (column0 + column) * job.b.stride;
    std::uint32_t signs = 0;
    FP8_UNROLL
    for (int i = 0; i < 8; ++i) {
      const std::uint32_t code = code_within(job, codes, k + 8 * group, i);
      const fused::NarrowOperand x = fused::narrow_operand(job.b.narrow, code);
      shared.b[8 * group + i][column] = scaled_value(x, scale);
      reinterpret_cast<std::int16_t*>(shared.b_exponents[8 * group + i])[column] = static_cast<std::int16_t>(scaled_exponent(x, scale));
      signs |= (code >> job.b.narrow.sign_place & 1u) << i;
    }
    reinterpret_cast<std::uint8_t*>(&shared.b_signs[column])[group] = static_cast<std::uint8_t>(signs);
  }

  /// One step of the unit for a thread's outputs: products s .. s + terms of those decoded.
  static FP8_KERNEL void step(const Shared& shared, const Job& job, int t, int s, int terms, float (&unit)[ROWS * COLUMNS]) {
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
      for (int j = 0; j < COLUMNS; ++j)
        p[i][j] = first_sum(job.model, unit[i * COLUMNS + j],
                            j % 2 == 0 ? fused::low_exponent(largest[i][j / 2]) : fused::high_exponent(largest[i][j / 2]));
    for (int k0 = s; k0 < s + terms; k0 += 8) add_products(shared, row, column, k0, p);
    FP8_UNROLL
    for (int i = 0; i < ROWS; ++i)
      FP8_UNROLL
      for (int j = 0; j < COLUMNS; ++j) write(job.model, p[i][j], unit[i * COLUMNS + j]);
  }

 private:
  static FP8_KERNEL int scale_exponent(const EmulatedOperand& x, const Job& job, std::int64_t row, std::int64_t k) {
    if constexpr (scaled) return job.model.scale_block > 0 ? unit_scale(x, job.model, row, k).exponent : 0;
    else return 0;
  }
  static FP8_KERNEL Real scaled_value(const fused::NarrowOperand& x, int scale) {
    if constexpr (scaled) return x.value * fused::pow2_real<Real>(scale);
    else return x.value;
  }
  static FP8_KERNEL int scaled_exponent(const fused::NarrowOperand& x, int scale) {
    return x.exponent == fused::no_exponent ? x.exponent : x.exponent + scale;
  }

  /// P before the products: the accumulator alone, aligned to the largest exponent.
  static FP8_KERNEL Real first_sum(const Model& model, float c, int largest) {
    if (WHOLE && !is_finite(c)) c = 0.0f;  // stays what it is: write()
    const int of_c = WHOLE ? fused::accumulator_exponent(c, model.result.min_exponent) : fused::accumulator_exponent(c);
    return fused::add_accumulator(fused::base<Real>(of_c > largest ? of_c : largest, model.fraction_bits), c);
  }

  static FP8_KERNEL void write(const Model& model, Real p, float& unit) {
    if constexpr (WHOLE) unit = is_finite(unit) ? fused::step_result(p, model.result) : unit;
    else unit = fused::step_result(p, model.result.fraction_bits, model.result.nearest);
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
};

}  // namespace FP8_LOOPS
}  // namespace fp8scope::cuda
