#pragma once

#include "src/options.hpp"

namespace fp8scope {

/// 'validate --gpu': every kernel against the emulator, on tensors made here and on those of the trace
/// that the positional word names, if there is one. Returns the exit code; throws SkippedError where
/// there is no GPU.
int validate_gpu(const Options& options);

}  // namespace fp8scope
