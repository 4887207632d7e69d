#pragma once

#include <string>
#include <vector>

#include "src/gemm_replay.hpp"
#include "src/result_file.hpp"

namespace fp8scope {

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
