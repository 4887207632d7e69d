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
/// checkpoint and on one batch. Deterministic. One row for all parameters together, one for each layer, one for each
/// part of a layer (attention, norms, feed-forward or gate and experts), one for each tensor.
///
/// Of a model with experts every variant runs twice: with its own choice of experts, and with tokens sent where binary32
/// sends them. What the second loses is rounding; the rest of the first is tokens that went to another expert.
///
/// run  the shape, the spread and the optimizer; its precision is not looked at
/// Throws DataError if a checkpoint is not of the shape, UnknownName.
Table run_probe(const RunConfig& run, const Corpus& corpus, const Executor& execute, const ProbeOptions& options);

/// The rows of one scope: "model", "layer", "part" or "tensor".
Table probe_summary(const Table& probe, const std::string& scope = "model");

}  // namespace fp8scope::train
