#pragma once

#include <span>
#include <string>
#include <vector>

#include "sim/scaled_gemm.hpp"

/// Products of matrices on the GPU: the emulation of sim/scaled_gemm.hpp, bit for bit, and Hopper's own
/// FP8 unit. No CUDA type leaves cuda/: this header serves the program with and without nvcc.
namespace fp8scope::cuda {

/// "" if emulated_gemm() computes this product, else why not: the caller's CPU does.
/// It takes aligned and grouped models with C inside, block scales included, and codes of at most 8 bits: Hopper, Ada
/// and Blackwell FP8, FP6, FP4, MXFP8, MXFP4, NVFP4 into binary32 or binary16, and custom ones.
std::string emulated_gemm_refusal(const ScaledMatrix& a, const ScaledMatrix& b,
                                  const ScaledGemmOptions& options);

/// scaled_gemm() on device `device`: the same arguments, the same bits, split K included.
///
/// c  [a.rows, b.rows] or empty, on the host
/// d  [a.rows, b.rows], on the host, written
/// Throws as scaled_gemm(), and DeviceError where the device refuses or there is none.
void emulated_gemm(const ScaledMatrix& a, const ScaledMatrix& b, const ScaledGemmOptions& options,
                   std::span<const float> c, std::span<float> d, int device = 0);

/// emulated_gemm() with the kernel's loops run by the CPU, thread block after thread block: what the
/// device computes if its instructions do what they are documented to do.
void emulated_gemm_on_host(const ScaledMatrix& a, const ScaledMatrix& b, const ScaledGemmOptions& options,
                           std::span<const float> c, std::span<float> d);

/// "" if native_gemm() computes this product on a Hopper GPU, else why not. M, N and K are multiples
/// of 128; A has one scale or 1x128, B one scale or 128x128; promotion every 128 or never.
std::string native_gemm_refusal(const ScaledMatrix& a, const ScaledMatrix& b,
                                const ScaledGemmOptions& options);

/// The product by wgmma on device `device`. options.model is not used: the unit is what it is.
/// Throws as emulated_gemm().
void native_gemm(const ScaledMatrix& a, const ScaledMatrix& b, const ScaledGemmOptions& options,
                 std::span<float> d, int device = 0);

struct KernelTimes {
  std::vector<double> seconds;  ///< of each round, by the device's clock
};

/// Launches of the kernel alone, on codes of about N(0, 1) that lie on the device; of the library, FP8 with fast
/// accumulation as options.promote == 0 says, into BF16. Throws DeviceError.
KernelTimes time_emulated_gemm(std::int64_t m, std::int64_t n, std::int64_t k,
                               const ScaledGemmOptions& options, int rounds, int device = 0);
KernelTimes time_native_gemm(std::int64_t m, std::int64_t n, std::int64_t k,
                             const ScaledGemmOptions& options, int rounds, int device = 0);
KernelTimes time_cublaslt_gemm(std::int64_t m, std::int64_t n, std::int64_t k,
                               const ScaledGemmOptions& options, int rounds, int device = 0);

/// FP32 multiply-adds with directed rounding per second, from registers alone. Throws DeviceError.
double multiply_adds_per_second(int rounds, int device = 0);

}  // namespace fp8scope::cuda
