#include "cuda/host_machine.hpp"
#include "cuda/tensor_on.hpp"

namespace fp8scope::cuda {

std::unique_ptr<Engine> loops_on_cpu() { return std::make_unique<EngineOn<HostMachine>>(HostMachine()); }

}  // namespace fp8scope::cuda
