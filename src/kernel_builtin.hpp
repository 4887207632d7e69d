#pragma once

#include <string>

#include "src/kernel_abi.h"

namespace fp8scope {

/// Kernels of this program by the interface of anybody's: "builtin:native_gemm", "builtin:emulated_gemm".
/// nullptr if there is none of that name.
fp8scope_gemm_function builtin_kernel(const std::string& name);

}  // namespace fp8scope
