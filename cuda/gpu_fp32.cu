#include "cuda/launch.hpp"
#include "cuda/tensor_on.hpp"

namespace fp8scope::cuda {
template std::unique_ptr<DeviceTensor> make_tensor<GpuMachine, Fp32>(const GpuMachine&, std::int64_t, std::int64_t);
}  // namespace fp8scope::cuda
