#pragma once

#include <cstdint>
#include <deque>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

namespace fp8scope {

/// A second axis of a column, for histograms.
struct Axis {
  std::string name;  ///< "exponent"
  std::string long_name;
  std::vector<std::int64_t> values;  ///< one for each value in a row
};

/// A named column. With an axis it holds axis->values.size() values for each row.
struct Column {
  using Values = std::variant<std::vector<std::int64_t>, std::vector<std::uint64_t>,
                              std::vector<double>, std::vector<float>, std::vector<std::string>>;
  std::string name, unit, long_name;  ///< unit: "1", "dB", "%"
  Values values;
  std::optional<Axis> axis;

  std::size_t width() const { return axis ? axis->values.size() : 1; }
  std::size_t rows() const;
  bool is_text() const { return std::holds_alternative<std::vector<std::string>>(values); }
};

/// Columns of equal length.
struct Table {
  std::string name;  ///< also its group in a result file, "results"
  std::string long_name;
  std::string signal;          ///< column that viewers plot; "" for the first column of floats
  std::deque<Column> columns;  // a deque: add() leaves earlier references valid

  Table() = default;
  Table(std::string name_, std::string long_name_)
      : name(std::move(name_)), long_name(std::move(long_name_)) {}

  /// Appends an empty column and returns its values to be filled.
  template <class T>
  std::vector<T>& add(std::string column, std::string unit, std::string meaning) {
    columns.push_back(
        {std::move(column), std::move(unit), std::move(meaning), std::vector<T>{}, {}});
    return std::get<std::vector<T>>(columns.back().values);
  }
  template <class T>
  std::vector<T>& add(std::string column, std::string unit, std::string meaning, Axis axis) {
    columns.push_back({std::move(column), std::move(unit), std::move(meaning), std::vector<T>{},
                       std::move(axis)});
    return std::get<std::vector<T>>(columns.back().values);
  }

  /// Rows of every column. Throws std::invalid_argument if they differ, naming the column.
  std::size_t rows() const;
  /// Throws UnknownName listing the columns.
  const Column& column(std::string_view column_name) const;
};

/// Appends one row to the columns of a table, in their order.
class RowWriter {
 public:
  explicit RowWriter(Table& table, std::size_t first_column = 0) : table_(table), next_(first_column) {}
  template <class T>
  void put(const T& value) {
    std::get<std::vector<T>>(table_.columns.at(next_++).values).push_back(value);
  }
  /// A row of a column with an axis.
  template <class T>
  void put_all(const T& values) {
    auto& column = std::get<std::vector<std::remove_const_t<typename T::value_type>>>(table_.columns.at(next_++).values);
    column.insert(column.end(), values.begin(), values.end());
  }

 private:
  Table& table_;
  std::size_t next_;
};

enum class TableStyle {
  text,  ///< aligned, numbers to 5 digits
  csv,   ///< RFC 4180; numbers that read back as the same bits; nan, inf
  json,  ///< {"name":, "columns":[{"name":,"unit":,"long_name":}], "rows":[{...}]}; NaN is null
  md,    ///< a Markdown table, numbers to 5 digits
};

/// Throws UnknownName. `name` is "text", "csv", "json" or "md".
TableStyle parse_table_style(std::string_view name);

/// The whole table as text that ends in a newline. A column with an axis becomes one column per
/// value, "hist[-3]"; in JSON an array.
std::string print_table(const Table& table, TableStyle style);

}  // namespace fp8scope
