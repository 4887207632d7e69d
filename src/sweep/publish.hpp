#pragma once

#include <cstdint>
#include <string>

#include "src/result_file.hpp"
#include "src/sweep/ledger.hpp"
#include "src/sweep/plan.hpp"

namespace fp8scope {

/// What a published file holds.
struct Published {
  std::uint64_t items = 0, found = 0;
  std::uint64_t rows = 0, skipped = 0, failed = 0;  ///< of the tables results and gemm
  std::string first_failure, first_skip;
  Table summary;
};

/// Writes the results of all items that are there, in the order of the plan whatever the journals: tables
/// results, hist and gemm as replay writes them with `point_id` and `status`, the lookup tables, `point`
/// and lookup/source. The file appears whole or not at all.
///
/// Throws IoError, DataError.
Published publish(const SweepPlan& plan, const Ledger& ledger, const std::string& path, const RunInfo& run, bool reproducible);

}  // namespace fp8scope
