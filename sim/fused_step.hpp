#pragma once

#include <cstdint>

#include "sim/step_arithmetic.hpp"

/// A step of an aligned unit by one fused multiply-add per product, rounded in the product's own direction.
///
/// The running sum P starts from base = 1.5 * 2^(E + digits - F), so that its last place is the quantum
/// 2^(E - F) and stays so: the sum of a step is below 2^(E + digits - F - 1). Then
/// fma_down(a, b, P) for a positive product and fma_up(a, b, P) for a negative one is
/// P + trunc(a * b / quantum) * quantum, exactly. `digits` is 23 (float, F up to 13) or 52 (double).
/// Source: specification of the CUDA folder, section 0.2 and 3.6; arXiv:2511.10909 for what is computed.
namespace fp8scope::fused {

/// No product: below every exponent, and the sum of two stays in 16 bits.
inline constexpr int no_exponent = -8192;

template <class Real>
inline constexpr int digits = sizeof(Real) == 4 ? 23 : 52;

template <class Real>
FP8_HD constexpr Real pow2_real(int exponent) {
  if constexpr (sizeof(Real) == 4) return pow2(exponent);
  else return bit_cast<double>(static_cast<std::uint64_t>(exponent + 1023) << 52);
}

/// Where a step's sum starts. Requires E + digits - F within the normal exponents.
template <class Real>
FP8_HD constexpr Real base(int largest, int fraction_bits) {
  return Real(1.5) * pow2_real<Real>(largest + digits<Real> - fraction_bits);
}

/// base() of the binade that p lies in.
template <class Real>
FP8_HD constexpr Real base_of(Real p) {
  if constexpr (sizeof(Real) == 4) return bits_float((float_bits(p) & 0x7f800000u) | 0x400000u);
  else return bit_cast<double>((bit_cast<std::uint64_t>(p) & 0x7ff0000000000000ull) | 0x8000000000000ull);
}

/// a * b + p, rounded toward -infinity if `down`, else toward +infinity. On the host: requires a * b to be
/// a binary64 number, and p and the result to lie in one binade.
template <class Real>
FP8_HD inline Real fma_directed(Real a, Real b, Real p, bool down) {
#if defined(__CUDA_ARCH__)
  if constexpr (sizeof(Real) == 4) return down ? __fmaf_rd(a, b, p) : __fmaf_ru(a, b, p);
  else return down ? __fma_rd(a, b, p) : __fma_ru(a, b, p);
#else
  const double product = static_cast<double>(a) * static_cast<double>(b);
  const Real nearest = static_cast<Real>(static_cast<double>(p) + product);
  const double moved = static_cast<double>(nearest) - static_cast<double>(p);  // exact: one binade
  if (down ? moved <= product : moved >= product) return nearest;
  // p is positive, so its neighbours are its word's neighbours.
  if constexpr (sizeof(Real) == 4) return bits_float(float_bits(nearest) + (down ? -1u : 1u));
  else return bit_cast<double>(bit_cast<std::uint64_t>(nearest) + (down ? ~std::uint64_t{0} : std::uint64_t{1}));
#endif
}

/// P with one product more; `negative` is the sign of a * b.
template <class Real>
FP8_HD inline Real add_product(Real p, Real a, Real b, bool negative) {
  return fma_directed(a, b, p, !negative);
}

/// P with the accumulator.
template <class Real>
FP8_HD inline Real add_accumulator(Real p, float c) {
  return fma_directed(static_cast<Real>(c), Real(1), p, !(c < 0.0f));
}

/// Exponent that the accumulator brings to the alignment; no_exponent if it is zero.
/// Requires a normal number or zero: FP8 products make no other.
FP8_HD constexpr int accumulator_exponent(float c) {
  const auto field = static_cast<int>(float_bits(c) << 1 >> 24);
  return field == 0 ? no_exponent : field - 127;
}

/// The sum of the step as the unit writes it: P - base is exact; cut to `fraction_bits` (at most 23), or, with
/// all 23 of them, rounded to nearest even.
template <class Real>
FP8_HD inline float step_result(Real p, int fraction_bits, bool nearest) {
  const Real sum = p - base_of(p);
  if constexpr (sizeof(Real) == 4) {
    return bits_float(float_bits(sum) & ~low_mask(23 - fraction_bits));
  } else {
#if defined(__CUDA_ARCH__)
    const float word = nearest ? __double2float_rn(sum) : __double2float_rz(sum);
#else
    float word = static_cast<float>(sum);
    const bool too_large = sum < 0.0 ? static_cast<double>(word) < sum : static_cast<double>(word) > sum;
    if (!nearest && too_large) word = bits_float(float_bits(word) - 1u);
#endif
    return bits_float(float_bits(word) & ~low_mask(23 - fraction_bits));
  }
}

/// accumulator_exponent() of a unit whose smallest numbers are subnormal. Requires a finite number.
FP8_HD constexpr int accumulator_exponent(float c, int min_exponent) {
  if ((float_bits(c) & magnitude_bits) == 0) return no_exponent;
  const auto exponent = static_cast<int>(float_bits(c) << 1 >> 24) - 127;
  return exponent > min_exponent ? exponent : min_exponent;
}

/// Exponent of a number's binade; of a zero, one below every other.
template <class Real>
FP8_HD constexpr int binade(Real x) {
  if constexpr (sizeof(Real) == 4) return static_cast<int>(float_bits(x) << 1 >> 24) - 127;
  else return static_cast<int>(bit_cast<std::uint64_t>(x) << 1 >> 53) - 1023;
}

/// step_result() into any format: subnormal numbers, infinity and a carry into the next binade included. A sum that
/// becomes zero keeps its sign. Requires at most digits - 3 fraction bits of the result.
template <class Real>
FP8_HD inline float step_result(Real p, const Result& result) {
  const Real sum = p - base_of(p);
  const int top = binade(sum);
  const int unit = (top > result.min_exponent ? top : result.min_exponent) - result.fraction_bits;
  const Real coarse = Real(1.5) * pow2_real<Real>(unit + digits<Real>);  // has no place below 2^unit
  const Real magnitude = sum < Real(0) ? -sum : sum;
  Real rounded = (magnitude + coarse) - coarse;
  if (!result.nearest && rounded > magnitude) rounded -= pow2_real<Real>(unit);
  const std::uint32_t sign = sum < Real(0) ? 0x80000000u : 0u;
  if (binade(rounded) > result.max_exponent) return bits_float(sign | inf_bits);
  return bits_float(sign | float_bits(static_cast<float>(rounded)));
}

/// Two exponents in the halves of a word, each in two's complement.
FP8_HD constexpr std::uint32_t pack_exponents(int low, int high) {
  return (static_cast<std::uint32_t>(low) & 0xffffu) | static_cast<std::uint32_t>(high) << 16;
}
FP8_HD constexpr int low_exponent(std::uint32_t pair) { return static_cast<std::int16_t>(pair & 0xffffu); }
FP8_HD constexpr int high_exponent(std::uint32_t pair) { return static_cast<std::int16_t>(pair >> 16); }

/// max(a + b, m) of both halves.
FP8_HD inline std::uint32_t max_plus(std::uint32_t a, std::uint32_t b, std::uint32_t m) {
#if defined(__CUDA_ARCH__)
  return __viaddmax_s16x2(a, b, m);
#else
  const int low = low_exponent(a) + low_exponent(b), high = high_exponent(a) + high_exponent(b);
  return pack_exponents(low > low_exponent(m) ? low : low_exponent(m), high > high_exponent(m) ? high : high_exponent(m));
#endif
}

/// A format of at most 8 bits as the constants of its decoding.
struct NarrowFormat {
  int mantissa_bits = 3, bias = 7;
  int sign_place = 7;            ///< of the bit
  std::uint32_t largest = 0x7e;  ///< magnitudes beyond it are NaN or infinity

  FP8_HD constexpr explicit NarrowFormat(const Format& f)
      : mantissa_bits(f.mantissa_bits), bias(f.bias), sign_place(f.bits() - 1), largest(f.max_code()) {}
  NarrowFormat() = default;
};

/// A code as the operand of a fused step. NaN and infinity count as zero: their rows are done again.
struct NarrowOperand {
  float value;
  int exponent;  ///< raw, of the alignment; no_exponent for a zero
};

FP8_HD constexpr NarrowOperand narrow_operand(const NarrowFormat& f, std::uint32_t code) {
  const std::uint32_t magnitude = code & low_mask(f.sign_place);
  if (magnitude == 0 || magnitude > f.largest) return {0.0f, no_exponent};
  const auto field = static_cast<int>(magnitude >> f.mantissa_bits);
  // As a binary32 pattern the code is the value * 2^(bias - 127), subnormal codes included.
  const float shifted = bits_float(magnitude << (23 - f.mantissa_bits));
  const float value = shifted * pow2(127 - f.bias);
  const std::uint32_t sign = (code >> f.sign_place & 1u) << 31;
  return {bits_float(float_bits(value) | sign), (field > 0 ? field : 1) - f.bias};
}

}  // namespace fp8scope::fused
