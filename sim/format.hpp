#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "sim/bits.hpp"

namespace fp8scope {

/// How a format spends the codes beyond its finite values.
enum class Specials : std::uint8_t {
  ieee,    ///< the top exponent holds infinity and NaNs (E5M2, bf16)
  fn,      ///< only the all-ones magnitude is NaN; no infinity (E4M3)
  fnuz,    ///< the code of -0 is the one NaN; no infinity, no -0 (AMD CDNA3, Graphcore)
  finite,  ///< no infinity, no NaN (E2M3, E3M2, E2M1)
  scale,   ///< unsigned power of two: no sign, no zero, all-ones is NaN (E8M0)
};

/// A binary floating-point format whose every value is a binary32 number.
/// A plain value: compare it, print it, pass it to a kernel. All else follows from these four.
/// Source: OCP 8-bit Floating Point (OFP8) 1.0, OCP Microscaling (MX) 1.0, arXiv:2206.02915 (FNUZ).
struct Format {
  int exponent_bits;
  int mantissa_bits;  ///< stored bits; the leading 1 is not among them
  int bias;
  Specials specials;

  friend constexpr bool operator==(const Format&, const Format&) = default;

  FP8_HD constexpr bool is_signed() const { return specials != Specials::scale; }
  FP8_HD constexpr int bits() const { return (is_signed() ? 1 : 0) + exponent_bits + mantissa_bits; }
  /// Codes there are, sign included. Requires bits() < 32.
  FP8_HD constexpr std::uint32_t codes() const { return 1u << bits(); }
  FP8_HD constexpr std::uint32_t magnitude_mask() const {
    return low_mask(exponent_bits + mantissa_bits);
  }
  FP8_HD constexpr std::uint32_t sign_bit() const {
    return is_signed() ? 1u << (exponent_bits + mantissa_bits) : 0u;
  }
  FP8_HD constexpr bool has_inf() const { return specials == Specials::ieee; }
  FP8_HD constexpr bool has_nan() const { return specials != Specials::finite; }
  FP8_HD constexpr bool has_negative_zero() const {
    return is_signed() && specials != Specials::fnuz;
  }
  /// Code of +infinity. Requires has_inf().
  FP8_HD constexpr std::uint32_t inf_code() const {
    return magnitude_mask() & ~low_mask(mantissa_bits);
  }
  /// The NaN with every bit set but the sign; of FNUZ, its one NaN. Requires has_nan().
  FP8_HD constexpr std::uint32_t nan_code() const {
    return specials == Specials::fnuz ? sign_bit() : magnitude_mask();
  }
  /// Code of the largest finite value.
  FP8_HD constexpr std::uint32_t max_code() const {
    if (specials == Specials::ieee) return inf_code() - 1u;
    if (specials == Specials::fn || specials == Specials::scale) return magnitude_mask() - 1u;
    return magnitude_mask();
  }
  /// Exponent of the smallest normal value; of a scale format, of its smallest value.
  FP8_HD constexpr int min_exponent() const {
    return specials == Specials::scale ? -bias : 1 - bias;
  }
  /// Largest finite value, exactly (MAX of the recipes).
  FP8_HD constexpr float max_value() const;
  /// Exponent of the largest power of two that is a value of the format (EMAX of OCP MX).
  FP8_HD constexpr int max_exponent() const {
    const auto field = static_cast<int>(max_code() >> mantissa_bits);
    return (field > 0 || !is_signed() ? field : 1) - bias;
  }
};

FP8_HD constexpr float Format::max_value() const {
  const std::uint32_t code = max_code();
  const bool normal = (code >> mantissa_bits) > 0 || !is_signed();
  const std::uint32_t significand = (normal ? 1u << mantissa_bits : 0u) | (code & low_mask(mantissa_bits));
  // The integer has at most 24 bits and the power is in range, so the product is exact.
  return static_cast<float>(significand) * pow2(max_exponent() - mantissa_bits);
}

struct NamedFormat {
  std::string_view name;  ///< as written on the command line and in result files
  Format format;
  std::string_view torch_name;  ///< `encoding` attribute of raw codes in HDF5; "" if torch has none
  std::string_view source;
};

inline constexpr Format e4m3{4, 3, 7, Specials::fn};
inline constexpr Format e5m2{5, 2, 15, Specials::ieee};
inline constexpr Format e8m0{8, 0, 127, Specials::scale};
inline constexpr Format bf16{8, 7, 127, Specials::ieee};
inline constexpr Format fp16{5, 10, 15, Specials::ieee};

/// Every format that has a name. To add one, add a row.
inline constexpr NamedFormat formats[] = {
    {"e4m3", e4m3, "float8_e4m3fn", "OCP OFP8 1.0"},
    {"e5m2", e5m2, "float8_e5m2", "OCP OFP8 1.0"},
    {"e4m3fnuz", {4, 3, 8, Specials::fnuz}, "float8_e4m3fnuz", "arXiv:2206.02915, AMD CDNA3"},
    {"e5m2fnuz", {5, 2, 16, Specials::fnuz}, "float8_e5m2fnuz", "arXiv:2206.02915, AMD CDNA3"},
    {"e4m3b11fnuz", {4, 3, 11, Specials::fnuz}, "float8_e4m3b11fnuz", "ml_dtypes"},
    {"e3m4", {3, 4, 3, Specials::ieee}, "float8_e3m4", "ml_dtypes"},
    {"e4m3_ieee", {4, 3, 7, Specials::ieee}, "float8_e4m3", "ml_dtypes"},
    {"e2m3", {2, 3, 1, Specials::finite}, "float6_e2m3fn", "OCP MX 1.0"},
    {"e3m2", {3, 2, 3, Specials::finite}, "float6_e3m2fn", "OCP MX 1.0"},
    {"e2m1", {2, 1, 1, Specials::finite}, "float4_e2m1fn", "OCP MX 1.0"},
    {"e8m0", e8m0, "float8_e8m0fnu", "OCP MX 1.0"},
    {"e5m6", {5, 6, 15, Specials::ieee}, "", "arXiv:2412.19437 section 3.3"},
    {"bf16", bf16, "bfloat16", "arXiv:1905.12322"},
    {"fp16", fp16, "float16", "IEEE 754-2019 binary16"},
    {"tf32", {8, 10, 127, Specials::ieee}, "", "NVIDIA A100 whitepaper"},
};

/// The format called `name`, or the one it spells: e<X>m<Y>[b<bias>][ieee|fn|fnuz|finite], where the
/// bias is 2^(X-1)-1 and the specials are ieee unless written. Names of the table come first, so
/// "e4m3" is the OCP format.
///
/// Throws UnknownName if neither fits, std::invalid_argument if some value would not be a binary32
/// number.
Format parse_format(std::string_view name);

/// The table's name of `f`, else its spelling in the grammar of parse_format().
std::string format_name(const Format& f);

/// "ieee", "fn", "fnuz", "finite", "scale".
std::string_view specials_name(Specials specials);

}  // namespace fp8scope
