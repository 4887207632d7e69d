#pragma once

#include "src/table.hpp"
#include "src/train/trainer.hpp"

namespace fp8scope::train {

/// What to probe.
struct ProbeOptions {
  std::vector<std::string> checkpoints;  ///< files of a run of the same shape
  std::vector<std::string> variants;     ///< names of probe_variants(); empty: all that concern the shape
  std::int64_t history = 16;             ///< batches that recipes with a memory see before
};

/// The variants there are: name, cause, what is changed, and what it is compared with.
Table probe_variants();

/// Gradients, loss and update of every variant against another one (mostly binary32) at the weights of a
/// checkpoint and on one batch. Deterministic. One row for all parameters together and one for each
/// tensor.
///
/// run  the shape, the spread and the optimizer; its precision is not looked at
/// Throws DataError if a checkpoint is not of the shape, UnknownName.
Table run_probe(const RunConfig& run, const Corpus& corpus, const Executor& execute, const ProbeOptions& options);

/// The rows for all parameters together.
Table probe_summary(const Table& probe);

}  // namespace fp8scope::train
