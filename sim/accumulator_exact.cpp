// Sums in ordinary or exact arithmetic: the yardsticks, the FMA chains, CDNA1 and CDNA2.
#include <cmath>
#include <vector>

#include "sim/accumulator_steps.hpp"
#include "sim/exact_sum.hpp"

namespace fp8scope::accumulate {
namespace {

float round_exact(const Result& result, const ExactSum& sum, UnderflowSign sign) {
  const ExactSum::Rounded r = sum.leading_bits();
  return round_result(result, r.negative, r.magnitude, r.quantum, r.sticky, sign);
}

void add(ExactSum& sum, const Operand& x) {
  sum.add(x.significand, x.exponent - x.fraction, x.negative);
}

/// x, or a zero with its sign where x is subnormal.
float flush(float x) { return std::fabs(x) < 0x1p-126f ? std::copysign(0.0f, x) : x; }

/// Value of an input of CDNA2: subnormal numbers count as +0.
float flushed_value(const Operand& x) {
  const bool subnormal = x.kind == Kind::finite && x.significand >> x.fraction == 0;
  return subnormal ? 0.0f : operand_value(x);
}

/// Sum of p[0] .. p[n): halves first, the left one not longer.
float halves(const float* p, std::size_t n) {
  if (n == 1) return p[0];
  return halves(p, n / 2) + halves(p + n / 2, n - n / 2);
}

}  // namespace

float rounded_sum(const Result& result, float a, float b) {
  const float plain = a + b;
  if (!is_finite(a) || !is_finite(b) || plain == 0.0f || result.fraction_bits == 23)
    return is_nan(plain) ? bits_float(nan_bits) : plain;
  ExactSum sum;
  add(sum, unpack_code(fp32, float_bits(a)));
  add(sum, unpack_code(fp32, float_bits(b)));
  Result nearest = result;
  nearest.nearest = true;
  return round_exact(nearest, sum, UnderflowSign::kept);
}

// E-FDPA: section 2.6; with all of K in one step, the correctly rounded sum.
float exact_step(const Model& model, const Terms& a, const Terms& b, float c) {
  const Operand addend = unpack_code(fp32, float_bits(c));
  if (const auto special = special_result(a, b, addend)) return *special;
  ExactSum sum;
  add(sum, addend);
  for (std::size_t k = 0; k < a.values.size(); ++k) {
    Product p = multiply(a.values[k], b.values[k]);
    if (model.scale_block != 0) {
      const std::size_t block = k / static_cast<std::size_t>(model.scale_block);
      const Product s = multiply(a.scales[block], b.scales[block]);
      p.significand *= s.significand;
      p.exponent += s.exponent;
      p.fraction += s.fraction;
    }
    sum.add(p.significand, p.exponent - p.fraction, p.negative);
  }
  return round_exact(model.result, sum, model.underflow_sign);
}

// FTZ-AddMul: section 2.5.
float flushed_step(const Model&, const Terms& a, const Terms& b, float c) {
  std::vector<float> p(a.values.size());
  for (std::size_t k = 0; k < p.size(); ++k)
    p[k] = flush(flushed_value(a.values[k]) * flushed_value(b.values[k]));
  // Pairs of neighbours, then pairs of pairs.
  for (; p.size() > 1; p.resize((p.size() + 1) / 2)) {
    for (std::size_t i = 0; 2 * i < p.size(); ++i)
      p[i] = 2 * i + 1 < p.size() ? flush(p[2 * i] + p[2 * i + 1]) : p[2 * i];
  }
  return p.empty() ? c : flush(c + p[0]);
}

float fma_step(const Model&, const Terms& a, const Terms& b, float c) {
  for (std::size_t k = 0; k < a.values.size(); ++k)
    c = std::fma(operand_value(a.values[k]), operand_value(b.values[k]), c);
  return c;
}

float sequential_step(const Model&, const Terms& a, const Terms& b, float c) {
  for (std::size_t k = 0; k < a.values.size(); ++k)
    c += operand_value(a.values[k]) * operand_value(b.values[k]);
  return c;
}

float pairwise_step(const Model&, const Terms& a, const Terms& b, float c) {
  std::vector<float> p(a.values.size());
  for (std::size_t k = 0; k < p.size(); ++k)
    p[k] = operand_value(a.values[k]) * operand_value(b.values[k]);
  return p.empty() ? c : c + halves(p.data(), p.size());
}

float binary64_step(const Model&, const Terms& a, const Terms& b, float c) {
  double sum = c;
  // Products of binary32 numbers are exact in binary64.
  for (std::size_t k = 0; k < a.values.size(); ++k)
    sum += static_cast<double>(operand_value(a.values[k])) * operand_value(b.values[k]);
  return static_cast<float>(sum);
}

}  // namespace fp8scope::accumulate
