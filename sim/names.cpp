#include "sim/names.hpp"

#include <algorithm>
#include <numeric>

namespace fp8scope {

std::size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), std::size_t{0});
  for (std::size_t i = 0; i < a.size(); ++i) {
    std::size_t diagonal = row[0];
    row[0] = i + 1;
    for (std::size_t j = 0; j < b.size(); ++j) {
      const std::size_t above = row[j + 1];
      row[j + 1] = std::min({above + 1, row[j] + 1, diagonal + (a[i] != b[j])});
      diagonal = above;
    }
  }
  return row[b.size()];
}

namespace {

/// edit_distance() without regard to case.
std::size_t distance_of(std::string_view a, std::string_view b) {
  const auto lower = [](std::string_view s) {
    std::string text(s);
    for (char& c : text)
      if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
    return text;
  };
  return edit_distance(lower(a), lower(b));
}

}  // namespace

std::string unknown_name(std::string_view what, std::string_view name,
                         std::span<const std::string_view> known) {
  std::string message = "unknown " + std::string(what) + " '" + std::string(name) + "'";
  if (name.find(' ') != name.npos) message += " (part names by commas)";
  const auto nearest = std::ranges::min_element(
      known, {}, [&](std::string_view candidate) { return distance_of(name, candidate); });
  if (nearest != known.end() && distance_of(name, *nearest) <= std::max<std::size_t>(1, name.size() / 3))
    message += "; did you mean '" + std::string(*nearest) + "'?";
  else
    message += ";";
  message += " known: ";
  for (std::size_t i = 0; i < known.size(); ++i)
    message += (i ? ", " : "") + std::string(known[i]);
  return message;
}

}  // namespace fp8scope
