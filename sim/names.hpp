#pragma once

#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

namespace fp8scope {

/// Number of single-character edits between two words (Levenshtein).
std::size_t edit_distance(std::string_view a, std::string_view b);

/// "unknown WHAT 'NAME'; did you mean 'NEAREST'? known: A, B, C".
/// The suggestion is left out where nothing is near.
std::string unknown_name(std::string_view what, std::string_view name,
                         std::span<const std::string_view> known);

/// A name the user typed that no table holds; the message lists the names there are.
struct UnknownName : std::invalid_argument {
  using std::invalid_argument::invalid_argument;
};

/// The row of `table` whose member `name` equals `name`, or nullptr.
template <class Table>
constexpr auto find_by_name(const Table& table, std::string_view name) -> decltype(&*std::begin(table)) {
  for (const auto& row : table)
    if (row.name == name) return &row;
  return nullptr;
}

/// The row of `table` called `name`. Throws UnknownName listing the names there are.
template <class Table>
const auto& by_name(const Table& table, std::string_view name, std::string_view what) {
  if (const auto* row = find_by_name(table, name)) return *row;
  std::vector<std::string_view> known;
  for (const auto& row : table) known.push_back(row.name);
  throw UnknownName(unknown_name(what, name, known));
}

}  // namespace fp8scope
