#pragma once
// What src/ may ask about GPUs. No CUDA types: the same header, whether kernels were built or not.

#include <cstddef>
#include <stdexcept>
#include <string>

namespace fp8scope::cuda {

/// A call to the CUDA runtime failed, or there is no device to call.
struct DeviceError : std::runtime_error {
  using std::runtime_error::runtime_error;
};

/// True if this program contains kernels.
bool built();

/// GPUs that this program can use; 0 without kernels, without a driver, without a GPU. Never throws.
int device_count();

/// Why device_count() is 0, as a clause: "no NVIDIA driver was found". "" if it is not.
std::string why_none();

struct DeviceInfo {
  std::string name;               ///< "NVIDIA H100 80GB HBM3"
  int major = 0, minor = 0;       ///< compute capability
  int multiprocessors = 0;
  std::size_t memory = 0;         ///< bytes
  std::string driver, runtime;    ///< "13.0": newest CUDA that the driver knows; CUDA of this build

  /// "sm_90".
  std::string architecture() const { return "sm_" + std::to_string(major) + std::to_string(minor); }
};

/// Throws DeviceError if there is no such device.
DeviceInfo device_info(int device = 0);

/// Makes `device` the one that later calls of this thread use. Throws DeviceError if it cannot be
/// used, or if no kernel of this build runs on it.
void use_device(int device);

}  // namespace fp8scope::cuda
