#include "src/table.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <stdexcept>

#include "sim/names.hpp"

namespace fp8scope {

namespace {

/// `digits` 0: the shortest text that reads back as the same bits.
std::string cell(const Column& column, std::size_t index, int digits) {
  return std::visit(
      [&](const auto& values) -> std::string {
        using T = typename std::decay_t<decltype(values)>::value_type;
        if constexpr (std::is_floating_point_v<T>)
          if (digits > 0) return fmt::format("{:.{}g}", values[index], digits);
        return fmt::format("{}", values[index]);
      },
      column.values);
}

nlohmann::ordered_json json_cell(const Column& column, std::size_t index) {
  return std::visit(
      [&](const auto& values) -> nlohmann::ordered_json {
        using T = typename std::decay_t<decltype(values)>::value_type;
        // JSON has neither NaN nor infinity.
        if constexpr (std::is_floating_point_v<T>) {
          if (std::isnan(values[index])) return nullptr;
          if (std::isinf(values[index])) return values[index] > 0 ? "inf" : "-inf";
          // Through its own shortest text, a float does not become 0.10000000149011612.
          if constexpr (std::is_same_v<T, float>)
            return std::stod(fmt::format("{}", values[index]));
        }
        return values[index];
      },
      column.values);
}

std::string csv_cell(const std::string& text) {
  if (text.find_first_of(",\"\r\n") == std::string::npos) return text;
  std::string quoted = "\"";
  for (const char c : text) quoted += c == '"' ? std::string("\"\"") : std::string(1, c);
  return quoted + "\"";
}

std::string md_cell(const std::string& text) {
  std::string escaped;
  for (const char c : text)
    escaped += c == '|' ? std::string("\\|") : c == '\n' ? std::string(" ") : std::string(1, c);
  return escaped;
}

std::string heading(const Column& column, std::size_t place) {
  return column.axis ? fmt::format("{}[{}]", column.name, column.axis->values[place]) : column.name;
}

/// Calls `visit(column, place in the row)` for every printed column.
template <class Visit>
void for_each_place(const Table& table, Visit visit) {
  for (const Column& column : table.columns)
    for (std::size_t place = 0; place < column.width(); ++place) visit(column, place);
}

/// The heading and all rows as words; `digits` as in cell().
std::vector<std::vector<std::string>> words(const Table& table, int digits) {
  std::vector<std::vector<std::string>> lines(table.rows() + 1);
  for_each_place(table, [&](const Column& column, std::size_t place) {
    lines[0].push_back(heading(column, place));
    for (std::size_t row = 0; row + 1 < lines.size(); ++row)
      lines[row + 1].push_back(cell(column, row * column.width() + place, digits));
  });
  return lines;
}

std::string print_text(const Table& table) {
  const auto lines = words(table, 5);
  std::vector<std::size_t> widths;
  std::vector<bool> left;
  for_each_place(table,
                 [&](const Column& column, std::size_t) { left.push_back(column.is_text()); });
  for (std::size_t c = 0; c < lines[0].size(); ++c) {
    widths.push_back(0);
    for (const auto& line : lines) widths[c] = std::max(widths[c], line[c].size());
  }
  std::string text;
  for (const auto& line : lines) {
    std::string row;
    for (std::size_t c = 0; c < line.size(); ++c)
      row += (c > 0 ? "  " : "") + (left[c] ? fmt::format("{:<{}}", line[c], widths[c])
                                            : fmt::format("{:>{}}", line[c], widths[c]));
    row.erase(row.find_last_not_of(' ') + 1);
    text += row + "\n";
  }
  return text;
}

std::string print_csv(const Table& table) {
  std::string text;
  for (const auto& line : words(table, 0)) {
    for (std::size_t c = 0; c < line.size(); ++c) text += (c > 0 ? "," : "") + csv_cell(line[c]);
    text += "\n";
  }
  return text;
}

std::string print_md(const Table& table) {
  std::string text;
  bool first = true;
  for (const auto& line : words(table, 5)) {
    for (const std::string& word : line) text += "| " + md_cell(word) + " ";
    text += "|\n";
    if (std::exchange(first, false)) {
      for_each_place(table, [&](const Column& column, std::size_t) {
        text += column.is_text() ? "|---" : "|---:";
      });
      text += "|\n";
    }
  }
  return text;
}

std::string print_json(const Table& table) {
  using nlohmann::ordered_json;
  ordered_json columns = ordered_json::array(), rows = ordered_json::array();
  for (const Column& column : table.columns) {
    ordered_json about{
        {"name", column.name}, {"unit", column.unit}, {"long_name", column.long_name}};
    if (column.axis) about["axis"] = {{"name", column.axis->name}, {"values", column.axis->values}};
    columns.push_back(std::move(about));
  }
  for (std::size_t row = 0; row < table.rows(); ++row) {
    ordered_json object = ordered_json::object();
    for (const Column& column : table.columns) {
      ordered_json values = ordered_json::array();
      for (std::size_t place = 0; place < column.width(); ++place)
        values.push_back(json_cell(column, row * column.width() + place));
      object[column.name] = column.axis ? values : values.at(0);
    }
    rows.push_back(std::move(object));
  }
  const ordered_json all{{"name", table.name}, {"columns", columns}, {"rows", rows}};
  return all.dump(1, ' ', false, ordered_json::error_handler_t::replace) + "\n";
}

struct StyleRow {
  std::string_view name;
  std::string (*print)(const Table&);
};

constexpr StyleRow styles[] = {
    {"text", print_text}, {"csv", print_csv}, {"json", print_json}, {"md", print_md}};

}  // namespace

std::size_t Column::rows() const {
  const std::size_t count = std::visit([](const auto& v) { return v.size(); }, values);
  return width() > 0 ? count / width() : 0;
}

std::size_t Table::rows() const {
  const std::size_t rows = columns.empty() ? 0 : columns.front().rows();
  for (const Column& column : columns) {
    const std::size_t count = std::visit([](const auto& v) { return v.size(); }, column.values);
    if (count != rows * column.width())
      throw std::invalid_argument(
          fmt::format("table '{}': column '{}' holds {} values; {} rows need {}", name, column.name,
                      count, rows, rows * column.width()));
  }
  return rows;
}

const Column& Table::column(std::string_view column_name) const {
  return by_name(columns, column_name, "column");
}

TableStyle parse_table_style(std::string_view name) {
  return static_cast<TableStyle>(&by_name(styles, name, "table format") - styles);
}

std::string print_table(const Table& table, TableStyle style) {
  return styles[static_cast<int>(style)].print(table);
}

}  // namespace fp8scope
