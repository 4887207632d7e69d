#pragma once

#include <bit>
#include <cstdint>
#include <vector>

#include "sim/convert.hpp"
#include "sim/format.hpp"

namespace fp8scope {

/// IEEE binary32 as a format value.
inline constexpr Format fp32{8, 23, 127, Specials::ieee};
inline constexpr Format tf32{8, 10, 127, Specials::ieee};

enum class Kind : std::uint8_t { finite, infinite, nan };

/// A number as a matrix unit sees it: (-1)^negative * significand * 2^(exponent - fraction).
/// Subnormal numbers and zeros keep the smallest exponent of their format and are not normalised:
/// that exponent is what the alignment of the products compares.
struct Operand {
  std::uint32_t significand;  ///< hidden one included
  std::int16_t exponent;
  std::uint8_t fraction;  ///< stored fraction bits of the format
  bool negative;
  Kind kind;
};

/// Operand of a code; Inf and NaN have significand 0.
FP8_HD constexpr Operand unpack_code(const Format& f, std::uint32_t code) {
  const bool negative = (code & f.sign_bit()) != 0;
  const std::uint32_t magnitude = code & f.magnitude_mask();
  const auto fraction = static_cast<std::uint8_t>(f.mantissa_bits);
  if (f.specials == Specials::fnuz && code == f.nan_code()) return {0, 0, fraction, false, Kind::nan};
  if (magnitude > f.max_code()) {
    const bool infinite = f.has_inf() && magnitude == f.inf_code();
    return {0, 0, fraction, negative, infinite ? Kind::infinite : Kind::nan};
  }
  const int field = static_cast<int>(magnitude >> f.mantissa_bits);
  const bool normal = field > 0 || !f.is_signed();
  const std::uint32_t significand =
      (normal ? 1u << f.mantissa_bits : 0u) | (magnitude & low_mask(f.mantissa_bits));
  const int exponent = (field > 0 || !f.is_signed() ? field : 1) - f.bias;
  return {significand, static_cast<std::int16_t>(exponent), fraction, negative, Kind::finite};
}

/// Operand of a scale code: the sign bit of UE4M3 is ignored by the hardware.
FP8_HD constexpr Operand unpack_scale(const Format& f, std::uint32_t code) {
  return unpack_code(f, code & f.magnitude_mask());
}

/// Operand of every code of a format of at most 16 bits, [f.codes()].
inline std::vector<Operand> operand_table(const Format& f) {
  std::vector<Operand> operands(f.codes());
  for (std::uint32_t code = 0; code < f.codes(); ++code) operands[code] = unpack_code(f, code);
  return operands;
}

/// Value of an operand, exactly; the NaN is quiet.
FP8_HD constexpr float operand_value(const Operand& x) {
  const std::uint32_t sign = x.negative ? 0x80000000u : 0u;
  if (x.kind == Kind::nan) return bits_float(0x7fc00000u);
  if (x.kind == Kind::infinite) return bits_float(sign | inf_bits);
  const float value = static_cast<float>(x.significand) * pow2(x.exponent - x.fraction);
  return bits_float(sign | float_bits(value));
}

}  // namespace fp8scope
