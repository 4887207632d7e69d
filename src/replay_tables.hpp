#pragma once

#include <map>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "src/replay.hpp"
#include "src/result_file.hpp"

namespace fp8scope {

/// One cast of one tensor of one step; ids are rows of the lookup tables.
struct MeasuredCast {
  std::int64_t tensor, step, recipe, gemm;
  std::vector<double> statistics;     ///< as statistics()
  std::vector<std::uint64_t> counts;  ///< as counts()
};

/// Row of lookup/gemm of "", "fprop", "dgrad", "wgrad", and back.
std::int64_t gemm_id(std::string_view name);
std::string_view gemm_name(std::int64_t id);
/// Cast number `cast` of what replay() measured.
MeasuredCast cast_row(const ReplayItem& item, std::size_t cast, std::int64_t tensor, std::int64_t step);

/// Tables without rows, and functions that append one.
Table empty_cast_table();
void append(Table& table, const MeasuredCast& row);
Table empty_hist_table();
void append(Table& table, std::int64_t tensor, std::int64_t step, std::span<const std::uint64_t> exponents);
Table empty_tensor_table();
void append(Table& table, const TensorInfo& info);

/// The whole tables lookup/recipe and lookup/gemm.
Table recipe_table(std::span<const std::string> recipes);
Table gemm_name_table();

/// Medians and worst cases of casts: for each operand class those over tensors and steps of SQNR and bulk
/// SQNR in dB, and the shares of elements that underflowed and clipped, in %.
class CastSummary {
 public:
  void add(std::size_t label, const std::string& operand, const MeasuredCast& row);
  /// Labels as rows.
  Table table(const std::vector<std::string>& labels) const;

 private:
  struct OfClass {
    std::vector<double> sqnr, bulk;
    double underflow = 0.0, clipped = 0.0, elements = 0.0;
  };
  std::map<std::pair<std::string, std::size_t>, OfClass> classes_;  ///< by operand and label
};

/// Collects what replay() measures as the tables of a result file.
class ReplayTables {
 public:
  /// Both must outlive this object.
  ReplayTables(const ReplayInput& input, const ReplayOptions& options);

  void take(const ReplayItem& item);

  /// Tables results, hist, lookup/tensor, lookup/recipe.
  void write_to(Results& results) const;

  /// Recipes as rows.
  Table summary() const;

 private:
  struct Histogram {
    std::int64_t tensor, step;
    std::vector<std::uint64_t> exponents;
  };

  const ReplayInput& input_;
  const ReplayOptions& options_;
  std::vector<MeasuredCast> rows_;
  std::vector<Histogram> histograms_;
};

}  // namespace fp8scope
