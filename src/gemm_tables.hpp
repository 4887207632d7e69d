#pragma once

#include <string>
#include <vector>

#include "src/gemm_replay.hpp"
#include "src/result_file.hpp"

namespace fp8scope {

/// The table gemm without rows.
Table empty_gemm_table();
/// Appends a row to it; `step` is the number of the step, `product` the record with ids of tensors,
/// recipe and unit as they stand in the lookup tables.
void append(Table& table, const GemmRecord& product, std::int64_t step);

/// Collects what replay_gemms() measures as the tables gemm and lookup/accumulator.
class GemmTables {
 public:
  /// All must outlive this object.
  GemmTables(const ReplayInput& input, const ReplayOptions& options, const std::vector<std::string>& accumulators)
      : input_(input), options_(options), accumulators_(accumulators) {}

  void take(const GemmRecord& record) { records_.push_back(record); }
  void write_to(Results& results) const;
  /// By product, recipe and unit, the medians over layers and steps, in %.
  Table summary() const;

 private:
  const ReplayInput& input_;
  const ReplayOptions& options_;
  const std::vector<std::string>& accumulators_;
  std::vector<GemmRecord> records_;
};

}  // namespace fp8scope
