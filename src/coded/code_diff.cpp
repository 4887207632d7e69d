#include "src/coded/code_diff.hpp"

#include <fmt/format.h>

#include <cstdlib>

#include "sim/convert.hpp"

namespace fp8scope {
namespace {

constexpr const char* step_bins[] = {"1", "2", "3-4", "5-16", "more"};

/// In this order neighbouring numbers are neighbouring integers, and both zeros are 0.
std::int64_t place(const Format& f, std::uint32_t code) {
  const auto magnitude = static_cast<std::int64_t>(code & f.magnitude_mask());
  return f.is_signed() && (code & f.sign_bit()) != 0 ? -magnitude : magnitude;
}

bool nan_code(const Format& f, std::uint32_t code) { return is_nan(decode(f, code)); }

}  // namespace

std::int64_t code_steps(const Format& f, std::uint32_t a, std::uint32_t b) {
  const bool a_nan = nan_code(f, a), b_nan = nan_code(f, b);
  if (a_nan || b_nan) return a_nan == b_nan ? 0 : -1;
  return std::abs(place(f, a) - place(f, b));
}

void CodeDiff::add(const Format& f, std::int64_t index, std::uint32_t a, std::uint32_t b) {
  ++compared;
  if (a == b) return;
  const std::int64_t apart = code_steps(f, a, b);
  if (apart == 0) {
    zero_signs += !nan_code(f, a);
    return;
  }
  if (first.size() < first_differences) first.push_back(index);
  ++differ;
  if (apart < 0) {
    ++nan_only;
    return;
  }
  ++steps[apart == 1 ? 0 : apart == 2 ? 1 : apart <= 4 ? 2 : apart <= 16 ? 3 : 4];
  const std::int64_t x = std::abs(place(f, a)), y = std::abs(place(f, b));
  up += y > x, down += y < x;
}

void CodeDiff::merge(const CodeDiff& other) {
  compared += other.compared, differ += other.differ;
  zero_signs += other.zero_signs, nan_only += other.nan_only;
  for (std::size_t i = 0; i < steps.size(); ++i) steps[i] += other.steps[i];
  up += other.up, down += other.down;
}

std::string CodeDiff::text() const {
  std::string text = fmt::format("{} of {} differ", differ, compared);
  if (differ > 0) {
    text += fmt::format(" ({:.4g} %):", 100.0 * share());
    const char* separator = " ";
    for (std::size_t i = 0; i < steps.size(); ++i)
      if (steps[i] > 0) text += fmt::format("{}{} by {}", separator, steps[i], step_bins[i]), separator = ", ";
    if (nan_only > 0) text += fmt::format("{}{} NaN on one side", separator, nan_only);
  }
  if (zero_signs > 0) text += fmt::format("; {} zeros differ in sign", zero_signs);
  return text;
}

CodeDiff diff_codes(const Format& f, std::span<const std::uint16_t> a, std::span<const std::uint16_t> b) {
  CodeDiff diff;
  for (std::size_t i = 0; i < a.size(); ++i) diff.add(f, static_cast<std::int64_t>(i), a[i], b[i]);
  return diff;
}

}  // namespace fp8scope
