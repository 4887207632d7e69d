#pragma once

#include <cuda_runtime_api.h>

#include <string>

#include "cuda/device.hpp"

namespace fp8scope::cuda {

/// Throws DeviceError naming `what` unless `status` is cudaSuccess.
inline void check(cudaError_t status, const char* what) {
  if (status != cudaSuccess)
    throw DeviceError(std::string("CUDA, ") + what + ": " + cudaGetErrorString(status));
}

}  // namespace fp8scope::cuda
