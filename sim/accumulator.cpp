#include "sim/accumulator.hpp"

#include <cmath>

#include "sim/accumulator_steps.hpp"
#include "sim/require.hpp"

namespace fp8scope {
namespace accumulate {

std::optional<float> special_result(const Terms& a, const Terms& b, const Operand& c) {
  SpecialTerms special = special_scales(a, b);
  special.add_c(c);
  for (std::size_t k = 0; k < a.values.size(); ++k) special.add_product(a.values[k], b.values[k]);
  if (special.any()) return special.result();
  return std::nullopt;
}

// T-FDPA and, with scales, ST-FDPA: sections 2.1 and 2.2.
float aligned_step(const Model& model, const Terms& a, const Terms& b, float c) {
  const bool outside = model.join == Join::outside;
  const auto scale_exponent = [&](std::size_t k) {
    if (model.scale_block == 0) return 0;
    const std::size_t block = k / static_cast<std::size_t>(model.scale_block);
    return a.scales[block].exponent + b.scales[block].exponent;
  };
  const float d = aligned_terms(
      model, [&](std::size_t k) { return a.values[k]; }, [&](std::size_t k) { return b.values[k]; }, scale_exponent,
      a.values.size(), special_scales(a, b), unpack_c(model.result, outside ? 0.0f : c));
  return outside ? rounded_sum(model.result, d, c) : d;
}

}  // namespace accumulate

float dot(const Model& model, const Terms& a, const Terms& b, float c) {
  using namespace accumulate;
  require(a.values.size() == b.values.size(), "dot: a and b differ in length");
  const std::size_t n = a.values.size();
  const std::size_t blocks =
      model.scale_block == 0 ? 0 : (n + model.scale_block - 1) / model.scale_block;
  require(a.scales.size() == blocks && b.scales.size() == blocks, "dot: wrong number of block scales");

  const auto step = [&] {
    switch (model.summation) {
      case Summation::aligned: return aligned_step;
      case Summation::grouped: return grouped_step;
      case Summation::lowered: return lowered_step;
      case Summation::exact: return exact_step;
      case Summation::flushed: return flushed_step;
      case Summation::fma: return fma_step;
      case Summation::sequential: return sequential_step;
      case Summation::pairwise: return pairwise_step;
      case Summation::binary64: return binary64_step;
      default: return cdna3_step;
    }
  }();
  const std::size_t terms = model.terms == 0 ? std::max<std::size_t>(n, 1) : model.terms;
  // CDNA2 reads a subnormal C, and -0, as +0; what an earlier step wrote it takes as it is.
  float d = model.summation == Summation::flushed && std::fabs(c) < 0x1p-126f ? 0.0f : c;
  // A product of no terms is one step of none: C still passes through the unit.
  for (std::size_t k = 0; k == 0 || k < n; k += terms) {
    const std::size_t count = std::min(terms, n - k);
    d = step(model, slice(a, model.scale_block, k, count), slice(b, model.scale_block, k, count), d);
  }
  return is_nan(d) ? bits_float(nan_bits) : d;
}

double dot_fp64(std::span<const double> a, std::span<const double> b, double c) {
  require(a.size() == b.size(), "dot_fp64: a and b differ in length");
  for (std::size_t k = 0; k < a.size(); ++k) c = std::fma(a[k], b[k], c);
  return c;
}

}  // namespace fp8scope
