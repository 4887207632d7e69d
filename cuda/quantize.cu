#include "cuda/check.hpp"
#include "cuda/quantize.hpp"
#include "sim/philox.hpp"

namespace fp8scope::cuda {
namespace {

__global__ void quantize_kernel(Format f, CastRule rule, BlockGrid grid, const float* x,
                                const Scales* scales, std::uint16_t* codes, std::uint64_t seed) {
  const std::int64_t c = blockIdx.x * static_cast<std::int64_t>(blockDim.x) + threadIdx.x;
  if (c >= grid.cols) return;
  const bool stochastic = rule.rounding == Rounding::stochastic;
  for (std::int64_t r = blockIdx.y; r < grid.rows; r += gridDim.y) {
    const std::int64_t i = grid.element(r, c);
    const RandomBits random = stochastic ? random_bits(seed, i) : RandomBits{};
    codes[i] = quantize_element(f, x[i], scales[grid.block(r, c)].scale, rule, random);
  }
}

}  // namespace

void quantize(const Format& f, const CastRule& rule, const BlockGrid& grid, const float* x,
              const Scales* scales, std::uint16_t* codes, std::uint64_t seed, cudaStream_t stream) {
  constexpr int threads = 256;
  const dim3 blocks(static_cast<unsigned>((grid.cols + threads - 1) / threads),
                    static_cast<unsigned>(grid.rows < 65535 ? grid.rows : 65535));
  quantize_kernel<<<blocks, threads, 0, stream>>>(f, rule, grid, x, scales, codes, seed);
  check(cudaGetLastError(), "quantize");
}

bool kernels_run_here() {
  cudaFuncAttributes attributes{};
  const bool runs = cudaFuncGetAttributes(&attributes, quantize_kernel) == cudaSuccess;
  cudaGetLastError();  // a refusal must not be found by the next check
  return runs;
}

}  // namespace fp8scope::cuda
