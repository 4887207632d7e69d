#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "sim/accumulator.hpp"
#include "sim/block.hpp"
#include "sim/format.hpp"
#include "sim/operand.hpp"
#include "sim/scale_order.hpp"
#include "src/dump.hpp"
#include "src/hdf5.hpp"

namespace fp8scope {

/// Which rows of A and B an element of D belongs to: `tiles` products of [m, k] by [n, k], one after
/// the other. A list of dot products is that many tiles of one element.
struct TileShape {
  std::size_t tiles = 0, m = 1, n = 1;

  std::size_t words() const { return tiles * m * n; }
  std::size_t a_row(std::size_t i) const { return i / (m * n) * m + i / n % m; }
  std::size_t b_row(std::size_t i) const { return i / (m * n) * n + i % n; }
};

/// The FP32 scales of a matrix of codes, one per block; none: every scale is 1.
struct ProductScales {
  BlockGrid grid{0, 0, {}};
  std::vector<float> scale_inv;  ///< [grid.blocks()], or empty

  bool single() const { return scale_inv.size() == 1; }
  float at(std::size_t row, std::size_t k) const {
    if (scale_inv.empty()) return 1.0f;
    return scale_inv[grid.block(static_cast<std::int64_t>(row), static_cast<std::int64_t>(k))];
  }
};

/// Results of whole products, or of tiles, of a matrix unit or a kernel: one group of a dump file whose d has
/// two axes or three. Lists of dot products are a Dump.
///
/// Dot products: datasets a [n, k], b [n, k], c [n], d [n], optionally scale_a, scale_b [n, k / block]
/// codes of the unit's block scales. Tiles: a [v, m, k], b [v, n, k], c, d [v, m, n]. A product of
/// matrices: a [m, k], b [n, k], d [m, n], optionally c [m, n], and FP32 scales scale_a, scale_b of the
/// blocks that their shapes say. Attributes a_fmt, b_fmt, c_fmt, d_fmt (f32, f16, bf16, tf32 or a
/// format's name); words as unsigned integers.
struct RecordedProduct : RecordedWords {
  TileShape shape;
  ProductScales scales_a, scales_b;        ///< binary32, applied outside the unit

  std::size_t words() const { return shape.words(); }
  /// Whether a scale changes within a row of A or a column of B, or differs between them.
  bool block_scaled() const { return scales_a.scale_inv.size() > 1 || scales_b.scale_inv.size() > 1; }
};

/// Whether a group's d is a product of matrices or tiles of one.
bool is_product(const h5::Group& group);

/// Throws DataError where datasets or attributes are missing or do not fit each other.
RecordedProduct read_product(const h5::Group& group, const std::string& name);

/// When the sums leave the unit and how they come together outside it.
struct Schedule {
  std::size_t every = 0;  ///< N_C; 0: never
  std::size_t first = 0;  ///< products before the first promotion; 0: as the others
  ScaleOrder order = ScaleOrder::plain;
  bool late_scale = false;  ///< a chunk takes the scales of its last product, else of its first

  friend bool operator==(const Schedule&, const Schedule&) = default;
};

/// A way to compute a dump's results.
struct ProductModel {
  std::string name;            ///< of the model
  Model model;
  Schedule schedule;
  /// "hopper_wgmma", or "hopper_wgmma promoted every 128, deepgemm order".
  std::string text() const;
};

/// Word i of d as the model computes it.
std::uint32_t recompute_word(const RecordedProduct& dump, const ProductModel& model, std::size_t i);

/// d as the model computes it, on all threads.  [words()] words
std::vector<std::uint32_t> recompute(const RecordedProduct& dump, const ProductModel& model);

}  // namespace fp8scope
