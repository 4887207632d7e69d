#pragma once

#include <cstdint>

#include "sim/convert.hpp"
#include "sim/scale_primitives.hpp"

namespace fp8scope {

/// The two numbers of a block: codes are encode(x * scale), values are decode(code) * scale_inv.
/// A recipe chooses both, because fl(1 / fl(MAX/amax)) differs from fl(amax/MAX) for many amaxes.
/// Of a recipe that divides (Apply::divide), `scale` is the divisor: codes are encode(x / scale).
struct Scales {
  float scale = 1.0f;      ///< quantise multiplier, or divisor
  float scale_inv = 1.0f;  ///< dequantise factor

  friend constexpr bool operator==(const Scales&, const Scales&) = default;
};

/// What becomes of an element before it is encoded.
enum class Apply : std::uint8_t {
  multiply,  ///< fl(x * scale)
  divide,    ///< fl(x / scale)
};

FP8_HD constexpr float scaled(Apply apply, float x, float scale) {
  return apply == Apply::multiply ? x * scale : x / scale;
}

/// Both numbers of an E8M0 code c: scale 2^(127-c), scale_inv 2^(c-127); NaN for 255.
FP8_HD constexpr Scales e8m0_scales(std::uint32_t code) {
  if (code == 255u) return {bits_float(0x7fc00000u), bits_float(0x7fc00000u)};
  return {e8m0_reciprocal(code), pow2(static_cast<int>(code) - 127)};
}

/// E8M0 code of a power of two that e8m0_scales() made.
FP8_HD constexpr std::uint32_t e8m0_code(float scale_inv) {
  return is_nan(scale_inv) ? 255u : float_bits(scale_inv) << 1 >> 24;
}

/// How an online recipe turns the amax of a block into its scales: a value, so that the CPU, its
/// vector kernels and the GPU run the same rule. Which of the fields count, `kind` says.
///
/// Rules of two levels also need the amax of the tensor (or of a row): with_tensor_amax().
struct ScaleRule {
  enum class Kind : std::uint8_t {
    te,               ///< P1, scale_inv = fl(1/scale)
    quotient,         ///< scale_inv = amax/max as `quotient` says, scale as `multiplier` says
    torchao,          ///< P10, scale_inv = fl(1/scale)
    msamp,            ///< P11 with previous scale 1
    e8m0_ceil,        ///< P3 of fl(amax * fl(1/max)): round the quotient up
    e8m0_floor,       ///< P4 of amax
    e8m0_ceil_of_amax,///< P5 of amax
    e8m0_even,        ///< P6 of amax
    nvfp4,            ///< E4M3 block factor below a binary32 tensor factor, Transformer Engine
    nvfp4_torchao,    ///< the same as torchao's tensor computes it
    moss,             ///< E8M0 factor below a binary32 tensor factor
    fixed,            ///< scale 1
  };
  /// quotient: how scale_inv = amax / max is computed.
  enum class Quotient : std::uint8_t {
    division,    ///< fl(amax / max)
    reciprocal,  ///< fl(amax * fl(1/max)): PyTorch on CUDA, DeepEP, SGLang
  };
  /// quotient: what x is multiplied with, or divided by.
  enum class Multiplier : std::uint8_t {
    inverse,         ///< fl(1/scale_inv)
    max_over_amax,   ///< fl(max/amax); with pow2 the exact inverse
    max_over_amax_always,  ///< fl(max/amax), also where scale_inv was rounded to a power of two
    reciprocal_max,  ///< fl(fl(1/amax) * max)
    divisor,         ///< scale_inv itself: x is divided
  };

