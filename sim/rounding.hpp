#pragma once

#include <cstdint>
#include <string_view>

#include "sim/bits.hpp"

namespace fp8scope {

/// Which neighbour a value between two codes becomes.
enum class Rounding : std::uint8_t {
  nearest_even,  ///< ties to the even significand, without mantissa bits away; hardware casts
  nearest_away,  ///< ties away from zero; microxcaling "nearest", QPyTorch
  nearest_zero,  ///< ties toward zero; DeepGEMM's Python FP4 encoder, unit-scaling
  toward_zero,   ///< truncation
  up,            ///< toward +infinity
  down,          ///< toward -infinity
  to_odd,        ///< an inexact value takes the odd one of its neighbours
  stochastic,    ///< up in magnitude if the dropped part plus a random number carries
  // What one kernel does with one format:
  te_e2m1,        ///< stochastic with 8 random bits, added in binary32: stochastic_e2m1()
  deepseek_e5m6,  ///< TileKernels' E5M6 as shipped: e5m6_as_shipped()
};

/// Whether a rounding draws random bits.
FP8_HD constexpr bool draws_bits(Rounding rounding) {
  return rounding == Rounding::stochastic || rounding == Rounding::te_e2m1;
}

struct NamedRounding {
  std::string_view name;
  Rounding rounding;
};

inline constexpr NamedRounding roundings[] = {
    {"nearest-even", Rounding::nearest_even}, {"nearest-away", Rounding::nearest_away},
    {"nearest-zero", Rounding::nearest_zero}, {"toward-zero", Rounding::toward_zero},
    {"up", Rounding::up},
    {"down", Rounding::down},                 {"to-odd", Rounding::to_odd},
    {"stochastic", Rounding::stochastic},
};

/// The roundings of one kernel and one format, which recipes name.
inline constexpr NamedRounding kernel_roundings[] = {
    {"te-e2m1", Rounding::te_e2m1}, {"deepseek-e5m6", Rounding::deepseek_e5m6},
};

/// Random bits of one element for Rounding::stochastic: an integer r below 2^count.
/// The dropped part d of a unit rounds up iff d + r/2^count >= 1, with d cut to the random bits'
/// resolution by the addition itself: the rule of NVIDIA's cvt.rs and Transformer Engine.
struct RandomBits {
  std::uint32_t value = 0;
  int count = 32;
};

/// v / 2^shift as an integer, rounded. `negative` is the sign of the value v stands for.
/// Requires v < 2^24, shift >= 0, and random.value < 2^random.count.
FP8_HD constexpr std::uint32_t shift_round(std::uint32_t v, int shift, Rounding mode, bool negative,
                                           RandomBits random) {
  if (shift == 0) return v;
  if (mode == Rounding::stochastic) {
    // Beyond 56 places v < 2^24 cannot reach a carry from 32 random bits.
    if (shift > 56) return 0;
    const std::uint64_t r = random.value;
    const std::uint64_t addend =
        shift >= random.count ? r << (shift - random.count) : r >> (random.count - shift);
    return static_cast<std::uint32_t>((v + addend) >> shift);
  }
  // From 26 places on every v < 2^24 is less than half a unit: nothing changes any more.
  const int places = shift < 26 ? shift : 26;
  const std::uint32_t kept = v >> places;
  const std::uint32_t dropped = v & low_mask(places);
  const std::uint32_t half = 1u << (places - 1);
  switch (mode) {
    case Rounding::nearest_even: return kept + (dropped + (kept & 1u) > half ? 1u : 0u);
    case Rounding::nearest_away: return kept + (dropped >= half ? 1u : 0u);
    case Rounding::nearest_zero: return kept + (dropped > half ? 1u : 0u);
    case Rounding::up: return kept + (dropped != 0 && !negative ? 1u : 0u);
    case Rounding::down: return kept + (dropped != 0 && negative ? 1u : 0u);
    case Rounding::to_odd: return kept | (dropped != 0 ? 1u : 0u);
    default: return kept;
  }
}

}  // namespace fp8scope
