#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "src/result_file.hpp"

namespace fp8scope {

struct ResultDiffOptions {
  double absolute = 0.0;             ///< numbers that differ by no more are equal
  double relative = 0.0;             ///< the same, relative to the larger magnitude
  std::vector<std::string> ignore;   ///< columns, also of the key: "recipe_id" compares two recipes
};

/// One column of one table of both files.
struct ColumnDiff {
  std::string table, column;
  std::uint64_t compared = 0, differ = 0;
  double largest = 0.0;               ///< |a - b|
  double largest_relative = 0.0;
  std::string first;                  ///< key of the first difference, and both values
};

/// A table of both files: its rows matched by their key.
struct TableDiff {
  std::string table;
  std::uint64_t rows_a = 0, rows_b = 0, matched = 0, only_a = 0, only_b = 0, ambiguous = 0;
  std::vector<std::string> columns_only_a, columns_only_b;
  std::string first_only;              ///< key of the first row without a partner
  std::vector<ColumnDiff> columns;     ///< those with a difference
  std::array<std::uint64_t, 4> scale_steps{};  ///< stored scales apart by 1, 2, 3-4, more
  std::uint64_t scales = 0;            ///< stored scales compared
  bool same() const;
};

struct ResultDiff {
  std::vector<std::string> tables_only_a, tables_only_b;
  std::vector<TableDiff> tables;
  bool same() const;
};

/// Compares the tables of two result files: rows by key (tensor, step, recipe, product, tile by name,
/// whatever the ids), numbers bit by bit unless a tolerance is given; a NaN equals a NaN. The tables
/// inputs and lookup/... only serve to resolve ids.
ResultDiff diff_results(const Results& a, const Results& b, const ResultDiffOptions& options);

}  // namespace fp8scope
