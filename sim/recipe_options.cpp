#include "sim/recipe_options.hpp"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <stdexcept>

#include "sim/names.hpp"

namespace fp8scope {
namespace {

[[noreturn]] void bad_value(std::string_view key, std::string_view value, std::string_view wanted) {
  throw std::invalid_argument("recipe option " + std::string(key) + "=" + std::string(value) +
                              ": wanted " + std::string(wanted));
}

template <class T>
bool parse_number(std::string_view text, T& value) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc() && end == text.data() + text.size();
}

}  // namespace

RecipeOptions::RecipeOptions(std::string_view text) {
  while (!text.empty()) {
    const std::size_t end = std::min(text.find(':'), text.size());
    const std::string_view part = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    const std::size_t equals = part.find('=');
    if (equals == std::string_view::npos)
      throw std::invalid_argument("recipe option '" + std::string(part) + "' is not key=value");
    const std::string_view key = part.substr(0, equals);
    if (std::ranges::any_of(given_, [&](const Option& o) { return o.key == key; }))
      throw std::invalid_argument("recipe option '" + std::string(key) + "' is given twice");
    given_.push_back({std::string(key), std::string(part.substr(equals + 1))});
  }
}

const std::string* RecipeOptions::take(std::string_view key) {
  known_.push_back(key);
  for (Option& option : given_)
    if (option.key == key) {
      option.taken = true;
      return &option.value;
    }
  return nullptr;
}

std::int64_t RecipeOptions::integer(std::string_view key, std::int64_t fallback, std::int64_t low,
                                    std::int64_t high) {
  const std::string* text = take(key);
  if (!text) return fallback;
  std::int64_t value = 0;
  if (!parse_number(*text, value) || value < low || value > high)
    bad_value(key, *text,
              "an integer from " + std::to_string(low) + " to " + std::to_string(high));
  return value;
}

float RecipeOptions::real(std::string_view key, float fallback) {
  const std::string* text = take(key);
  if (!text) return fallback;
  float value = 0.0f;
  if (!parse_number(*text, value) || !std::isfinite(value) || value < 0.0f)
    bad_value(key, *text, "a finite number that is not negative");
  return value;
}

std::size_t RecipeOptions::choice(std::string_view key,
                                  std::initializer_list<std::string_view> choices) {
  const std::string* text = take(key);
  if (!text) return 0;
  const auto found = std::ranges::find(choices, std::string_view(*text));
  if (found != choices.end()) return static_cast<std::size_t>(found - choices.begin());
  std::string wanted;
  for (const std::string_view choice : choices)
    wanted += (wanted.empty() ? "" : " or ") + std::string(choice);
  bad_value(key, *text, wanted);
}

Format RecipeOptions::format(std::string_view key, const Format& fallback,
                             std::string_view fallback_name) {
  const std::string* text = take(key);
  if (!text || *text == fallback_name) return fallback;
  const Format format = parse_format(*text);
  if (!format.is_signed()) bad_value(key, *text, "a signed element format");
  return format;
}

BlockShape RecipeOptions::block(std::string_view key, BlockShape fallback) {
  const std::string* text = take(key);
  if (!text) return fallback;
  if (*text == "tensor") return {};
  const std::size_t x = text->find('x');
  BlockShape shape;
  if (x == std::string::npos || !parse_number(std::string_view(*text).substr(0, x), shape.rows) ||
      !parse_number(std::string_view(*text).substr(x + 1), shape.cols) || shape.rows < 1 ||
      shape.cols < 1)
    bad_value(key, *text, "ROWSxCOLUMNS such as 1x128, or tensor");
  return shape;
}

void RecipeOptions::finish() const {
  for (const Option& option : given_)
    if (!option.taken) throw UnknownName(unknown_name("recipe option", option.key, known_));
}

}  // namespace fp8scope
