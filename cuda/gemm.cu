// GEMM emulation on the GPU.
#include <stdexcept>

#include "cuda/gemm_run.hpp"
#include "cuda/launch.hpp"

namespace fp8scope::cuda {

void emulated_gemm(const ScaledMatrix& a, const ScaledMatrix& b, const ScaledGemmOptions& options,
                   std::span<const float> c, std::span<float> d, int device) {
  check_scaled_gemm(a, b, options);
  const std::string refusal = emulated_gemm_refusal(a, b, options);
  if (!refusal.empty()) throw std::invalid_argument("gemm: " + refusal);
  const GpuMachine machine(device);
  EmulatedProduct<GpuMachine> product(machine, a, b, options, c);
  product.run();
  product.download(d);
}

}  // namespace fp8scope::cuda
