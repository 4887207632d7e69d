// A kernel of a GPU for `fp8scope validate --kernel`, which does its own copies. It multiplies by ordinary FP32
// arithmetic, k ascending, so that validate says "fp32_sequential" of it.
//   nvcc -shared -Xcompiler -fPIC -fmad=false -I. -o libdevice_kernel.so tests/kernels/device_kernel.cu
//   fp8scope validate --kernel ./libdevice_kernel.so:device_gemm --model fp32_sequential --scales tensor --promote none
#include <cuda_fp8.h>
#include <cuda_runtime.h>

#include <cstdint>

#include "src/kernel_abi.h"

namespace {

__device__ float decode(std::uint8_t code, std::uint32_t format) {
  const __half_raw half = __nv_cvt_fp8_to_halfraw(code, format == FP8SCOPE_E5M2 ? __NV_E5M2 : __NV_E4M3);
  return __half2float(__half(half));
}

__global__ void multiply(const std::uint8_t* a, const std::uint8_t* b, float* d, fp8scope_gemm g, float scale) {
  const std::int64_t column = blockIdx.x * static_cast<std::int64_t>(blockDim.x) + threadIdx.x, row = blockIdx.y;
  if (column >= g.b.rows) return;
  float sum = 0.0f;
  for (std::int64_t k = 0; k < g.a.cols; ++k)
    sum += decode(a[row * g.a.cols + k], g.a.format) * decode(b[column * g.a.cols + k], g.b.format);
  d[row * g.b.rows + column] = sum * scale;
}

}  // namespace

extern "C" int device_gemm(const fp8scope_gemm* g) {
  int devices = 0;
  if (cudaGetDeviceCount(&devices) != cudaSuccess || devices == 0) return FP8SCOPE_NO_DEVICE;
  const bool one_scale = g->a.block_rows >= g->a.rows && g->a.block_cols >= g->a.cols && g->b.block_rows >= g->b.rows && g->b.block_cols >= g->b.cols;
  if (g->d_format != FP8SCOPE_F32 || !one_scale) return FP8SCOPE_UNSUPPORTED;
  const std::size_t a_bytes = static_cast<std::size_t>(g->a.rows * g->a.cols), b_bytes = static_cast<std::size_t>(g->b.rows * g->b.cols);
  const std::size_t d_bytes = static_cast<std::size_t>(g->a.rows * g->b.rows) * sizeof(float);
  std::uint8_t *a = nullptr, *b = nullptr;
  float* d = nullptr;
  cudaMalloc(&a, a_bytes), cudaMalloc(&b, b_bytes), cudaMalloc(&d, d_bytes);
  cudaMemcpy(a, g->a.codes, a_bytes, cudaMemcpyHostToDevice);
  cudaMemcpy(b, g->b.codes, b_bytes, cudaMemcpyHostToDevice);
  const dim3 blocks(static_cast<unsigned>((g->b.rows + 127) / 128), static_cast<unsigned>(g->a.rows));
  multiply<<<blocks, 128>>>(a, b, d, *g, g->a.scale_inv[0] * g->b.scale_inv[0]);
  const cudaError_t status = cudaMemcpy(g->d, d, d_bytes, cudaMemcpyDeviceToHost);
  cudaFree(a), cudaFree(b), cudaFree(d);
  return status == cudaSuccess ? FP8SCOPE_OK : 1;
}
