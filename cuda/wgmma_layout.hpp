#pragma once

#include <cstdint>

#include "sim/device.hpp"

/// Where matrix instructions keep their operands. Rows are counted in bytes along K: an instruction
/// reads 32 of them (32 codes of 8 bits, 16 of 16, 8 of 32).
/// Source: PTX ISA, "Asynchronous Warpgroup Level Matrix Multiply-Accumulate Instructions" and "mma.m16n8k32".
namespace fp8scope::cuda {

inline constexpr int instruction_bytes = 32;  ///< along K

/// Shared memory without swizzle: core matrices of 8 rows by 16 bytes, contiguous, the two of an
/// instruction's K side by side: leading offset 128, stride offset 256.
FP8_HD constexpr int plain_offset(int row, int byte) { return row / 8 * 256 + byte / 16 * 128 + row % 8 * 16 + byte % 16; }
inline constexpr std::uint32_t plain_leading = 128, plain_stride = 256;

/// Shared memory with the 128-byte swizzle, as TMA writes it: rows of 128 bytes, their 16-byte parts
/// permuted by the row. Stride offset 1024.
FP8_HD constexpr int swizzled_offset(int row, int byte) { return row * 128 + ((byte / 16) ^ (row & 7)) * 16 + byte % 16; }
inline constexpr std::uint32_t swizzled_stride = 1024;

enum class Swizzle : std::uint64_t { none = 0, bytes128 = 1, bytes64 = 2, bytes32 = 3 };

/// The descriptor of a matrix at a shared-memory address of at most 18 bits, aligned to 1024 bytes.
FP8_HD constexpr std::uint64_t matrix_descriptor(std::uint32_t address, std::uint32_t leading, std::uint32_t stride, Swizzle swizzle) {
  return static_cast<std::uint64_t>((address & 0x3ffffu) >> 4) | static_cast<std::uint64_t>((leading & 0x3ffffu) >> 4) << 16 |
         static_cast<std::uint64_t>((stride & 0x3ffffu) >> 4) << 32 | static_cast<std::uint64_t>(swizzle) << 62;
}

/// Row and column of accumulator register i of a thread of a warpgroup (wgmma, 64 rows) or, with warp 0,
/// of a warp (mma.sync, 16 rows). Of f16 results a register holds i and i + 1, i even.
FP8_HD constexpr int accumulator_row(int warp, int lane, int i) { return 16 * (warp % 4) + lane / 4 + 8 * (i % 4 / 2); }
FP8_HD constexpr int accumulator_column(int lane, int i) { return 8 * (i / 4) + 2 * (lane % 4) + i % 2; }

/// Row and first byte of the four bytes of A in register j of a thread, and column and byte of those of B.
FP8_HD constexpr int a_register_row(int warp, int lane, int j) { return 16 * (warp % 4) + lane / 4 + 8 * (j & 1); }
FP8_HD constexpr int a_register_byte(int lane, int j) { return 16 * (j >> 1) + 4 * (lane % 4); }
FP8_HD constexpr int b_register_column(int lane) { return lane / 4; }
FP8_HD constexpr int b_register_byte(int lane, int j) { return 16 * j + 4 * (lane % 4); }

}  // namespace fp8scope::cuda
