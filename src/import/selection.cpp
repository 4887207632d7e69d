#include "src/import/selection.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>

#include "src/errors.hpp"
#include "src/import/name_map.hpp"

namespace fp8scope {

namespace {

/// Takes a whole number from the front of `text`, or nothing.
std::optional<std::int64_t> take_number(std::string_view& text) {
  std::int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || value < 0) return {};
  text.remove_prefix(static_cast<std::size_t>(end - text.data()));
  return value;
}

bool take(std::string_view& text, char c) {
  if (!text.starts_with(c)) return false;
  text.remove_prefix(1);
  return true;
}

std::optional<NumberRanges::Range> parse_range(std::string_view text) {
  NumberRanges::Range range;
  const auto first = take_number(text);
  if (!first) return {};
  range.first = *first;
  if (!take(text, '-')) {
    range.last = *first;
  } else if (!text.empty() && text.front() != '+') {
    const auto last = take_number(text);
    if (!last) return {};
    range.last = *last;
  }
  if (take(text, '+')) {
    const auto stride = take_number(text);
    if (!stride || *stride == 0) return {};
    range.stride = *stride;
  }
  if (!text.empty() || range.last < range.first) return {};
  return range;
}

}  // namespace

NumberRanges::NumberRanges(std::string_view text, std::string_view what) {
  for (std::size_t at = 0; at <= text.size();) {
    const std::size_t end = std::min(text.find(',', at), text.size());
    const auto range = parse_range(text.substr(at, end - at));
    if (!range)
      throw UsageError(fmt::format("{} wants ranges such as 3, 0-100, 0-100+10 or 5-, got '{}'", what, text));
    ranges_.push_back(*range);
    at = end + 1;
  }
}

bool NumberRanges::holds(std::int64_t number) const {
  return std::ranges::any_of(ranges_, [&](const Range& r) {
    return number >= r.first && number <= r.last && (number - r.first) % r.stride == 0;
  });
}

void TraceSelection::describe(Options& options) {
  options.add("layers", "REGEX", "only layers whose name it is found in");
  options.add("operands", "LIST", "only these, e.g. x,w,dy (also activation, weight, gradient)");
  options.add("steps", "RANGES", "only these, e.g. 0-100+10,250 (default all)");
}

TraceSelection::TraceSelection(const Options& options) {
  if (const auto pattern = options.text("layers")) try {
      layers_ = std::regex(*pattern);
    } catch (const std::regex_error& error) {
      throw UsageError(
          fmt::format("--layers: '{}' is not a regular expression: {}", *pattern, error.what()));
    }
  for (const std::string& word : options.list("operands")) operands_.push_back(operand_name(word));
  if (const auto steps = options.text("steps")) steps_ = NumberRanges(*steps, "--steps");
}

bool TraceSelection::layer(const std::string& name) const {
  return !layers_ || std::regex_search(name, *layers_);
}

bool TraceSelection::operand(const std::string& name) const {
  return operands_.empty() || std::ranges::find(operands_, name) != operands_.end();
}

bool TraceSelection::step(std::int64_t number) const { return !steps_ || steps_->holds(number); }

double parse_positive(std::string_view text, std::string_view what) {
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || end != text.data() + text.size() || !std::isfinite(value) || value <= 0)
    throw UsageError(fmt::format("{} wants a number above 0, got '{}'", what, text));
  return value;
}

int parse_deflate(const Options& options) {
  const std::uint64_t level = options.number_or("compress", 1);
  if (level > 9) throw UsageError(fmt::format("--compress wants a level from 0 to 9, got {}", level));
  return static_cast<int>(level);
}

std::vector<std::int64_t> parse_shape(std::string_view text) {
  std::vector<std::int64_t> shape;
  std::string_view rest = text;
  const bool bracket = take(rest, '[');
  for (bool more = true; more;) {
    while (take(rest, ' ')) {
    }
    const auto extent = take_number(rest);
    if (!extent || shape.size() == 32)
      throw UsageError(fmt::format("--shape wants extents such as 128x576, got '{}'", text));
    shape.push_back(*extent);
    more = take(rest, 'x') || take(rest, ',');
  }
  if (bracket != take(rest, ']') || !rest.empty())
    throw UsageError(fmt::format("--shape wants extents such as 128x576, got '{}'", text));
  return shape;
}

}  // namespace fp8scope
