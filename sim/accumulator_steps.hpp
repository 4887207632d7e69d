#pragma once

#include <algorithm>
#include <cstdint>
#include <optional>

#include "sim/accumulator.hpp"
#include "sim/step_arithmetic.hpp"

/// The steps of dot(), one function per kind of unit. Only accumulator*.cpp include this.
namespace fp8scope::accumulate {

/// NaN among the scales.
inline SpecialTerms special_scales(const Terms& a, const Terms& b) {
  SpecialTerms special;
  for (const Operand& s : a.scales) special.nan |= s.kind == Kind::nan;
  for (const Operand& s : b.scales) special.nan |= s.kind == Kind::nan;
  return special;
}

/// NaN or infinity of the step, if an operand, a scale or C makes one.
std::optional<float> special_result(const Terms& a, const Terms& b, const Operand& c);

/// a + b, to nearest even in `result`'s format.
float rounded_sum(const Result& result, float a, float b);

/// The part [first, first + count) of a row and the scales that belong to it.
inline Terms slice(const Terms& t, int block, std::size_t first, std::size_t count) {
  Terms part{t.values.subspan(first, count), {}};
  if (block == 0) return part;
  const std::size_t from = first / block, to = (first + count + block - 1) / block;
  part.scales = t.scales.subspan(from, to - from);
  return part;
}

float aligned_step(const Model& model, const Terms& a, const Terms& b, float c);
float grouped_step(const Model& model, const Terms& a, const Terms& b, float c);
float lowered_step(const Model& model, const Terms& a, const Terms& b, float c);
float cdna3_step(const Model& model, const Terms& a, const Terms& b, float c);
float exact_step(const Model& model, const Terms& a, const Terms& b, float c);
float flushed_step(const Model& model, const Terms& a, const Terms& b, float c);
float fma_step(const Model& model, const Terms& a, const Terms& b, float c);
float sequential_step(const Model& model, const Terms& a, const Terms& b, float c);
float pairwise_step(const Model& model, const Terms& a, const Terms& b, float c);
float binary64_step(const Model& model, const Terms& a, const Terms& b, float c);

}  // namespace fp8scope::accumulate
