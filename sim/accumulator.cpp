#include "sim/accumulator.hpp"

#include <cmath>

#include "sim/accumulator_steps.hpp"
#include "sim/require.hpp"

namespace fp8scope {
namespace accumulate {

float round_result(const Result& result, bool negative, std::uint64_t magnitude, int quantum,
                   bool sticky, UnderflowSign sign) {
  if (magnitude == 0) return 0.0f;
  const int top = floor_log2(magnitude) + quantum;
  const int unit = std::max(top, result.min_exponent) - result.fraction_bits;
  int shift = unit - quantum;
  std::uint64_t kept = magnitude;
  if (shift <= 0) {
    kept <<= -shift;
  } else {
    if (shift > 62) {  // less than a unit in either case: room for the half below
      const int places = std::min(shift - 62, 63);
      sticky |= (magnitude & ((std::uint64_t{1} << places) - 1)) != 0;
      magnitude >>= places;
      shift = 62;
    }
    kept = magnitude >> shift;
    const std::uint64_t dropped = magnitude & ((std::uint64_t{1} << shift) - 1);
    const std::uint64_t half = std::uint64_t{1} << (shift - 1);
    const bool tie_up = sticky || (kept & 1u) != 0;
    if (result.nearest && (dropped > half || (dropped == half && tie_up))) ++kept;
  }
  if (kept == 0) return negative && sign == UnderflowSign::kept ? -0.0f : 0.0f;
  const std::uint32_t sign_bit = negative ? 0x80000000u : 0u;
  if (floor_log2(kept) + unit > result.max_exponent) return bits_float(sign_bit | inf_bits);
  const float value = static_cast<float>(kept) * pow2(unit);
  return bits_float(sign_bit | float_bits(value));
}

std::optional<float> special_result(const Terms& a, const Terms& b, const Operand& c) {
  bool nan = c.kind == Kind::nan, positive = false, negative = false;
  const auto infinity = [&](bool is_negative) { (is_negative ? negative : positive) = true; };
  if (c.kind == Kind::infinite) infinity(c.negative);
  for (const Operand& s : a.scales) nan |= s.kind == Kind::nan;
  for (const Operand& s : b.scales) nan |= s.kind == Kind::nan;
  for (std::size_t k = 0; k < a.values.size(); ++k) {
    const Operand &x = a.values[k], &y = b.values[k];
    if (x.kind == Kind::finite && y.kind == Kind::finite) continue;
    const bool zero_times_infinity = (x.kind == Kind::finite && x.significand == 0) ||
                                     (y.kind == Kind::finite && y.significand == 0);
    if (x.kind == Kind::nan || y.kind == Kind::nan || zero_times_infinity) nan = true;
    else infinity(x.negative != y.negative);
  }
  if (nan || (positive && negative)) return bits_float(nan_bits);
  if (positive || negative) return bits_float(inf_bits | (negative ? 0x80000000u : 0u));
  return std::nullopt;
}

namespace {

/// Exponent that a pair of scales adds to the products of index k.
int scale_exponent(const Model& model, const Terms& a, const Terms& b, std::size_t k) {
  if (model.scale_block == 0) return 0;
  const std::size_t block = k / static_cast<std::size_t>(model.scale_block);
  return a.scales[block].exponent + b.scales[block].exponent;
}

/// MMA-Sim v1 gives a zero the exponent -126, in whatever format.
int counted_exponent(const Operand& x) { return x.significand == 0 ? -126 : x.exponent; }

/// E: the exponent of the quantum is E - F.
int largest_exponent(const Model& model, const Terms& a, const Terms& b, const Operand& c) {
  const bool counted = model.zero_factors == ZeroFactors::counted;
  int largest = counted ? -126 : model.floor_exponent;
  if (c.significand != 0) largest = std::max<int>(largest, c.exponent);
  for (std::size_t k = 0; k < a.values.size(); ++k) {
    const Operand &x = a.values[k], &y = b.values[k];
    if (counted)
      largest = std::max(largest, counted_exponent(x) + counted_exponent(y));
    else if (x.significand != 0 && y.significand != 0)
      largest = std::max(largest, x.exponent + y.exponent + scale_exponent(model, a, b, k));
  }
  return largest;
}

}  // namespace

// T-FDPA and, with scales, ST-FDPA: sections 2.1 and 2.2.
float aligned_step(const Model& model, const Terms& a, const Terms& b, float c) {
  const bool outside = model.join == Join::outside;
  const Operand addend = unpack_c(model.result, outside ? 0.0f : c);
  if (const auto special = special_result(a, b, addend))
    return outside ? rounded_sum(model.result, *special, c) : *special;
  const int quantum = largest_exponent(model, a, b, addend) - model.fraction_bits;
  std::int64_t sum = shift_term(addend.significand, addend.negative,
                                quantum - (addend.exponent - addend.fraction), model.cut);
  for (std::size_t k = 0; k < a.values.size(); ++k) {
    const Product p = multiply(a.values[k], b.values[k]);
    if (p.significand == 0) continue;
    const int unit = p.exponent + scale_exponent(model, a, b, k) - p.fraction;
    sum += shift_term(p.significand, p.negative, quantum - unit, model.cut);
  }
  const float d = round_result(model, sum, quantum);
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
