#pragma once

#include <memory>
#include <vector>

#include "cuda/engine.hpp"
#include "src/cast_pass.hpp"

namespace fp8scope {

/// True if kernels do what the plan says: no Hadamard transform, no factor for each row, one candidate a
/// block.
bool on_kernels(const Plan& plan);

/// The cast that a plan asks of the kernels. Requires on_kernels(plan).
///
/// rule         nullptr where the scales are given
/// tensor_amax  of the whole tensor: rules of two levels need it
cuda::BlockCast block_cast(const Plan& plan, const BlockShape& block, const ScaleRule* rule, float tensor_amax);

/// TensorFacts and CastPass of one tensor by the kernels of a device: the same results, bit for bit.
class DevicePass {
 public:
  /// Throws cuda::DeviceError if the device has no room for the tensor.
  DevicePass(cuda::Engine& engine, std::int64_t rows, std::int64_t cols);

  /// False for what only the CPU does: Hadamard transforms, a factor for each row, two candidates a block.
  static bool knows(const TensorCast& cast);

  /// Rows [first, first + count).  x [count, cols]
  void upload(std::int64_t first, std::int64_t count, const float* x);
  /// To be called when all rows are there.
  TensorFacts facts() const;
  /// [casts]
  std::vector<CastResult> measure(const TensorFacts& facts, std::vector<TensorCast> casts, float whole_amax) const;

 private:
  CastResult measure_cast(const TensorFacts& facts, TensorCast& cast, float whole_amax) const;

  std::int64_t rows_, cols_;
  std::unique_ptr<cuda::DeviceTensor> tensor_;
};

}  // namespace fp8scope
