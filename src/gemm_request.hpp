#pragma once

#include <vector>

#include "src/gemm_error.hpp"
#include "src/options.hpp"

namespace fp8scope {

/// Adds --promote, --order, --output-format and --split-k.
void add_gemm_options(Options& options);

/// How products are to be computed: every accumulator of --accumulator with every interval of
/// --promote. `accumulator` stands for a missing --accumulator; "" for none.
/// Throws UsageError, UnknownName.
std::vector<GemmRequest> gemm_requests(const Options& options, const std::string& accumulator);

}  // namespace fp8scope
