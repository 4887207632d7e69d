#include "src/diff/result_diff.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <unordered_map>

#include "sim/bits.hpp"

namespace fp8scope {
namespace {

/// Columns that say which row this is, beside those that end in "_id".
constexpr std::string_view key_names[] = {"step", "tile_row", "tile_col", "block_rows", "block_cols", "promote",
                                          "m",    "n_cols",   "k",        "rank",       "event",      "point_id"};

bool is_key(const Column& column) {
  return !column.axis && (column.name.ends_with("_id") || column.is_text() ||
                          std::ranges::find(key_names, column.name) != std::end(key_names));
}

const Table* find_table(const Results& results, const std::string& name) {
  const auto found = std::ranges::find(results.tables, name, &Table::name);
  return found == results.tables.end() ? nullptr : &*found;
}

const Column* find_column(const Table& table, const std::string& name) {
  const auto found = std::ranges::find(table.columns, name, &Column::name);
  return found == table.columns.end() ? nullptr : &*found;
}

std::string cell(const Column& column, std::size_t i) {
  return std::visit(
      [&]<class T>(const std::vector<T>& values) {
        if constexpr (std::is_same_v<T, std::string>) return values[i];
        else return fmt::format("{}", values[i]);
      },
      column.values);
}

/// "te_block" for a recipe_id where the file says what the id stands for.
std::string resolved(const Results& results, const Column& column, std::size_t i) {
  if (!column.name.ends_with("_id")) return cell(column, i);
  const Table* lookup = find_table(results, "lookup/" + column.name.substr(0, column.name.size() - 3));
  const Column* names = lookup ? find_column(*lookup, "name") : nullptr;
  const auto* ids = std::get_if<std::vector<std::int64_t>>(&column.values);
  if (!names || !ids || (*ids)[i] < 0 || static_cast<std::size_t>((*ids)[i]) >= names->rows()) return cell(column, i);
  return cell(*names, static_cast<std::size_t>((*ids)[i]));
}

std::string stem(const Column& column) {
  return column.name.ends_with("_id") ? column.name.substr(0, column.name.size() - 3) : column.name;
}

bool ignored(const ResultDiffOptions& options, const std::string& name) {
  return std::ranges::find(options.ignore, name) != options.ignore.end();
}

/// The keys of a table's rows; the row number where no column is a key.
std::vector<std::string> keys(const Results& results, const Table& table, const Table& other,
                              const ResultDiffOptions& options) {
  std::vector<const Column*> columns;
  for (const Column& column : table.columns)
    if (is_key(column) && !ignored(options, column.name) && find_column(other, column.name)) columns.push_back(&column);
  std::vector<std::string> keys(table.rows());
  for (std::size_t row = 0; row < keys.size(); ++row) {
    if (columns.empty()) keys[row] = fmt::format("row {}", row);
    for (const Column* column : columns)
      keys[row] += fmt::format("{}{} {}", keys[row].empty() ? "" : ", ", stem(*column), resolved(results, *column, row));
  }
  return keys;
}

/// Compares two cells; `apart` is |a - b|, infinite where only one is a number.
template <class T>
bool equal(const T& a, const T& b, const ResultDiffOptions& options, double& apart, double& relative) {
  apart = relative = 0.0;
  if constexpr (std::is_same_v<T, std::string>) {
    return a == b;
  } else {
    if (a == b) {
      if constexpr (std::is_floating_point_v<T>) return std::signbit(a) == std::signbit(b) || options.absolute > 0.0;
      return true;
    }
    const auto x = static_cast<double>(a), y = static_cast<double>(b);
    if (std::isnan(x) && std::isnan(y)) return true;
    apart = a > b ? static_cast<double>(a - b) : static_cast<double>(b - a);
    if (std::isnan(x) || std::isnan(y) || std::isinf(x) || std::isinf(y))
      apart = relative = std::numeric_limits<double>::infinity();
    else
      relative = apart / std::max(std::fabs(x), std::fabs(y));
    return apart <= options.absolute || (options.relative > 0.0 && relative <= options.relative);
  }
}

void compare_cell(const Column& a, std::size_t i, const Column& b, std::size_t j, const ResultDiffOptions& options,
                  const std::string& key, ColumnDiff& diff) {
  std::visit(
      [&]<class T>(const std::vector<T>& values) {
        const auto* others = std::get_if<std::vector<T>>(&b.values);
        ++diff.compared;
        double apart = 0.0, relative = 0.0;
        if (others && equal(values[i], (*others)[j], options, apart, relative)) return;
        if (diff.differ++ == 0) diff.first = fmt::format("{}: {} against {}", key, cell(a, i), cell(b, j));
        diff.largest = std::max(diff.largest, apart);
        diff.largest_relative = std::max(diff.largest_relative, relative);
      },
      a.values);
}

/// By how many codes, or units in the last place, stored scales are apart.
void count_steps(const Column& a, std::size_t i, const Column& b, std::size_t j, TableDiff& diff) {
  const auto *x = std::get_if<std::vector<std::uint64_t>>(&a.values), *y = std::get_if<std::vector<std::uint64_t>>(&b.values);
  if (!x || !y) return;
  ++diff.scales;
  const std::uint64_t apart = (*x)[i] > (*y)[j] ? (*x)[i] - (*y)[j] : (*y)[j] - (*x)[i];
  if (apart > 0) ++diff.scale_steps[apart == 1 ? 0 : apart == 2 ? 1 : apart <= 4 ? 2 : 3];
}

TableDiff diff_table(const Results& in_a, const Table& a, const Results& in_b, const Table& b,
                     const ResultDiffOptions& options) {
  TableDiff diff;
  diff.table = a.name, diff.rows_a = a.rows(), diff.rows_b = b.rows();
  for (const Column& column : a.columns)
    if (!find_column(b, column.name) && !ignored(options, column.name)) diff.columns_only_a.push_back(column.name);
  for (const Column& column : b.columns)
    if (!find_column(a, column.name) && !ignored(options, column.name)) diff.columns_only_b.push_back(column.name);
  const std::vector<std::string> keys_a = keys(in_a, a, b, options), keys_b = keys(in_b, b, a, options);
  std::unordered_map<std::string_view, std::size_t> row_of;
  for (std::size_t j = 0; j < keys_b.size(); ++j)
    if (!row_of.try_emplace(keys_b[j], j).second) ++diff.ambiguous;
  std::vector<std::pair<std::size_t, std::size_t>> pairs;
  std::vector<bool> used(keys_b.size());
  for (std::size_t i = 0; i < keys_a.size(); ++i) {
    const auto found = row_of.find(keys_a[i]);
    if (found == row_of.end() || used[found->second]) {
      if (diff.only_a++ == 0) diff.first_only = keys_a[i];
      continue;
    }
    used[found->second] = true;
    pairs.emplace_back(i, found->second);
  }
  diff.matched = pairs.size();
  diff.only_b = keys_b.size() - pairs.size();
  if (diff.first_only.empty())
    for (std::size_t j = 0; j < keys_b.size() && diff.first_only.empty(); ++j)
      if (!used[j]) diff.first_only = keys_b[j];
  for (const Column& column : a.columns) {
    const Column* other = find_column(b, column.name);
    if (!other || is_key(column) || ignored(options, column.name)) continue;
    ColumnDiff of{a.name, column.name, 0, 0, 0.0, 0.0, {}};
    const std::size_t width = column.width();
    if (width != other->width()) {
      of.differ = 1, of.first = fmt::format("{} against {} values in a row", width, other->width());
    } else {
      for (const auto& [i, j] : pairs)
        for (std::size_t w = 0; w < width; ++w) {
          compare_cell(column, i * width + w, *other, j * width + w, options, keys_a[i], of);
          if (column.name == "scale_stored") count_steps(column, i, *other, j, diff);
        }
    }
    if (of.differ > 0) diff.columns.push_back(of);
  }
  return diff;
}

bool provenance(const std::string& table) { return table == "inputs" || table.starts_with("lookup/"); }

}  // namespace

bool TableDiff::same() const {
  return only_a == 0 && only_b == 0 && columns.empty() && columns_only_a.empty() && columns_only_b.empty();
}

bool ResultDiff::same() const {
  return tables_only_a.empty() && tables_only_b.empty() && std::ranges::all_of(tables, &TableDiff::same);
}

ResultDiff diff_results(const Results& a, const Results& b, const ResultDiffOptions& options) {
  ResultDiff diff;
  for (const Table& table : a.tables) {
    if (provenance(table.name)) continue;
    if (const Table* other = find_table(b, table.name)) diff.tables.push_back(diff_table(a, table, b, *other, options));
    else diff.tables_only_a.push_back(table.name);
  }
  for (const Table& table : b.tables)
    if (!provenance(table.name) && !find_table(a, table.name)) diff.tables_only_b.push_back(table.name);
  return diff;
}

}  // namespace fp8scope
