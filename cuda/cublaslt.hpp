#pragma once

#include <string>
#include <vector>

#include "sim/scaled_gemm.hpp"

namespace fp8scope::cuda {

/// What the library is asked for.
struct LibraryRequest {
  bool fast_accumulation = true;  ///< CUBLASLT_MATMUL_DESC_FAST_ACCUM
  bool bf16_output = false;
};

/// "" if libcublasLt can be loaded at run time, else why not. The program is not linked against it.
std::string cublaslt_refusal();

/// "13.0.2": of the library that was loaded. Requires cublaslt_refusal() == "".
std::string cublaslt_version();

/// D = A B^T by cuBLASLt on `device`; one scale per tensor, or 1x128 and 128x128 FP32 scales.
/// d  [a.rows, b.rows]
/// Throws DeviceError, also where the library has no algorithm for this.
void cublaslt_gemm(const ScaledMatrix& a, const ScaledMatrix& b, const LibraryRequest& request, std::span<float> d, int device = 0);

}  // namespace fp8scope::cuda
