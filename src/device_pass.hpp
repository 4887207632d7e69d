#pragma once

#include <memory>
#include <vector>

#include "cuda/engine.hpp"
#include "src/cast_pass.hpp"

namespace fp8scope {

/// TensorFacts and CastPass of one tensor by the kernels of a device: the same results, bit for bit.
class DevicePass {
 public:
  /// Throws cuda::DeviceError if the device has no room for the tensor.
  DevicePass(cuda::Engine& engine, std::int64_t rows, std::int64_t cols);

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
