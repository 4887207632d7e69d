#pragma once

#include <cstdint>

#include "cuda/chunk.hpp"
#include "sim/amax.hpp"
#include "sim/scale.hpp"

namespace fp8scope::cuda {

/// Where the scales of blocks [down, across] go; what is nullptr is not wanted.
struct ScaleOutput {
  Scales* both = nullptr;          ///< [down, across]
  std::uint32_t* amax = nullptr;   ///< [down, across] pattern of the block's largest magnitude
  float* inverse = nullptr;        ///< scale_inv at row * row_stride + col * col_stride
  std::uint8_t* code = nullptr;    ///< its code by `storage`, at the same place
  ScaleStorage storage = ScaleStorage::e8m0;
  std::int64_t row_stride = 0, col_stride = 1;
};

/// Cast of a row-major tensor whose blocks share a scale = rule(amax of the block): what the
/// kernels of quantize_segments.hpp, _tiles.hpp and _columns.hpp are told.
struct BlockJob {
  const void* x = nullptr;             ///< [rows, cols]
  std::int64_t rows = 0, cols = 0;
  std::int64_t block_rows = 1, block_cols = 1;
  std::int64_t across = 0;             ///< blocks of a row of blocks
  bool aligned = false;                ///< every chunk is whole and its address a multiple of 16 bytes
  ScaleRule rule;
  AmaxRule amax_rule = AmaxRule::ignore_nan;
  Coding coding;
  std::uint8_t* codes = nullptr;       ///< [rows, cols], or nullptr: scales only
  std::uint8_t* transposed = nullptr;  ///< [cols, rows]; quantize_columns.hpp only
  ScaleOutput scales;
};

inline namespace FP8_LOOPS {

/// stored_scale() of sim/scale.hpp for the storages of a byte.
FP8_KERNEL std::uint8_t scale_code(const ScaleRule& rule, ScaleStorage storage, std::uint32_t top, const Scales& scales) {
  if (storage == ScaleStorage::e4m3) return static_cast<std::uint8_t>(nvfp4_block_code(rule, amax_of(top)));
  if (rule.kind == ScaleRule::Kind::moss) return static_cast<std::uint8_t>(e8m0_code_of(rule, amax_of(top)));
  return static_cast<std::uint8_t>(e8m0_code(scales.scale_inv));
}

FP8_KERNEL void write_scales(const BlockJob& job, std::int64_t row, std::int64_t col, std::uint32_t top,
                             const Scales& scales) {
  const ScaleOutput& out = job.scales;
  const std::int64_t dense = row * job.across + col;
  const std::int64_t strided = row * out.row_stride + col * out.col_stride;
  if (out.both) out.both[dense] = scales;
  if (out.amax) out.amax[dense] = top;
  if (out.inverse) out.inverse[strided] = scales.scale_inv;
  if (out.code) out.code[strided] = scale_code(job.rule, out.storage, top, scales);
}

}  // namespace FP8_LOOPS
}  // namespace fp8scope::cuda
