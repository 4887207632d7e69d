#pragma once

#include <memory>

#include "cuda/engine.hpp"
#include "src/gemm_error.hpp"
#include "src/options.hpp"

namespace fp8scope {

/// Adds --device cpu|cuda[:N], and for those who work on kernels cuda-loops: the loops of the kernels
/// run by the CPU.
void add_device_option(Options& options);

/// What --device asks for; nullptr for the CPU. Throws UsageError, SkippedError where there is no GPU.
std::unique_ptr<cuda::Engine> device_engine(const Options& options, std::string_view fallback = "cpu");

/// The products on what --device asks for; empty for the CPU. A product that the kernels do not know is
/// computed by the CPU, and a line on stderr says so once. Throws as device_engine().
Multiply device_multiply(const Options& options);

}  // namespace fp8scope
