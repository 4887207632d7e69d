#pragma once

#include "sim/simd/isa.hpp"
#include "src/options.hpp"

namespace fp8scope {

/// Adds --threads and --isa, which never change a result.
void add_run_options(Options& options);

/// --threads, all processors if 0 or not given. Throws UsageError.
int thread_count(const Options& options);
/// The same for a number; 0 is all processors.
int thread_count(std::uint64_t asked);

/// Sets the vector instructions by --isa and returns those in use. Throws UsageError for an unknown
/// name, SkippedError for one this processor lacks.
Isa use_isa(const Options& options);
Isa use_isa(const std::string& name);

}  // namespace fp8scope
