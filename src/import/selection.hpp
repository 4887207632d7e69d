#pragma once

#include <cstdint>
#include <limits>
#include <optional>
#include <regex>
#include <string>
#include <string_view>
#include <vector>

#include "src/options.hpp"

namespace fp8scope {

/// Whole numbers as "3", "0-100", "0-100+10" (every tenth), "5-" (to the end), comma-separated.
class NumberRanges {
 public:
  /// Throws UsageError naming `what`.
  NumberRanges(std::string_view text, std::string_view what);
  bool holds(std::int64_t number) const;

  struct Range {
    std::int64_t first = 0, last = std::numeric_limits<std::int64_t>::max(), stride = 1;
  };
  const std::vector<Range>& ranges() const { return ranges_; }

 private:
  std::vector<Range> ranges_;
};

/// Layers, operands and steps that the user wants; everything unless told.
class TraceSelection {
 public:
  /// Adds --layers, --operands and --steps to the options of a command.
  static void describe(Options& options);
  /// Throws UsageError.
  explicit TraceSelection(const Options& options);

  bool layer(const std::string& name) const;
  bool operand(const std::string& name) const;
  bool step(std::int64_t number) const;

 private:
  std::optional<std::regex> layers_;
  std::vector<std::string> operands_;
  std::optional<NumberRanges> steps_;
};

/// --compress LEVEL, 0 to 9, 1 unless given. Throws UsageError.
int parse_deflate(const Options& options);

/// A finite number above 0. Throws UsageError naming `what`.
double parse_positive(std::string_view text, std::string_view what);

/// "128x576" or "[128, 576]" as extents. Throws UsageError.
std::vector<std::int64_t> parse_shape(std::string_view text);

}  // namespace fp8scope
