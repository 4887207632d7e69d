#pragma once

#include <memory>
#include <string>
#include <vector>

#include "sim/matrix_unit.hpp"

namespace fp8scope::cuda {

/// An instruction of the GPU at hand, and the row of the models' table that it is expected to be.
struct DeviceUnit {
  std::unique_ptr<MatrixUnit> unit;
  std::string model;  ///< "hopper_wgmma"
};

/// Every multiply-accumulate instruction that this build has for `device`: wgmma (Hopper) with FP8 in all four
/// pairs, FP16, BF16 and TF32, f32 and f16 results, several N, A from shared memory and from registers;
/// mma.sync (any) with FP8, FP16, BF16 and TF32. Throws DeviceError.
std::vector<DeviceUnit> matrix_units(int device = 0);

/// One comparison of an instruction with the emulator, value by value (P12, FP64).
struct ConvertCheck {
  std::string name;
  std::uint64_t values = 0, differ = 0;
  std::string first;  ///< the first value that differs, "" if none
};

/// cvt.rn.satfinite of every half and of every `stride`th float, to E4M3 and E5M2. Throws DeviceError.
std::vector<ConvertCheck> check_conversions(std::uint32_t stride, int device = 0);

/// Words of the FP64 matrix instruction, three in a chain, against dot_fp64(): the row fma_fp64 of the models' table, whose
/// words are too wide for a MatrixUnit. Throws DeviceError.
std::vector<ConvertCheck> check_fp64_unit(int device = 0);

/// "nvcc 13.0.88": what compiled the kernels.
std::string toolkit_version();

}  // namespace fp8scope::cuda
