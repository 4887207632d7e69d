#include "cuda/engine_on.hpp"
#include "cuda/launch.hpp"

namespace fp8scope::cuda {

std::unique_ptr<Engine> gpu_engine(int device) { return std::make_unique<EngineOn<GpuMachine>>(GpuMachine(device)); }

bool kernels_run_here() {
  cudaFuncAttributes attributes{};
  const bool runs = cudaFuncGetAttributes(&attributes, kernel<HistoryLoop>) == cudaSuccess;
  cudaGetLastError();  // a refusal must not be found by the next check
  return runs;
}

}  // namespace fp8scope::cuda
