#pragma once
// Inside of CastPass: what its two files share.

#include <tbb/enumerable_thread_specific.h>
#include <tbb/parallel_for.h>

#include <algorithm>
#include <limits>

#include "sim/simd/magnitudes.hpp"
#include "src/cast_pass.hpp"
#include "src/column_maxima.hpp"
#include "src/large_array.hpp"

namespace fp8scope {

/// Rows that a thread transforms at a time: those of a transform down the columns.
inline constexpr std::int64_t group_rows = 16;

/// What some casts take instead of the tensor: its Hadamard transform. The first is the tensor itself.
struct CastPass::Transform {
  Hadamard how;
  bool turned = false;
  std::vector<std::uint32_t> columns, column_numbers;  ///< [cols] largest magnitudes, with and without NaN
  LargeArray<float> x;                                 ///< [count, cols] of the panel

  void apply(std::int64_t count, std::int64_t cols, const float* from) {
    x.resize(static_cast<std::size_t>(count * cols));
    for_each_group(count, cols, [&](std::int64_t rows, std::int64_t begin) {
      const auto size = static_cast<std::size_t>(rows * cols);
      hadamard(how, rows, cols, turned, {from + begin, size}, {x.data() + begin, size});
    });
  }
  /// Takes in the columns of a panel, whose transform is not kept.
  void find_columns(std::int64_t count, std::int64_t cols, const float* from) {
    ColumnMaxima maxima(cols);
    tbb::enumerable_thread_specific<std::vector<float>> spaces([&] { return std::vector<float>(group_rows * cols); });
    for_each_group(count, cols, [&](std::int64_t rows, std::int64_t begin) {
      std::vector<float>& transformed = spaces.local();
      hadamard(how, rows, cols, turned, {from + begin, static_cast<std::size_t>(rows * cols)}, transformed);
      maxima.add(transformed.data(), rows);
    });
    columns.resize(cols, 0);
    column_numbers.resize(cols, 0);
    maxima.raise(columns, column_numbers);
  }
  /// Calls work(rows, number of the first element) for every group of 16 rows.
  static void for_each_group(std::int64_t count, std::int64_t cols, const auto& work) {
    tbb::parallel_for(std::int64_t{0}, (count + group_rows - 1) / group_rows, [&](std::int64_t g) {
      work(std::min(group_rows, count - g * group_rows), g * group_rows * cols);
    });
  }
  static std::uint32_t largest(const std::vector<std::uint32_t>& columns) {
    return *std::ranges::max_element(columns);
  }
};

/// The blocks of one shape. `magnitudes` are bits: above infinity where there is a NaN.
struct CastPass::Layout {
  std::size_t transform;
  BlockShape block;
  std::int64_t rows;  ///< of a block, resolved
  std::int64_t cols;
  std::int64_t across;
  std::vector<std::uint32_t> magnitudes;  ///< [block rows of the panel, across]; of tall blocks only

  bool whole() const { return block == BlockShape{}; }
  bool single_row() const { return !whole() && rows == 1; }
  bool tall() const { return !whole() && !single_row(); }
};

/// Range of the scales of a cast, and how near it came to clipping. Minima: the order is free.
struct CastPass::ScaleRange {
  float low = std::numeric_limits<float>::infinity();
  float high = 0.0f;
  double headroom = std::numeric_limits<double>::infinity();
  std::uint64_t blocks = 0, floored = 0;

  /// Several threads may look at a block; one of them counts it.
  void add(const Scales& scales, float amax, float max, float floor, bool count) {
    blocks += count;
    floored += count && amax < floor;
    low = std::min(low, scales.scale_inv);
    high = std::max(high, scales.scale_inv);
    if (is_finite(amax) && amax > 0.0f)
      headroom = std::min(headroom, static_cast<double>(max) * scales.scale_inv / amax);
  }
  void merge(const ScaleRange& other) {
    low = std::min(low, other.low);
    high = std::max(high, other.high);
    headroom = std::min(headroom, other.headroom);
    blocks += other.blocks;
    floored += other.floored;
  }
};

struct CastPass::Tile {
  std::vector<ErrorSums> sums;      ///< [casts]
  std::vector<ScaleRange> ranges;   ///< [casts]
  double bulk_power = 0.0;
  std::shared_ptr<TileMeter::Rows> tiles;
};

}  // namespace fp8scope
