#pragma once

#include "src/options.hpp"
#include "src/table.hpp"
#include "src/train/trainer.hpp"

namespace fp8scope::train {

/// Declares the options that describe a run.
void add_model_options(Options& options);

/// The run that they ask for; shape.vocabulary and corpus_sha256 are left to the corpus.
/// Throws UsageError.
RunConfig read_run(const Options& options);

/// The options' corpus file.
std::string corpus_path(const Options& options);

/// What --list prints: tables of the modes, switches and models.
std::string list_text(TableStyle style);

}  // namespace fp8scope::train
