#pragma once

#include <vector>

#include "src/result_file.hpp"
#include "src/train/trainer.hpp"

namespace fp8scope::train {

/// Root attributes that describe a run.
std::vector<h5::Attribute> run_attributes(const RunConfig& config, std::int64_t parameters);

/// Tables of a run: loss, validation, memory, traffic.
void add_run_tables(Trainer& trainer, Results& results);

/// Attributes of a trace that a run recorded.
std::vector<h5::Attribute> trace_attributes(const RunConfig& config, std::int64_t parameters, const std::string& corpus);

}  // namespace fp8scope::train
