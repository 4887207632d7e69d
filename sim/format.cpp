#include "sim/format.hpp"

#include <charconv>
#include <optional>
#include <stdexcept>

#include "sim/names.hpp"

namespace fp8scope {

namespace {

struct NamedSpecials {
  std::string_view name;
  Specials specials;
};

constexpr NamedSpecials specials_names[] = {
    {"ieee", Specials::ieee},     {"fnuz", Specials::fnuz},   {"fn", Specials::fn},
    {"finite", Specials::finite}, {"scale", Specials::scale},
};

/// Reads `letter` and a number from the front of `text`, or nothing.
std::optional<int> take_number(std::string_view& text, char letter) {
  if (text.empty() || text.front() != letter) return {};
  int value = 0;
  const char* end = text.data() + text.size();
  const auto [rest, error] = std::from_chars(text.data() + 1, end, value);
  if (error != std::errc{} || value < 0) return {};
  text.remove_prefix(static_cast<std::size_t>(rest - text.data()));
  return value;
}

std::optional<Format> spelled(std::string_view text) {
  const auto exponent_bits = take_number(text, 'e');
  const auto mantissa_bits = take_number(text, 'm');
  if (!exponent_bits || !mantissa_bits) return {};
  if (*exponent_bits < 1 || *exponent_bits > 8 || *mantissa_bits > 23) return {};
  const int bias = take_number(text, 'b').value_or((1 << (*exponent_bits - 1)) - 1);
  if (bias > 1000) return {};
  if (text.empty()) text = "ieee";
  const NamedSpecials* row = find_by_name(specials_names, text);
  if (!row || row->specials == Specials::scale) return {};
  return Format{*exponent_bits, *mantissa_bits, bias, row->specials};
}

/// What keeps `f` from being a set of binary32 numbers with at least one normal value; "" if nothing.
std::string_view fault(const Format& f) {
  if (f.specials == Specials::ieee && (f.mantissa_bits < 1 || f.exponent_bits < 2))
    return "ieee specials need two exponent bits and a mantissa bit";
  if (f.exponent_bits + f.mantissa_bits < 2) return "it has fewer than three bits";
  if (f.min_exponent() - f.mantissa_bits < -149) return "its smallest value is below 2^-149";
  if (f.max_exponent() > 127) return "its largest value is not below 2^128";
  return "";
}

}  // namespace

Format parse_format(std::string_view name) {
  if (const NamedFormat* row = find_by_name(formats, name)) return row->format;
  const auto f = spelled(name);
  if (!f) {
    std::vector<std::string_view> known;
    for (const NamedFormat& row : formats) known.push_back(row.name);
    throw UnknownName(unknown_name("format", name, known) +
                      ", or e<X>m<Y>[b<bias>][ieee|fn|fnuz|finite]");
  }
  if (const std::string_view why = fault(*f); !why.empty())
    throw std::invalid_argument("format '" + std::string(name) + "' is not usable: " + std::string(why));
  return *f;
}

std::string format_name(const Format& f) {
  for (const NamedFormat& row : formats)
    if (row.format == f) return std::string(row.name);
  return "e" + std::to_string(f.exponent_bits) + "m" + std::to_string(f.mantissa_bits) + "b" +
         std::to_string(f.bias) + std::string(specials_name(f.specials));
}

std::string_view specials_name(Specials specials) {
  for (const NamedSpecials& row : specials_names)
    if (row.specials == specials) return row.name;
  return "?";
}

}  // namespace fp8scope
