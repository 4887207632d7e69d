#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "sim/device.hpp"

// Where libraries keep scales and codes in memory. Only layouts: no number changes.
namespace fp8scope {

/// Four UE8M0 bytes to a word, the lowest column in the lowest byte: DeepGEMM's packed scales.
///
/// codes    [rows, cols]
/// returns  [rows, ceil(cols / 4)]
std::vector<std::uint32_t> pack_ue8m0(std::span<const std::uint8_t> codes, std::int64_t rows, std::int64_t cols);

/// Transformer Engine's block scales as cuBLAS reads them: 1x128 scales turned, their rows padded to a
/// multiple of 4 with zeros.
///
/// scale_inv  [rows, cols]
/// returns    [cols, rows padded]
std::vector<float> cublas_1x128_scales(std::span<const float> scale_inv, std::int64_t rows, std::int64_t cols);

/// Transformer Engine's 128x128 block scales as cuBLAS reads them: their columns padded to a multiple of 4 with zeros.
///
/// scale_inv  [rows, cols]
/// returns    [rows, cols padded]
std::vector<float> cublas_128x128_scales(std::span<const float> scale_inv, std::int64_t rows, std::int64_t cols);

/// Offset of the MX scale of row i, scale column j, in the swizzled order of tensor cores, of a matrix
/// with `cols` columns of elements.
/// Source: cuBLAS documentation, 1D block scaling factors layout.
FP8_HD constexpr std::int64_t swizzled_mx_offset(std::int64_t i, std::int64_t j, std::int64_t cols) {
  return ((i / 128) * ((cols + 127) / 128) + j / 4) * 512 + i % 32 * 16 + i % 128 / 32 * 4 + j % 4;
}

/// Scales of one byte in the swizzled order of tensor cores, padded to 128 rows and 4 columns with zeros: groups of 128 rows
/// and 4 columns of scales, 512 bytes each. For MX and for NVFP4.
///
/// codes    [rows, cols] scales
/// returns  [ceil(rows / 128) * ceil(cols / 4) * 512]
std::vector<std::uint8_t> swizzled_scales(std::span<const std::uint8_t> codes, std::int64_t rows, std::int64_t cols);

/// Two 4-bit codes to a byte, the even column in the low half.  [n] to [ceil(n / 2)]
std::vector<std::uint8_t> pack_fp4(std::span<const std::uint16_t> codes);

/// Eight 12-bit codes to 12 bytes, as TileKernels packs E5M6.  [n], n a multiple of 8, to [n * 3 / 2]
std::vector<std::uint8_t> pack_e5m6(std::span<const std::uint16_t> codes);

}  // namespace fp8scope
