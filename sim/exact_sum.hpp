#pragma once

#include <array>
#include <bit>
#include <cstdint>

namespace fp8scope {

/// A sum without rounding: a two's complement fixed-point number of 1280 bits, the lowest worth
/// 2^-640. Holds any sum of less than 2^60 products of binary32 numbers, scaled by E8M0 pairs.
class ExactSum {
 public:
  /// Adds (-1)^negative * significand * 2^exponent.
  /// Requires -640 <= exponent and significand * 2^exponent < 2^570.
  void add(std::uint64_t significand, int exponent, bool negative) {
    const int bit = exponent - lowest;
    const std::size_t limb = static_cast<std::size_t>(bit) / 64;
    const unsigned __int128 wide = static_cast<unsigned __int128>(significand) << (bit % 64);
    const std::array<std::uint64_t, 2> parts{static_cast<std::uint64_t>(wide),
                                             static_cast<std::uint64_t>(wide >> 64)};
    std::uint64_t carry = 0;
    for (std::size_t i = limb; i < limbs_.size(); ++i) {
      const std::uint64_t part = i - limb < 2 ? parts[i - limb] : 0;
      if (i - limb >= 2 && carry == 0) break;
      const unsigned __int128 old = limbs_[i];
      const unsigned __int128 now = negative ? old - part - carry : old + part + carry;
      limbs_[i] = static_cast<std::uint64_t>(now);
      carry = static_cast<std::uint64_t>(now >> 64) & 1u;
    }
  }

  /// |sum| = magnitude * 2^quantum plus less than 2^quantum if `sticky`; magnitude has its top bit
  /// set unless the sum is 0.
  struct Rounded {
    std::uint64_t magnitude;
    int quantum;
    bool negative, sticky;
  };

  Rounded leading_bits() const {
    std::array<std::uint64_t, count> m = limbs_;
    const bool negative = (m.back() >> 63) != 0;
    if (negative) {
      std::uint64_t carry = 1;
      for (std::uint64_t& limb : m) {
        limb = ~limb + carry;
        carry = carry != 0 && limb == 0 ? 1 : 0;
      }
    }
    std::size_t i = count;
    while (i > 0 && m[i - 1] == 0) --i;
    if (i == 0) return {0, lowest, false, false};
    const int empty = std::countl_zero(m[i - 1]);
    std::uint64_t magnitude = m[i - 1] << empty;
    bool sticky = false;
    if (i >= 2) {
      if (empty > 0) magnitude |= m[i - 2] >> (64 - empty);
      sticky = (m[i - 2] << empty) != 0;
      for (std::size_t k = 0; k + 2 < i; ++k) sticky |= m[k] != 0;
    }
    return {magnitude, static_cast<int>(i - 1) * 64 - empty + lowest, negative, sticky};
  }

 private:
  static constexpr int lowest = -640;
  static constexpr std::size_t count = 20;
  std::array<std::uint64_t, count> limbs_{};
};

}  // namespace fp8scope
