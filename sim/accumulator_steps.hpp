#pragma once

#include <algorithm>
#include <bit>
#include <cstdint>
#include <optional>

#include "sim/accumulator.hpp"

/// The steps of dot(), one function per kind of unit. Only accumulator*.cpp include this.
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

inline Product multiply(const Operand& a, const Operand& b) {
  return {static_cast<std::uint64_t>(a.significand) * b.significand, a.exponent + b.exponent,
          a.fraction + b.fraction, a.negative != b.negative};
}

/// Operand of C; one of a binary16 unit has binary16's smallest exponent.
inline Operand unpack_c(const Result& result, float c) {
  Operand x = unpack_code(fp32, float_bits(c));
  if (x.kind == Kind::finite && x.significand != 0 && x.exponent < result.min_exponent) {
    // Binary16's subnormal numbers are multiples of 2^-24: nothing is shifted out.
    x.significand >>= result.min_exponent - x.exponent;
    x.exponent = static_cast<std::int16_t>(result.min_exponent);
  }
  return x;
}

/// Requires v != 0.
inline int floor_log2(std::uint64_t v) { return static_cast<int>(std::bit_width(v)) - 1; }

/// v / 2^shift, the cut as `cut` says; a negative shift multiplies.
/// Requires v < 2^62 after a multiplication.
inline std::int64_t shift_term(std::uint64_t magnitude, bool negative, int shift, Cut cut) {
  std::uint64_t kept = magnitude;
  if (shift < 0) {
    kept <<= -shift;
  } else if (shift > 0) {
    const int places = std::min(shift, 63);
    kept = magnitude >> places;
    const std::uint64_t dropped = magnitude & ((std::uint64_t{1} << places) - 1);
    const std::uint64_t half = std::uint64_t{1} << (places - 1);
    if (cut == Cut::floor && negative && dropped != 0) ++kept;
    if (cut == Cut::nearest_even && dropped + (kept & 1u) > half) ++kept;
  }
  return negative ? -static_cast<std::int64_t>(kept) : static_cast<std::int64_t>(kept);
}

/// floor(v / 2^shift). Requires shift >= 0.
inline std::int64_t floor_shift(std::int64_t v, int shift) { return v >> std::min(shift, 63); }

/// magnitude * 2^quantum, plus less than a unit if `sticky`, rounded to `result`.
float round_result(const Result& result, bool negative, std::uint64_t magnitude, int quantum,
                   bool sticky, UnderflowSign sign);

inline float round_result(const Model& model, std::int64_t sum, int quantum) {
  const auto magnitude = static_cast<std::uint64_t>(sum < 0 ? -sum : sum);
  return round_result(model.result, sum < 0, magnitude, quantum, false, model.underflow_sign);
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
