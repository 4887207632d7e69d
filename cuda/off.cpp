// The functions of cuda/ in a program without kernels.
#include "cuda/engine.hpp"
#include "cuda/gemm.hpp"

namespace fp8scope::cuda {
namespace {

[[noreturn]] void none() { throw DeviceError(why_none()); }

}  // namespace

bool built() { return false; }
int device_count() { return 0; }
std::string why_none() { return "this program was built without CUDA kernels"; }
DeviceInfo device_info(int) { none(); }
void use_device(int) { none(); }
std::unique_ptr<Engine> gpu_engine(int) { none(); }

void emulated_gemm(const ScaledMatrix&, const ScaledMatrix&, const ScaledGemmOptions&, std::span<const float>,
                   std::span<float>, int) {
  none();
}

}  // namespace fp8scope::cuda
