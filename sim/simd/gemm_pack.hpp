#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "sim/gemm.hpp"
#include "sim/simd/gemm_kernel.hpp"

namespace fp8scope::simd {

/// Where the steps of a product lie along K: chunks of promotion, cut into steps of the unit.
struct StepMap {
  std::size_t k, terms, chunk;

  std::size_t steps_per_chunk() const { return (chunk + terms - 1) / terms; }
  std::size_t steps() const {
    const std::size_t rest = k % chunk;
    return k / chunk * steps_per_chunk() + (rest + terms - 1) / terms;
  }
  std::size_t first(std::size_t step) const {
    return step / steps_per_chunk() * chunk + step % steps_per_chunk() * terms;
  }
  std::size_t count(std::size_t step) const {
    const std::size_t end = (step / steps_per_chunk() + 1) * chunk;
    return std::min({terms, end - first(step), k - first(step)});
  }
  /// Whether the unit's sum is complete after `step`.
  bool ends_chunk(std::size_t step) const {
    return (step + 1) % steps_per_chunk() == 0 || step + 1 == steps();
  }
};

/// Numbers of the kernel for a model and two formats.
StepNumbers step_numbers(const Model& model, const Format& a, const Format& b);

/// Packs codes of one operand. Numbers that are not finite become zero and mark their row.
class Packer {
 public:
  Packer(const Gemm& gemm, const GemmCodes& codes, const StepNumbers& numbers);

  /// One step of rows [first, first + rows), rows beyond `last` zero.
  ///
  /// values, bytes  [rows, terms]
  /// shifts         [rows]
  /// nonfinite      [rows], ored with 1 for a NaN, 2 for an infinity
  void rows(std::size_t first, std::size_t rows, std::size_t last, std::size_t k, std::size_t count,
            float* values, std::uint8_t* bytes, std::int32_t* shifts, std::uint8_t* nonfinite) const;

  /// One step of 64 rows, turned into the columns of a panel.
  ///
  /// values  [terms, 64]
  /// bytes   [terms / 4, 64, 4]
  void panel(std::size_t first, std::size_t last, std::size_t k, std::size_t count, float* values,
             std::uint8_t* bytes, std::int32_t* shifts, std::uint8_t* nonfinite) const;

 private:
  struct Entry {
    float value;
    std::uint8_t byte, nonfinite;
  };
  void row(std::size_t row, std::size_t k, std::size_t count, float* values, std::uint8_t* bytes,
           std::int32_t* shift, std::uint8_t* nonfinite) const;

  const Gemm* gemm_;
  const GemmCodes* codes_;
  StepNumbers numbers_;
  std::vector<Entry> table_;  ///< of formats of at most 16 bits that need no shifts
};

}  // namespace fp8scope::simd
