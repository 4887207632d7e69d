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
  GemmTables(const ReplayInput& input, const ReplayOptions& options, const std::vector<GemmRequest>& requests)
      : input_(input), options_(options), requests_(requests) {}

  void take(const GemmRecord& record) { records_.push_back(record); }
  void write_to(Results& results) const;
  /// By product, K, recipe and unit: medians over layers and steps.
  Table summary() const;

 private:
  const ReplayInput& input_;
  const ReplayOptions& options_;
  const std::vector<GemmRequest>& requests_;
  std::vector<GemmRecord> records_;
};

}  // namespace fp8scope
