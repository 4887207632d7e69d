#pragma once

#include <cstdint>

#include "sim/accumulator.hpp"

/// The arithmetic inside one step of a matrix unit, for the CPU and for kernels.
namespace fp8scope::accumulate {

inline constexpr std::uint32_t nan_bits = 0x7fffffffu;

/// A product, exactly: (-1)^negative * significand * 2^(exponent - fraction). Never renormalised,
/// so `exponent` may be one less than that of the value.
struct Product {
  std::uint64_t significand;
  int exponent;
  int fraction;
  bool negative;
};

FP8_HD constexpr Product multiply(const Operand& a, const Operand& b) {
  return {static_cast<std::uint64_t>(a.significand) * b.significand, a.exponent + b.exponent,
          a.fraction + b.fraction, a.negative != b.negative};
}

/// Operand of C; one of a binary16 unit has binary16's smallest exponent.
FP8_HD constexpr Operand unpack_c(const Result& result, float c) {
  constexpr Format word = fp32;  // device code has no address of the global
  Operand x = unpack_code(word, float_bits(c));
  if (x.kind == Kind::finite && x.significand != 0 && x.exponent < result.min_exponent) {
    // Binary16's subnormal numbers are multiples of 2^-24: nothing is shifted out.
    x.significand >>= result.min_exponent - x.exponent;
    x.exponent = static_cast<std::int16_t>(result.min_exponent);
  }
  return x;
}

/// Requires v != 0.
FP8_HD constexpr int floor_log2(std::uint64_t v) { return 63 - __builtin_clzll(v); }

/// v / 2^shift, the cut as `cut` says; a negative shift multiplies.
/// Requires v < 2^62 after a multiplication.
FP8_HD constexpr std::int64_t shift_term(std::uint64_t magnitude, bool negative, int shift, Cut cut) {
  std::uint64_t kept = magnitude;
  if (shift < 0) {
    kept <<= -shift;
  } else if (shift > 0) {
    const int places = shift < 63 ? shift : 63;
    kept = magnitude >> places;
    const std::uint64_t dropped = magnitude & ((std::uint64_t{1} << places) - 1);
    const std::uint64_t half = std::uint64_t{1} << (places - 1);
    if (cut == Cut::floor && negative && dropped != 0) ++kept;
    if (cut == Cut::nearest_even && dropped + (kept & 1u) > half) ++kept;
  }
  return negative ? -static_cast<std::int64_t>(kept) : static_cast<std::int64_t>(kept);
}

/// floor(v / 2^shift). Requires shift >= 0.
FP8_HD constexpr std::int64_t floor_shift(std::int64_t v, int shift) { return v >> (shift < 63 ? shift : 63); }

/// magnitude * 2^quantum, plus less than a unit if `sticky`, rounded to `result`.
FP8_HD constexpr float round_result(const Result& result, bool negative, std::uint64_t magnitude, int quantum,
                                    bool sticky, UnderflowSign sign) {
  if (magnitude == 0) return 0.0f;
  const int top = floor_log2(magnitude) + quantum;
  const int unit = (top > result.min_exponent ? top : result.min_exponent) - result.fraction_bits;
  int shift = unit - quantum;
  std::uint64_t kept = magnitude;
  if (shift <= 0) {
    kept <<= -shift;
  } else {
    if (shift > 62) {  // less than a unit in either case: room for the half below
      const int places = shift - 62 < 63 ? shift - 62 : 63;
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

FP8_HD constexpr float round_result(const Model& model, std::int64_t sum, int quantum) {
  const auto magnitude = static_cast<std::uint64_t>(sum < 0 ? -sum : sum);
  return round_result(model.result, sum < 0, magnitude, quantum, false, model.underflow_sign);
}

/// NaN and infinity among the terms of a step.
struct SpecialTerms {
  bool nan = false, positive = false, negative = false;

  FP8_HD constexpr void add_infinity(bool is_negative) {
    if (is_negative) negative = true;
    else positive = true;
  }
  FP8_HD constexpr void add_c(const Operand& c) {
    nan |= c.kind == Kind::nan;
    if (c.kind == Kind::infinite) add_infinity(c.negative);
  }
  FP8_HD constexpr void add_product(const Operand& x, const Operand& y) {
    if (x.kind == Kind::finite && y.kind == Kind::finite) return;
    const bool zero_times_infinity = (x.kind == Kind::finite && x.significand == 0) ||
                                     (y.kind == Kind::finite && y.significand == 0);
    if (x.kind == Kind::nan || y.kind == Kind::nan || zero_times_infinity) nan = true;
    else add_infinity(x.negative != y.negative);
  }
  FP8_HD constexpr bool any() const { return nan || positive || negative; }
  /// Of the step. Requires any().
  FP8_HD constexpr float result() const {
    if (nan || (positive && negative)) return bits_float(nan_bits);
    return bits_float(inf_bits | (negative ? 0x80000000u : 0u));
  }
};

/// MMA-Sim v1 gives a zero the exponent -126, in whatever format.
FP8_HD constexpr int counted_exponent(const Operand& x) { return x.significand == 0 ? -126 : x.exponent; }

/// One step of an aligned model with C inside: T-FDPA, and with scales ST-FDPA.
///
/// a, b             operands of index 0 .. count - 1: Operand f(index)
/// scale_exponent   what the pair of scales of an index adds to its product's exponent: int f(index)
/// special          of the products and their scales; c's is found here
/// Source: specification of matrix units, sections 2.1 and 2.2.
template <class A, class B, class ScaleExponent>
FP8_HD constexpr float aligned_terms(const Model& model, const A& a, const B& b, const ScaleExponent& scale_exponent,
                                     std::size_t count, SpecialTerms special, const Operand& c) {
  special.add_c(c);
  const bool counted = model.zero_factors == ZeroFactors::counted;
  int largest = counted ? -126 : model.floor_exponent;
  if (c.significand != 0 && c.exponent > largest) largest = c.exponent;
  for (std::size_t k = 0; k < count; ++k) {
    const Operand x = a(k), y = b(k);
    special.add_product(x, y);
    int exponent = largest;
    if (counted) exponent = counted_exponent(x) + counted_exponent(y);
    else if (x.significand != 0 && y.significand != 0) exponent = x.exponent + y.exponent + scale_exponent(k);
    if (exponent > largest) largest = exponent;
  }
  if (special.any()) return special.result();
  const int quantum = largest - model.fraction_bits;
  std::int64_t sum = shift_term(c.significand, c.negative, quantum - (c.exponent - c.fraction), model.cut);
  for (std::size_t k = 0; k < count; ++k) {
    const Product p = multiply(a(k), b(k));
    if (p.significand == 0) continue;
    const int unit = p.exponent + scale_exponent(k) - p.fraction;
    sum += shift_term(p.significand, p.negative, quantum - unit, model.cut);
  }
  return round_result(model, sum, quantum);
}

inline constexpr std::size_t group_terms = 16;  ///< products that are summed exactly before scaling
inline constexpr std::size_t sub_terms = 4;     ///< the same in tcgen05-model's description
inline constexpr int guard_places = 4;          ///< its window is this much lower under large elements

/// Exponent of the quantum of a step of scale groups.
template <class A, class B, class Scale>
FP8_HD constexpr int group_quantum(const Model& model, const A& a, const B& b, const Scale& scale, std::size_t count,
                                   const Operand& c) {
  int scales = model.floor_exponent, elements = model.floor_exponent;
  for (std::size_t first = 0; first < count; first += group_terms) {
    bool any = false;  // some product is not zero
    int largest = 0;   // exponent of those
    for (std::size_t k = first; k < first + group_terms && k < count; ++k) {
      const Product p = multiply(a(k), b(k));
      if (p.significand == 0) continue;
      if (!any || p.exponent > largest) largest = p.exponent;
      any = true;
    }
    const Product s = scale(first);
    if (!any || s.significand == 0) continue;
    if (s.exponent > scales) scales = s.exponent;
    if (s.exponent + largest > elements) elements = s.exponent + largest;
  }
  const int of_c = c.significand != 0 ? c.exponent : model.floor_exponent;
  if (model.window == Window::scales) return (scales > of_c ? scales : of_c) - model.fraction_bits;
  if (of_c >= elements) return of_c - model.fraction_bits;
  return (elements - guard_places > scales ? elements - guard_places : scales) - model.fraction_bits;
}

/// One step of a grouped model: GST-FDPA.
///
/// a, b     operands of index 0 .. count - 1: Operand f(index)
/// scale    product of the pair of scales of an index: Product f(index)
/// special  of the scales; the products' and c's are found here
/// Source: specification of matrix units, section 2.3.
template <class A, class B, class Scale>
FP8_HD constexpr float grouped_terms(const Model& model, const A& a, const B& b, const Scale& scale, std::size_t count,
                                     SpecialTerms special, const Operand& c) {
  special.add_c(c);
  for (std::size_t k = 0; k < count; ++k) special.add_product(a(k), b(k));
  if (special.any()) return special.result();
  const int quantum = group_quantum(model, a, b, scale, count, c);
  std::int64_t total = shift_term(c.significand, c.negative, quantum - (c.exponent - c.fraction), model.cut);
  const std::size_t together = model.window == Window::scales ? group_terms : sub_terms;
  for (std::size_t first = 0; first < count; first += together) {
    std::int64_t sum = 0;
    int fraction = 0;
    for (std::size_t k = first; k < first + together && k < count; ++k) {
      const Product p = multiply(a(k), b(k));
      fraction = p.fraction;
      // Every element has at least the smallest exponent of its format, 0 for E2M1: no bit is lost.
      const auto term = static_cast<std::int64_t>(p.significand << p.exponent);
      sum += p.negative ? -term : term;
    }
    const Product s = scale(first);
    const auto magnitude = static_cast<std::uint64_t>(sum < 0 ? -sum : sum) * s.significand;
    total += shift_term(magnitude, sum < 0, quantum - (s.exponent - fraction - s.fraction), model.cut);
  }
  return round_result(model, total, quantum);
}

}  // namespace fp8scope::accumulate
