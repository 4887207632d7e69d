#pragma once
// Inside of CastPass: what its two files share.

#include <tbb/enumerable_thread_specific.h>
#include <tbb/parallel_for.h>

#include <algorithm>
#include <limits>

#include "sim/simd/magnitudes.hpp"
#include "src/cast_pass.hpp"
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
    struct Space {
      explicit Space(std::int64_t n) : largest(n), numbers(n), here(n), x(group_rows * n) {}
      std::vector<std::uint32_t> largest, numbers, here;
      std::vector<float> x;
    };
    tbb::enumerable_thread_specific<Space> spaces([&] { return Space(cols); });
    for_each_group(count, cols, [&](std::int64_t rows, std::int64_t begin) {
      Space& space = spaces.local();
      hadamard(how, rows, cols, turned, {from + begin, static_cast<std::size_t>(rows * cols)}, space.x);
      column_magnitudes(space.x.data(), rows, cols, space.here.data());
      raise_magnitudes(space.here.data(), cols, space.largest.data());
      for (std::int64_t c = 0; c < cols; ++c) {
        if (space.here[c] <= inf_bits) continue;
        space.here[c] = 0;
        for (std::int64_t r = 0; r < rows; ++r)
          space.here[c] = larger_magnitude(AmaxRule::ignore_nan, space.here[c], space.x[r * cols + c]);
      }
      raise_magnitudes(space.here.data(), cols, space.numbers.data());
    });
    columns.resize(cols, 0);
    column_numbers.resize(cols, 0);
    for (const Space& space : spaces) {
      raise_magnitudes(space.largest.data(), cols, columns.data());
      raise_magnitudes(space.numbers.data(), cols, column_numbers.data());
    }
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
