#pragma once

#include <cstdint>

#include "sim/bits.hpp"

namespace fp8scope {

/// Value of a bfloat16 pattern, exactly: decode(bf16, bits) but for the payload of a NaN.
FP8_HD constexpr float bf16_value(std::uint32_t bits) { return bits_float(bits << 16); }

/// Value of a binary16 pattern, exactly: decode(fp16, bits) but for the payload of a NaN.
FP8_HD constexpr float fp16_value(std::uint32_t bits) {
  const std::uint32_t magnitude = bits & 0x7fffu;
  // As a binary32 pattern the magnitude is 2^112 too small, subnormals included.
  const std::uint32_t finite = float_bits(bits_float(magnitude << 13) * pow2(112));
  const std::uint32_t value = magnitude >= 0x7c00u ? inf_bits | magnitude << 13 : finite;
  return bits_float(value | (bits & 0x8000u) << 16);
}

}  // namespace fp8scope
