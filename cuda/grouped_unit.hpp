#pragma once

#include "cuda/gemm_job.hpp"

/// Units of scaled 4-bit formats. Sixteen products of E2M1 sum exactly in binary32; the sum times its pair of scales is
/// one product of the fused step, in binary64 for its 35 fraction bits. The alignment knows the scales alone, so
/// it needs no more of the elements than where they are zero.
namespace fp8scope::cuda {
inline namespace FP8_LOOPS {

struct GroupedUnit {
  static constexpr int ROWS = 4, COLUMNS = 4, depth = 64;  ///< products decoded at a time: one step
  static constexpr int rows = 16 * ROWS, columns = 16 * COLUMNS;
  static constexpr int group = 16, groups = depth / group;
  using Job = EmulatedJob;

  /// Sixteen elements of a row that share a scale.
  struct Scale {
    float significand;       ///< an integer, 0 for a zero
    std::int16_t exponent;   ///< raw; no_exponent for a zero
    std::uint16_t elements;  ///< bit k: element k is not zero
  };
  struct Shared {
    alignas(16) float a[depth][rows], b[depth][columns];
    Scale a_scales[groups][rows], b_scales[groups][columns];
  };

  static FP8_KERNEL void decode_row(Shared& shared, const Job& job, std::int64_t row0, std::int64_t k, int row, int g) {
    decode(shared.a, shared.a_scales, job.a, job, row0, k, row, g);
  }
  static FP8_KERNEL void decode_column(Shared& shared, const Job& job, std::int64_t column0, std::int64_t k, int column, int g) {
    decode(shared.b, shared.b_scales, job.b, job, column0, k, column, g);
  }

  static FP8_KERNEL void step(const Shared& shared, const Job& job, int t, int, int, float (&unit)[ROWS * COLUMNS]) {
    const int row = t / 16 * ROWS, column = t % 16 * COLUMNS;
    double p[ROWS][COLUMNS];
    FP8_UNROLL
    for (int i = 0; i < ROWS; ++i)
      FP8_UNROLL
      for (int j = 0; j < COLUMNS; ++j) p[i][j] = first_sum(shared, job.model, row + i, column + j, unit[i * COLUMNS + j]);
    for (int g = 0; g < groups; ++g) {
      float sums[ROWS][COLUMNS];
      exact_sums(shared, row, column, g, sums);
      FP8_UNROLL
      for (int i = 0; i < ROWS; ++i)
        FP8_UNROLL
        for (int j = 0; j < COLUMNS; ++j)
          p[i][j] = fused::add_product<double>(p[i][j], sums[i][j], pair_scale(job.model, shared.a_scales[g][row + i], shared.b_scales[g][column + j]),
                                               sums[i][j] < 0.0f);
    }
    FP8_UNROLL
    for (int i = 0; i < ROWS; ++i)
      FP8_UNROLL
      for (int j = 0; j < COLUMNS; ++j) {
        float& c = unit[i * COLUMNS + j];
        if (is_finite(c)) c = fused::step_result(p[i][j], job.model.result);
      }
  }

 private:
  template <int N>
  static FP8_KERNEL void decode(float (&values)[depth][N], Scale (&scales)[groups][N], const EmulatedOperand& x, const Job& job,
                                std::int64_t row0, std::int64_t k, int row, int g) {
    const std::uint8_t* codes = x.codes + (row0 + row) * x.stride;
    std::uint32_t elements = 0;
    FP8_UNROLL
    for (int i = 0; i < group; ++i) {
      const fused::NarrowOperand element = fused::narrow_operand(x.narrow, code_within(job, codes, k + group * g, i));
      values[group * g + i][row] = element.value;
      elements |= (element.exponent == fused::no_exponent ? 0u : 1u) << i;
    }
    const Operand scale = unit_scale(x, job.model, row0 + row, k + group * g);
    scales[g][row] = {static_cast<float>(scale.significand), static_cast<std::int16_t>(scale.significand == 0 ? fused::no_exponent : scale.exponent),
                      static_cast<std::uint16_t>(elements)};
  }

  /// The product of two scales; of E8M0 it may be beyond binary32.
  static FP8_KERNEL double pair_scale(const Model& model, const Scale& a, const Scale& b) {
    const float significand = a.significand * b.significand;  // of eight bits at most
    if (significand == 0.0f) return 0.0;
    return significand * fused::pow2_real<double>(a.exponent + b.exponent - 2 * model.scale_format.mantissa_bits);
  }

  static FP8_KERNEL double first_sum(const Shared& shared, const Model& model, int row, int column, float c) {
    int largest = model.floor_exponent;
    FP8_UNROLL
    for (int g = 0; g < groups; ++g) {
      const Scale a = shared.a_scales[g][row], b = shared.b_scales[g][column];
      const int exponent = (a.elements & b.elements) != 0 ? a.exponent + b.exponent : fused::no_exponent;
      largest = exponent > largest ? exponent : largest;
    }
    if (!is_finite(c)) c = 0.0f;  // stays what it is: step()
    const int of_c = fused::accumulator_exponent(c, model.result.min_exponent);
    return fused::add_accumulator(fused::base<double>(of_c > largest ? of_c : largest, model.fraction_bits), c);
  }

  static FP8_KERNEL void exact_sums(const Shared& shared, int row, int column, int g, float (&sums)[ROWS][COLUMNS]) {
    FP8_UNROLL
    for (int i = 0; i < ROWS; ++i)
      FP8_UNROLL
      for (int j = 0; j < COLUMNS; ++j) sums[i][j] = 0.0f;
    FP8_UNROLL
    for (int k = 0; k < group; ++k)
      FP8_UNROLL
      for (int i = 0; i < ROWS; ++i)
        FP8_UNROLL
        for (int j = 0; j < COLUMNS; ++j) sums[i][j] = __builtin_fmaf(shared.a[group * g + k][row + i], shared.b[group * g + k][column + j], sums[i][j]);
  }
};

}  // namespace FP8_LOOPS
}  // namespace fp8scope::cuda
