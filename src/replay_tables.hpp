#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "src/replay.hpp"
#include "src/result_file.hpp"

namespace fp8scope {

/// Row of lookup/gemm of "", "fprop", "dgrad", "wgrad", and back.
std::int64_t gemm_id(std::string_view name);
std::string_view gemm_name(std::int64_t id);

/// Collects what replay() measures as the tables of a result file.
class ReplayTables {
 public:
  /// Both must outlive this object.
  ReplayTables(const ReplayInput& input, const ReplayOptions& options);

  void take(const ReplayItem& item);

  /// Tables results, hist, lookup/tensor, lookup/recipe.
  void write_to(Results& results) const;

  /// Recipes as rows; for each operand class the medians over tensors and steps of SQNR and bulk SQNR
  /// and the worst SQNR, in dB, and the shares of elements that underflowed and clipped, in %.
  Table summary() const;

 private:
  /// One cast of one tensor of one step.
  struct Row {
    std::int64_t tensor, step, recipe, gemm;
    std::vector<double> statistics;      ///< as statistics()
    std::vector<std::uint64_t> counts;   ///< as counts()
  };
  struct Histogram {
    std::int64_t tensor, step;
    std::vector<std::uint64_t> exponents;
  };

  const ReplayInput& input_;
  const ReplayOptions& options_;
  std::vector<Row> rows_;
  std::vector<Histogram> histograms_;
};

}  // namespace fp8scope
