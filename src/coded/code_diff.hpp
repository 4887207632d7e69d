#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "sim/format.hpp"

namespace fp8scope {

/// Numbers of the format between two codes, counted: 0 for equal numbers (also +0 and -0) and for two
/// NaNs, -1 where exactly one is NaN.
std::int64_t code_steps(const Format& f, std::uint32_t a, std::uint32_t b);

/// What a comparison of codes, or of stored scales, found.
struct CodeDiff {
  std::uint64_t compared = 0;
  std::uint64_t differ = 0;       ///< in the number they stand for, or in being NaN
  std::uint64_t zero_signs = 0;   ///< +0 against -0: counted here, not above
  std::uint64_t nan_only = 0;     ///< one is NaN, the other is not
  std::array<std::uint64_t, 5> steps{};  ///< 1, 2, 3-4, 5-16, more
  std::int64_t up = 0, down = 0;  ///< |b| > |a|, |b| < |a|
  std::vector<std::int64_t> first;  ///< indices of the first ones

  void add(const Format& f, std::int64_t index, std::uint32_t a, std::uint32_t b);
  void merge(const CodeDiff& other);
  double share() const { return compared > 0 ? static_cast<double>(differ) / static_cast<double>(compared) : 0.0; }
  /// "12 of 4096 differ (0.29 %): 10 by 1, 2 by 2"
  std::string text() const;
};

inline constexpr std::size_t first_differences = 5;

/// a, b  [n] codes of f
CodeDiff diff_codes(const Format& f, std::span<const std::uint16_t> a, std::span<const std::uint16_t> b);

}  // namespace fp8scope
