#pragma once

#include <cstdint>

#include "sim/device.hpp"

namespace fp8scope {

/// Same bits, other type. std::bit_cast, but callable from device code without a compiler flag.
template <class To, class From>
FP8_HD constexpr To bit_cast(From value) {
  static_assert(sizeof(To) == sizeof(From));
  return __builtin_bit_cast(To, value);
}

FP8_HD constexpr std::uint32_t float_bits(float x) { return bit_cast<std::uint32_t>(x); }
FP8_HD constexpr float bits_float(std::uint32_t word) { return bit_cast<float>(word); }

inline constexpr std::uint32_t magnitude_bits = 0x7fffffffu;  ///< all of a binary32 but its sign
inline constexpr std::uint32_t inf_bits = 0x7f800000u;        ///< pattern of +infinity

FP8_HD constexpr bool is_nan(float x) { return (float_bits(x) & magnitude_bits) > inf_bits; }
FP8_HD constexpr bool is_finite(float x) { return (float_bits(x) & magnitude_bits) < inf_bits; }

/// 2^exponent, exactly. Requires -149 <= exponent <= 127; below -126 the result is subnormal.
FP8_HD constexpr float pow2(int exponent) {
  return bits_float(exponent >= -126 ? static_cast<std::uint32_t>(exponent + 127) << 23
                                     : 1u << (exponent + 149));
}

/// Low `count` bits set. Requires 0 <= count <= 32.
FP8_HD constexpr std::uint32_t low_mask(int count) {
  return count >= 32 ? 0xffffffffu : (1u << count) - 1u;
}

}  // namespace fp8scope
