#pragma once

#include "src/options.hpp"

namespace fp8scope {

/// The command `sweep`; returns its exit code. Throws as the parts of src/sweep/ do.
int sweep(const Options& options, const Args& args);

/// The command `merge`.
int merge(const Options& options, const Args& args);

}  // namespace fp8scope