  Kind kind = Kind::te;
  Quotient quotient = Quotient::division;
  Multiplier multiplier = Multiplier::inverse;
  Pow2 pow2 = Pow2::none;
  float max = 448.0f;                 ///< largest value of the element format
  float floor = 0.0f;                 ///< smallest amax that counts, or what is added to it
  bool add_floor = false;
  float scale_floor = 0.0f;           ///< quotient: smallest scale_inv
  float big = float_max;              ///< te: what an infinite quotient becomes
  bool zero_for_infinity = false;     ///< te: an infinite amax gives scale 0 (the Python reference), not 1
  int max_exponent = 8;               ///< E8M0: EMAX of the element format
  int mantissa_bits = 3;              ///< e8m0_even: of the element format
  int exponent_limit = 127;           ///< E8M0: scales beyond 2^limit are NaN, below 2^-limit are 2^-limit
  std::uint32_t infinity_code = 254;  ///< e8m0_ceil: code of an infinite amax
  bool old_reciprocal = false;        ///< E8M0: TransformerEngine's before 2.13
  bool flush_subnormal = false;       ///< E8M0: blocks whose amax is below 2^-126 become zeros
  bool bf16_store = false;            ///< scale_inv is rounded to bfloat16 on its way to memory
  bool unit_tensor_factor = false;    ///< nvfp4_torchao: one level, the tensor factor is 1
  bool old_order = false;             ///< nvfp4: fl(fl(amax/6) * S_enc), before 2.15
  bool bf16_multiplier = false;       ///< nvfp4: the fast-math option
  float block_max = 448.0f;           ///< nvfp4: largest block factor aimed at (448, or 256)
  float block_boost = 1.0f;           ///< nvfp4: 1.5 maps the block's amax to 4 instead of 6

  // Of two levels, made by with_tensor_amax():
  float tensor_amax = 0.0f;
  float encode = 1.0f;   ///< nvfp4: S_enc; moss, nvfp4_torchao: the tensor factor
  float decode = 1.0f;   ///< fl(1/encode)

  friend constexpr bool operator==(const ScaleRule&, const ScaleRule&) = default;

