#include "cuda/engine_on.hpp"
#include "cuda/launch.hpp"

namespace fp8scope::cuda {
template class TensorOn<GpuMachine, Fp32>;
}  // namespace fp8scope::cuda
