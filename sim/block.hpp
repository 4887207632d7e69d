#pragma once

#include <cstdint>
#include <string>

#include "sim/device.hpp"

namespace fp8scope {

/// Rows and columns that share one scale; 0 means all of them.
struct BlockShape {
  std::int64_t rows = 0, cols = 0;
  friend constexpr bool operator==(const BlockShape&, const BlockShape&) = default;
};

/// "1x128", "128x128", "tensor"; "1xall" is one scale per row.
std::string block_name(const BlockShape& block);

/// A row-major [rows, cols] tensor cut into blocks that share one scale each. Blocks at the right
/// and lower edge may be smaller.
struct BlockGrid {
  std::int64_t rows, cols;
  std::int64_t block_rows, block_cols;  ///< at least 1

  FP8_HD constexpr BlockGrid(std::int64_t r, std::int64_t c, BlockShape b)
      : rows(r), cols(c), block_rows(b.rows > 0 ? b.rows : (r > 0 ? r : 1)),
        block_cols(b.cols > 0 ? b.cols : (c > 0 ? c : 1)) {}
  FP8_HD constexpr std::int64_t down() const { return (rows + block_rows - 1) / block_rows; }
  FP8_HD constexpr std::int64_t across() const { return (cols + block_cols - 1) / block_cols; }
  FP8_HD constexpr std::int64_t blocks() const { return down() * across(); }
  FP8_HD constexpr std::int64_t size() const { return rows * cols; }
  /// Offset of an element in the tensor, and of its block's scale in the [down, across] scales.
  FP8_HD constexpr std::int64_t element(std::int64_t r, std::int64_t c) const { return r * cols + c; }
  FP8_HD constexpr std::int64_t block(std::int64_t r, std::int64_t c) const {
    return r / block_rows * across() + c / block_cols;
  }
};

}  // namespace fp8scope
