// The functions of cuda/ in a program without kernels.
#include "cuda/cublaslt.hpp"
#include "cuda/device.hpp"
#include "cuda/engine.hpp"
#include "cuda/gemm.hpp"
#include "cuda/matrix_units.hpp"

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

void native_gemm(const ScaledMatrix&, const ScaledMatrix&, const ScaledGemmOptions&, std::span<float>, int) { none(); }
KernelTimes time_emulated_gemm(std::int64_t, std::int64_t, std::int64_t, const ScaledGemmOptions&, int, int) { none(); }
KernelTimes time_native_gemm(std::int64_t, std::int64_t, std::int64_t, const ScaledGemmOptions&, int, int) { none(); }

KernelTimes time_cublaslt_gemm(std::int64_t, std::int64_t, std::int64_t, const ScaledGemmOptions&, int, int) { none(); }

double multiply_adds_per_second(int, int) { none(); }

std::vector<DeviceUnit> matrix_units(int) { none(); }
std::vector<ConvertCheck> check_conversions(std::uint32_t, int) { none(); }
std::vector<ConvertCheck> check_fp64_unit(int) { none(); }
std::string toolkit_version() { return "none"; }

std::string cublaslt_refusal() { return why_none(); }
std::string cublaslt_version() { none(); }
void cublaslt_gemm(const ScaledMatrix&, const ScaledMatrix&, const LibraryRequest&, std::span<float>, int) { none(); }

}  // namespace fp8scope::cuda
