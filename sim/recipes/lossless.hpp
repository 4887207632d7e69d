#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace fp8scope {

/// Weights in E4M3 that stand for exactly what they stood for in E2M1.
struct LosslessCodes {
  std::vector<std::uint8_t> codes;   ///< [rows, cols] E4M3
  std::vector<std::uint8_t> scales;  ///< [ceil(rows / block_rows), ceil(cols / block_cols)] E8M0
  bool exact = true;  ///< in every block the E2M1 factors lie within 2^11; else some codes were rounded
};

/// E2M1 with E8M0 factors of 1x32 to E4M3 with larger blocks: the block's factor is its largest one / 2^6
/// (code 0 at least), elements take up the difference.
/// Source: TileKernels per_block_cast_lossless.
///
/// codes   [rows, cols], one E2M1 code each
/// scales  [rows, ceil(cols / 32)] E8M0
LosslessCodes e2m1_to_e4m3(std::span<const std::uint16_t> codes, std::span<const std::uint8_t> scales, std::int64_t rows,
                           std::int64_t cols, std::int64_t block_rows, std::int64_t block_cols);

}  // namespace fp8scope
