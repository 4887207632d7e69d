#pragma once

#include <optional>
#include <vector>

#include "src/array.hpp"
#include "src/import/import_plan.hpp"

namespace fp8scope {

/// Reads one step of one tensor by panels of rows, as the trace will store it.
class StepReader {
 public:
  /// Throws DataError if the scales do not fit the codes.
  StepReader(const TensorInfo& info, const StepSource& source);

  /// Rows [first, first + count), ascending. The bytes stay until the next call.
  const void* read(std::int64_t first, std::int64_t count);
  /// Largest finite magnitude of what was read so far.
  float amax() const { return amax_; }

 private:
  void load_scales();
  void multiply(std::int64_t first, std::int64_t count);

  const TensorInfo& info_;
  StepSource source_;
  ElementDecoder decoder_;
  bool converted_;  ///< stored as binary32, though the source is not
  std::vector<float> scales_;  ///< [ceil(rows / block_rows_), scale_cols_]
  std::int64_t block_rows_ = 1, block_cols_ = 1, scale_cols_ = 0;
  std::vector<std::byte> stored_;
  std::vector<float> values_;
  float amax_ = 0.0f;
};

}  // namespace fp8scope