  FP8_HD constexpr bool two_levels() const {
    return kind == Kind::nvfp4 || kind == Kind::moss || (kind == Kind::nvfp4_torchao && !unit_tensor_factor);
  }
};

/// The rule with the amax of the tensor (or row) that its blocks lie in.
FP8_HD constexpr ScaleRule with_tensor_amax(ScaleRule rule, float amax) {
  rule.tensor_amax = amax;
  if (rule.kind == ScaleRule::Kind::nvfp4) {
    const float top = rule.max * rule.block_max;  // 6 * 448
    rule.encode = amax == 0.0f ? 1.0f : top / amax;
    if (rule.encode > float_max) rule.encode = float_max;
    if (rule.encode == 0.0f) rule.encode = 1.0f;
    rule.decode = 1.0f / rule.encode;
  } else if (rule.kind == ScaleRule::Kind::nvfp4_torchao && !rule.unit_tensor_factor) {
    rule.encode = amax / (rule.max * rule.block_max);
    rule.decode = 1.0f / rule.encode;
  } else if (rule.kind == ScaleRule::Kind::moss) {
    const float counted = amax < rule.floor ? rule.floor : amax;
    rule.encode = counted == 0.0f ? 1.0f : counted / rule.max;
    rule.decode = 1.0f / rule.encode;
    if (rule.decode > float_max) rule.decode = float_max, rule.encode = 1.0f / float_max;
  }
  return rule;
}

/// MOSS: E8M0 code of fl(fl(amax/max) / S) rounded up, but none so small that decode * 2^(127-c) were infinite: a
/// block of zeros would become NaN by it.
FP8_HD constexpr std::uint32_t moss_code(const ScaleRule& rule, float amax) {
  const std::uint32_t code = e8m0_ceil(amax / rule.max / rule.encode, rule.infinity_code);
  const int lowest = static_cast<int>(float_bits(rule.decode) >> 23) - 127;
  return static_cast<int>(code) < lowest ? static_cast<std::uint32_t>(lowest) : code;
}

/// E8M0 code of a block by the rules that store one.
FP8_HD constexpr std::uint32_t e8m0_code_of(const ScaleRule& rule, float amax) {
  using Kind = ScaleRule::Kind;
  std::uint32_t code = 0;
  switch (rule.kind) {
    case Kind::e8m0_ceil: code = e8m0_ceil(amax * (1.0f / rule.max), rule.infinity_code); break;
    case Kind::e8m0_floor: code = e8m0_floor(amax, rule.max_exponent); break;
    case Kind::e8m0_ceil_of_amax: code = e8m0_ceil_of_amax(amax, rule.max_exponent); break;
    case Kind::moss: return moss_code(rule, amax);
    default: code = e8m0_even(amax, rule.mantissa_bits, rule.max_exponent); break;
  }
  if (rule.exponent_limit == 127 || code == 255u) return code;
  const int exponent = static_cast<int>(code) - 127;
  if (exponent > rule.exponent_limit) return 255u;
  return exponent < -rule.exponent_limit ? static_cast<std::uint32_t>(127 - rule.exponent_limit) : code;
}

/// The E4M3 value nearest to x, by one addition: decode(encode(x)) for x >= 0 or NaN.
FP8_HD constexpr float round_to_e4m3(float x) {
  if (!(x < 448.0f)) return is_nan(x) ? x : 448.0f;
  const std::uint32_t exponent = float_bits(x) & inf_bits;
  const float magic = bits_float((exponent > 0x3c800000u ? exponent : 0x3c800000u) + (20u << 23));  // 2^-6 at least
  return (x + magic) - magic;
}

/// The factor that an NVFP4 block would have if E4M3 held every number.
FP8_HD constexpr float nvfp4_wanted_factor(const ScaleRule& rule, float amax) {
  if (rule.kind == ScaleRule::Kind::nvfp4_torchao) {
    float wanted = amax / rule.max;
    if (!rule.unit_tensor_factor) wanted = wanted / rule.encode;
    return wanted < 0x1p-6f ? 0x1p-6f : wanted > 448.0f ? 448.0f : wanted;
  }
  float wanted = rule.old_order ? amax / rule.max * rule.encode : amax * (rule.encode * (1.0f / rule.max));
  if (rule.block_boost != 1.0f) wanted = wanted * rule.block_boost;
  return wanted > float_max ? float_max : wanted;
}

/// E4M3 code of an NVFP4 block's factor.
FP8_HD constexpr std::uint32_t nvfp4_block_code(const ScaleRule& rule, float amax) {
  constexpr Format factor{4, 3, 7, Specials::fn};
  return fp8scope::encode(factor, nvfp4_wanted_factor(rule, amax));
}

/// Both numbers of an NVFP4 block whose E4M3 factor has this value.
FP8_HD constexpr Scales nvfp4_scales(const ScaleRule& rule, float block) {
  if (rule.kind == ScaleRule::Kind::nvfp4_torchao)
    return rule.unit_tensor_factor ? Scales{1.0f / block, block}
                                   : Scales{rule.decode / block, block * rule.encode};
  float scale = rule.bf16_multiplier ? rule.encode / block : 1.0f / (block * rule.decode);
  if (rule.bf16_multiplier) {
    constexpr Format bfloat{8, 7, 127, Specials::ieee};
    if (scale > bfloat.max_value()) scale = bfloat.max_value();
    scale = fp8scope::decode(bfloat, fp8scope::encode(bfloat, scale));
  }
  if (scale > float_max) scale = float_max;
  // Transformer Engine dequantises with the amax itself, not with 1/S_enc.
  return {scale, block * rule.tensor_amax * (1.0f / (rule.max * rule.block_max))};
}

/// Both numbers of a rule of Kind::quotient.
FP8_HD constexpr Scales quotient_scales(const ScaleRule& rule, float amax) {
  using Multiplier = ScaleRule::Multiplier;
  const float exact = rule.quotient == ScaleRule::Quotient::division ? amax / rule.max : amax * (1.0f / rule.max);
  float scale_inv = exact < rule.scale_floor ? rule.scale_floor : exact;
  const bool rounded = rule.pow2 != Pow2::none;
  if (rounded) scale_inv = rule.pow2 == Pow2::up ? round_up_to_pow2(scale_inv) : cut_to_pow2(scale_inv);
  float scale = 1.0f / scale_inv;
  if (rule.multiplier == Multiplier::divisor) scale = scale_inv;
  else if (rule.multiplier == Multiplier::reciprocal_max) scale = 1.0f / amax * rule.max;
  else if (rule.multiplier == Multiplier::max_over_amax_always ||
           (rule.multiplier == Multiplier::max_over_amax && !rounded))
    scale = rule.max / amax;
  if (rule.bf16_store) {
    constexpr Format bfloat{8, 7, 127, Specials::ieee};
    scale_inv = fp8scope::decode(bfloat, fp8scope::encode(bfloat, scale_inv));
  }
  return {scale, scale_inv};
}

/// block_scales() but for the payload of a NaN, which processors choose.
FP8_HD constexpr Scales raw_block_scales(const ScaleRule& rule, float amax) {
  using Kind = ScaleRule::Kind;
  if (rule.kind != Kind::te && rule.kind != Kind::fixed) {
    if (rule.add_floor) amax = amax + rule.floor;
    else if (amax < rule.floor) amax = rule.floor;
  }
  switch (rule.kind) {
    case Kind::te: {
      if (rule.zero_for_infinity && float_bits(amax) == inf_bits) return {0.0f, bits_float(inf_bits)};
      const float scale = te_scale(amax, rule.max, rule.pow2 != Pow2::none, rule.floor, rule.big);
      return {scale, 1.0f / scale};
    }
    case Kind::quotient: return quotient_scales(rule, amax);
    case Kind::torchao: {
      const float scale = torchao_scale(amax, rule.max, rule.pow2);
      return {scale, 1.0f / scale};
    }
    case Kind::msamp: {
      const float scale = msamp_scale(amax, 1.0f, rule.max, 0);
      return {scale, 1.0f / scale};
    }
    case Kind::nvfp4:
    case Kind::nvfp4_torchao: return nvfp4_scales(rule, round_to_e4m3(nvfp4_wanted_factor(rule, amax)));
    case Kind::moss: {
      const Scales local = e8m0_scales(e8m0_code_of(rule, amax));
      return {rule.decode * local.scale, rule.encode * local.scale_inv};
    }
    case Kind::fixed: return {};
    default: break;
  }
  const std::uint32_t code = e8m0_code_of(rule, amax);
  Scales scales = e8m0_scales(code);
  if (rule.old_reciprocal) scales.scale = e8m0_reciprocal_te_2_12(code);
  if (rule.flush_subnormal && amax < 0x1p-126f) scales.scale = 0.0f;
  return scales;
}

/// The scales of a block whose largest magnitude is `amax`. A NaN is the default quiet one.
FP8_HD constexpr Scales block_scales(const ScaleRule& rule, float amax) {
  const Scales s = raw_block_scales(rule, amax);
  const float nan = bits_float(0x7fc00000u);
  return {is_nan(s.scale) ? nan : s.scale, is_nan(s.scale_inv) ? nan : s.scale_inv};
}

/// How a recipe stores scale_inv.
enum class ScaleStorage : std::uint8_t {
  fp32,
  bf16,
  e8m0,  ///< a power of two
  e4m3,  ///< NVFP4's block factor, beside a binary32 factor of the tensor or row
};

/// What is stored for a block of this amax: the code of E8M0 or E4M3, the top half of a bfloat16, the
/// bits of a binary32.
FP8_HD constexpr std::uint32_t stored_scale(const ScaleRule& rule, ScaleStorage storage, float amax) {
  if (storage == ScaleStorage::e4m3) return nvfp4_block_code(rule, amax);
  if (rule.kind == ScaleRule::Kind::moss) return e8m0_code_of(rule, amax);
  const float scale_inv = block_scales(rule, amax).scale_inv;
  if (storage == ScaleStorage::e8m0) return e8m0_code(scale_inv);
  return storage == ScaleStorage::bf16 ? float_bits(scale_inv) >> 16 : float_bits(scale_inv);
}

}  // namespace fp8scope
