#include "cuda/device.hpp"

#include "cuda/check.hpp"

namespace fp8scope::cuda {

bool kernels_run_here();  // engine_gpu.cu

namespace {

std::string version_text(int version) {
  return std::to_string(version / 1000) + "." + std::to_string(version % 1000 / 10);
}

}  // namespace

bool built() { return true; }

int device_count() {
  int count = 0;
  return cudaGetDeviceCount(&count) == cudaSuccess ? count : 0;
}

std::string why_none() {
  int count = 0;
  const cudaError_t status = cudaGetDeviceCount(&count);
  if (status == cudaSuccess) return count > 0 ? "" : "no NVIDIA GPU was found";
  if (status == cudaErrorInsufficientDriver) {
    int driver = 0;
    cudaDriverGetVersion(&driver);
    if (driver == 0) return "no NVIDIA driver was found";
    return "the NVIDIA driver knows CUDA " + version_text(driver) + ", too old for this program's " +
           version_text(CUDART_VERSION);
  }
  if (status == cudaErrorNoDevice) return "no NVIDIA GPU was found";
  return std::string("the CUDA runtime says: ") + cudaGetErrorString(status);
}

DeviceInfo device_info(int device) {
  cudaDeviceProp properties{};
  check(cudaGetDeviceProperties(&properties, device), "cudaGetDeviceProperties");
  int driver = 0;
  check(cudaDriverGetVersion(&driver), "cudaDriverGetVersion");
  return {properties.name,           properties.major,        properties.minor,
          properties.multiProcessorCount, properties.totalGlobalMem, version_text(driver),
          version_text(CUDART_VERSION)};
}

void use_device(int device) {
  if (device < 0 || device >= device_count())
    throw DeviceError("there is no CUDA device " + std::to_string(device) + "; there are " +
                      std::to_string(device_count()));
  check(cudaSetDevice(device), "cudaSetDevice");
  const DeviceInfo info = device_info(device);
  if (!kernels_run_here())
    throw DeviceError("this program has no kernels for " + info.name + " (" + info.architecture() +
                      "); configure with -DFP8SCOPE_CUDA_ARCHITECTURES=" +
                      std::to_string(info.major) + std::to_string(info.minor));
}

}  // namespace fp8scope::cuda
