#pragma once

#include <cuda_runtime_api.h>

#include "sim/quantize.hpp"

namespace fp8scope::cuda {

/// sim/quantize.hpp's quantize() on the device: the same codes, bit for bit.
/// Pointers are device memory. Returns when the kernel is queued on `stream`, not when done.
void quantize(const Format& f, const CastRule& rule, const BlockGrid& grid, const float* x,
              const Scales* scales, std::uint16_t* codes, std::uint64_t seed, cudaStream_t stream);

/// True if the current device can run the kernels of this build.
bool kernels_run_here();

}  // namespace fp8scope::cuda
