#pragma once

#include <memory>

#include "cuda/engine.hpp"
#include "src/options.hpp"

namespace fp8scope {

/// Adds --device cpu|cuda[:N], and for those who work on kernels cuda-loops: the loops of the kernels
/// run by the CPU.
void add_device_option(Options& options);

/// What --device asks for; nullptr for the CPU. Throws UsageError, SkippedError where there is no GPU.
std::unique_ptr<cuda::Engine> device_engine(const Options& options, std::string_view fallback = "cpu");

}  // namespace fp8scope
