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
  /// Whether every step but the last is whole, so that steps lie one after the other.
  bool contiguous() const { return chunk % terms == 0 || chunk == k; }
  std::size_t count(std::size_t step) const {
    const std::size_t end = (step / steps_per_chunk() + 1) * chunk;
    return std::min({terms, end - first(step), k - first(step)});
  }
  /// Whether the unit's sum is complete after `step`.
  bool ends_chunk(std::size_t step) const {
    return (step + 1) % steps_per_chunk() == 0 || step + 1 == steps();
  }
};

/// Numbers of the fastest kernel for a model and two formats.
StepNumbers step_numbers(const Model& model, const Format& a, const Format& b);

/// Marks of rows that hold numbers that are not finite.
inline constexpr std::uint8_t nan_mark = 1, infinity_mark = 2;

/// Packs codes of one operand into records of a Layout. Numbers that are not finite become zero and
/// mark their row.
class Packer {
 public:
  /// The significands of B take the factor that lifts a product to F bits.
  Packer(const Gemm& gemm, const GemmCodes& codes, const StepNumbers& numbers, bool is_b);

  /// Steps [first, first + steps) of row `row`.
  ///
  /// record     one every `record_step` words
  /// nonfinite  one mark, ored
  void row(const StepMap& map, std::size_t row, std::size_t first, std::size_t steps, std::uint32_t* record,
           std::size_t record_step, std::uint8_t* nonfinite) const;

  /// One step of the 64 rows from `first` on, as the columns of a panel; rows beyond `last` are zero.
  ///
  /// record     [panel_words]
  /// nonfinite  [64], ored
  /// rows       scratch
  void panel(std::size_t first, std::size_t last, std::size_t k, std::size_t count,
             std::uint32_t* record, std::uint8_t* nonfinite, std::vector<std::uint32_t>& rows) const;

 private:
  void step(std::size_t row, std::size_t k, std::size_t count, std::uint32_t* record,
            std::uint8_t* nonfinite) const;
  template <class Code>
  void row_of(std::size_t row, std::size_t k, std::size_t count, std::uint32_t* record,
              std::uint8_t* nonfinite) const;
  template <class Code>
  bool has_nonfinite(const Code* codes, std::size_t count) const;
  template <class Code>
  void float_row(const Code* codes, std::size_t count, std::size_t row, std::size_t k,
                 std::uint32_t* record, std::uint8_t* nonfinite) const;

  const Gemm* gemm_;
  const GemmCodes* codes_;
  StepNumbers numbers_;
  int lift_;
};

}  // namespace fp8scope::simd
