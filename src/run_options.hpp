#pragma once

#include "sim/simd/isa.hpp"
#include "src/options.hpp"

namespace fp8scope {

/// Adds --threads and --isa, which never change a result.
void add_run_options(Options& options);

/// --threads, all processors if 0 or not given. Throws UsageError.
int thread_count(const Options& options);

/// Sets the vector instructions by --isa and returns those in use. Throws UsageError for an unknown
/// name, SkippedError for one this processor lacks.
Isa use_isa(const Options& options);

}  // namespace fp8scope
