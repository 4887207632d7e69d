#pragma once

#include <cstdint>
#include <mutex>
#include <string>
#include <vector>

#include "src/sweep/journal.hpp"
#include "src/sweep/meter.hpp"
#include "src/sweep/plan.hpp"
#include "src/sweep/record.hpp"
#include "src/sweep/shard.hpp"

namespace fp8scope {

/// Which items are this part's, and what they cost.
class Work {
 public:
  Work(const SweepPlan& plan, const Shard& shard);

  /// Marks an item as done before this process began.
  void mark_done(std::uint64_t item) { done_[item] = 1; }
  bool is_wanted(std::uint64_t item, std::uint64_t tensor_step) const {
    return !done_[item] && (by_tensor_ ? tensor_step : item) % shard_.count == shard_.index;
  }
  /// Elements of the tensor times recipes of the batch; 16 for each product of a GEMM, which is about what
  /// it takes.
  double cast_cost(const CastGroup& group, std::size_t tensor, std::size_t batch) const;
  double gemm_cost(const GemmGroup& group, std::size_t pair, std::size_t recipe) const;

  struct Total {
    std::uint64_t items = 0, done = 0;
    double cost = 0.0, cost_done = 0.0;
  };
  /// Of this part.
  Total total() const;

 private:
  const SweepPlan& plan_;
  Shard shard_;
  bool by_tensor_;  ///< whole tensor-steps go to one part, so that each is read by one process
  std::vector<char> done_;
};

struct EngineOptions {
  int threads = 1;
  std::uint64_t max_memory = 1u << 30;
  double sync_seconds = 5.0;  ///< between two fdatasync() of the journal
};

/// Runs what `work` wants and writes a record for each item as soon as it is there. Returns early when a
/// stop signal came, with all records written that were begun.
///
/// trace  nullptr if the tensors are synthetic
/// Throws IoError (journal), UsageError (--max-mem too small).
void run_items(const SweepPlan& plan, const Work& work, const Trace* trace, const EngineOptions& options,
               JournalWriter& journal, SweepMeter& meter);

/// Bytes that the operands of the largest product take while it is computed.
std::uint64_t largest_product_bytes(const SweepPlan& plan);

}  // namespace fp8scope
