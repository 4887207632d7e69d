#include "src/cast_pass.hpp"

#include <fmt/format.h>
#include <tbb/enumerable_thread_specific.h>
#include <tbb/parallel_for.h>

#include <algorithm>
#include <limits>
#include <numeric>

#include "sim/philox.hpp"
#include "sim/quantize.hpp"
#include "sim/simd/error_sums.hpp"
#include "sim/simd/magnitudes.hpp"
#include "src/errors.hpp"

namespace fp8scope {
namespace {

float from_magnitude(std::uint32_t bits) { return bits_float(bits > inf_bits ? 0x7fc00000u : bits); }

}  // namespace

/// The blocks of one shape. `magnitudes` are bits: above infinity where there is a NaN.
struct CastPass::Layout {
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

  void add(const Scales& scales, float amax, float max) {
    low = std::min(low, scales.scale_inv);
    high = std::max(high, scales.scale_inv);
    if (is_finite(amax) && amax > 0.0f)
      headroom = std::min(headroom, static_cast<double>(max) * scales.scale_inv / amax);
  }
  void merge(const ScaleRange& other) {
    low = std::min(low, other.low);
    high = std::max(high, other.high);
    headroom = std::min(headroom, other.headroom);
  }
};

struct CastPass::Tile {
  std::vector<ErrorSums> sums;      ///< [casts]
  std::vector<ScaleRange> ranges;   ///< [casts]
  double bulk_power = 0.0;
};

CastPass::~CastPass() = default;

void CastPass::require_whole_blocks(const Plan& plan, const BlockShape& block, std::int64_t rows,
                                    std::int64_t cols, const std::string& where) {
  if (!plan.whole_blocks) return;
  const bool fits = (block.rows == 0 || rows % block.rows == 0) && (block.cols == 0 || cols % block.cols == 0);
  if (!fits)
    throw DataError(fmt::format("{}: shape [{}, {}] is no multiple of {} blocks, which this recipe needs; pad "
                                "the tensor with zeros or leave the recipe out",
                                where, rows, cols, block_name(block)));
}

std::int64_t CastPass::panel_rows(std::span<const TensorCast> casts) {
  std::int64_t rows = tile_rows;
  for (const TensorCast& cast : casts)
    if (cast.block.rows > 0) rows = std::lcm(rows, cast.block.rows);
  return rows;
}

CastPass::CastPass(const TensorFacts& facts, std::vector<TensorCast> casts, float whole_amax)
    : facts_(facts), casts_(std::move(casts)), results_(casts_.size()), ranges_(casts_.size()),
      row_noise_(casts_.size(), std::vector<double>(facts.rows())) {
  for (const TensorCast& cast : casts_) {
    limits_.push_back(cast_limits(cast.plan.format, cast.plan.cast, facts.bulk_limit()));
    const auto found = std::ranges::find(layouts_, cast.block, &Layout::block);
    layout_of_.push_back(found - layouts_.begin());
    if (found != layouts_.end()) continue;
    const BlockGrid grid(facts.rows(), facts.cols(), cast.block);
    layouts_.push_back({cast.block, grid.block_rows, grid.block_cols, grid.across(), {}});
  }
  whole_tensor_scales(whole_amax);
}

CastResult CastPass::start(const TensorFacts& facts, TensorCast& cast, float whole_amax) {
  CastResult result;
  const bool propagate = cast.plan.amax_rule == AmaxRule::propagate_nan;
  result.amax = whole_amax >= 0.0f ? whole_amax : from_magnitude(propagate ? facts.largest() : facts.largest_number());
  result.age = cast.given ? cast.age : 0;
  result.amax_in_use = cast.given ? cast.amax_in_use : result.amax;
  if (cast.block == BlockShape{} && !cast.given) cast.scales = block_scales(*cast.rule, result.amax);
  return result;
}

void CastPass::whole_tensor_scales(float whole_amax) {
  for (std::size_t i = 0; i < casts_.size(); ++i) {
    results_[i] = start(facts_, casts_[i], whole_amax);
    if (casts_[i].block == BlockShape{}) ranges_[i].add(casts_[i].scales, results_[i].amax, limits_[i].max);
  }
}

/// The largest magnitude of block (block_row, k) of the panel, NaN as the rule says. `bits` is the
/// largest pattern; only where that is a NaN to be ignored are the elements looked at again.
float CastPass::block_amax(const Layout& layout, AmaxRule rule, std::uint32_t bits,
                           const Panel& panel, std::int64_t block_row, std::int64_t k) const {
  if (bits <= inf_bits || rule == AmaxRule::propagate_nan) return from_magnitude(bits);
  const std::int64_t cols = facts_.cols();
  const std::int64_t begin = k * layout.cols, end = std::min(begin + layout.cols, cols);
  std::uint32_t largest = 0;
  if (layout.tall() && layout.block.rows == 0) {
    for (std::int64_t c = begin; c < end; ++c)
      largest = std::max(largest, facts_.column_largest_number()[c]);
  } else {
    const std::int64_t last = std::min((block_row + 1) * layout.rows, panel.count);
    for (std::int64_t r = block_row * layout.rows; r < last; ++r)
      for (std::int64_t c = begin; c < end; ++c)
        largest = larger_magnitude(rule, largest, panel.x[r * cols + c]);
  }
  return from_magnitude(largest);
}

void CastPass::find_block_amaxes(Layout& layout, const Panel& panel) {
  const std::int64_t cols = facts_.cols();
  if (layout.block.rows == 0) {  // one block row: the whole height, known from the facts
    layout.magnitudes.resize(layout.across);
    segment_magnitudes(facts_.column_largest().data(), cols, layout.cols, layout.magnitudes.data());
    return;
  }
  const std::int64_t down = (panel.count + layout.rows - 1) / layout.rows;
  layout.magnitudes.resize(down * layout.across);
  tbb::parallel_for(std::int64_t{0}, down, [&](std::int64_t d) {
    std::vector<std::uint32_t> columns(cols);
    column_magnitudes(panel.x + d * layout.rows * cols,
                      std::min(layout.rows, panel.count - d * layout.rows), cols, columns.data());
    segment_magnitudes(columns.data(), cols, layout.cols,
                       layout.magnitudes.data() + d * layout.across);
  });
}

CastPass::Workspace CastPass::workspace() const {
  Workspace space;
  const std::int64_t cols = facts_.cols();
  space.row.resize(cols);
  for (const Layout& layout : layouts_) space.segments.emplace_back(layout.across);
  for (std::size_t i = 0; i < casts_.size(); ++i) {
    Workspace::OfCast& of = space.casts.emplace_back();
    of.scale.resize(cols);
    of.scale_inv.resize(cols);
    if (!limits_[i].by_magic) of.value.resize(cols);
  }
  return space;
}

void CastPass::add(std::int64_t first, std::int64_t count, const float* x) {
  const Panel panel{first, count, x};
  for (Layout& layout : layouts_)
    if (layout.tall()) find_block_amaxes(layout, panel);

  tbb::enumerable_thread_specific<Workspace> spaces([&] { return workspace(); });
  const std::int64_t tiles = (count + tile_rows - 1) / tile_rows;
  std::vector<Tile> measured(tiles);
  tbb::parallel_for(std::int64_t{0}, tiles, [&](std::int64_t t) {
    Tile& tile = measured[t];
    tile.sums.resize(casts_.size());
    tile.ranges.resize(casts_.size());
    const std::int64_t begin = t * tile_rows, end = std::min(begin + tile_rows, count);
    for (std::int64_t r = begin; r < end; ++r) measure_row(panel, r, spaces.local(), tile);
  });
  for (const Tile& tile : measured) {
    bulk_power_ += tile.bulk_power;
    for (std::size_t i = 0; i < casts_.size(); ++i) {
      results_[i].sums.merge(tile.sums[i]);
      ranges_[i].merge(tile.ranges[i]);
    }
  }
}

/// The decoded code of every element of a row whose first element is number `first` of the tensor.
void CastPass::fill_values(const TensorCast& cast, const float* row, std::int64_t first,
                           Workspace::OfCast& of) {
  const Plan& plan = cast.plan;
  const bool stochastic = plan.cast.rounding == Rounding::stochastic;
  for (std::size_t c = 0; c < of.value.size(); ++c) {
    const RandomBits random = stochastic ? random_bits(cast.seed, first + c) : RandomBits{};
    of.value[c] = decode(plan.format,
                         quantize_element(plan.format, row[c], of.scale[c], plan.cast, random));
  }
}

void CastPass::measure_row(const Panel& panel, std::int64_t r, Workspace& space, Tile& tile) {
  const auto cols = static_cast<std::size_t>(facts_.cols());
  const float* row = panel.x + r * facts_.cols();
  tile.bulk_power += bulk_power({row, cols}, facts_.bulk_limit());
  bool have_row = false;
  for (std::size_t l = 0; l < layouts_.size(); ++l) {
    if (!layouts_[l].single_row()) continue;
    if (!have_row) column_magnitudes(row, 1, cols, space.row.data());
    have_row = true;
    segment_magnitudes(space.row.data(), cols, layouts_[l].cols, space.segments[l].data());
  }
  for (std::size_t i = 0; i < casts_.size(); ++i) {
    fill_scales(i, panel, r, space, tile);
    Workspace::OfCast& of = space.casts[i];
    if (!limits_[i].by_magic) fill_values(casts_[i], row, (panel.first + r) * facts_.cols(), of);
    const ErrorSums sums = error_sums(
        limits_[i], {row, of.scale.data(), of.scale_inv.data(), of.value.data(), cols});
    row_noise_[i][panel.first + r] = sums.noise();
    tile.sums[i].merge(sums);
  }
}

void CastPass::fill_scales(std::size_t cast, const Panel& panel, std::int64_t r, Workspace& space,
                           Tile& tile) {
  const Layout& layout = layouts_[layout_of_[cast]];
  const TensorCast& how = casts_[cast];
  Workspace::OfCast& of = space.casts[cast];
  const std::int64_t block_row = layout.block.rows == 0 ? 0 : r / layout.rows;
  if (of.filled == block_row) return;
  of.filled = block_row;
  if (layout.whole()) {
    std::ranges::fill(of.scale, how.scales.scale);
    std::ranges::fill(of.scale_inv, how.scales.scale_inv);
    return;
  }
  const std::uint32_t* bits = layout.single_row()
                                  ? space.segments[layout_of_[cast]].data()
                                  : layout.magnitudes.data() + block_row * layout.across;
  for (std::int64_t k = 0; k < layout.across; ++k) {
    const std::int64_t begin = k * layout.cols, end = std::min(begin + layout.cols, facts_.cols());
    const float amax = block_amax(layout, how.plan.amax_rule, bits[k], panel, block_row, k);
    const Scales scales = block_scales(*how.rule, amax);
    tile.ranges[cast].add(scales, amax, limits_[cast].max);
    std::fill(of.scale.begin() + begin, of.scale.begin() + end, scales.scale);
    std::fill(of.scale_inv.begin() + begin, of.scale_inv.begin() + end, scales.scale_inv);
  }
}

double CastPass::median_row_noise(const TensorFacts& facts, const std::vector<double>& noise) {
  std::vector<double> ratio;
  for (std::int64_t r = 0; r < facts.rows(); ++r)
    if (facts.row_power()[r] > 0.0) ratio.push_back(noise[r] / facts.row_power()[r]);
  if (ratio.empty()) return std::numeric_limits<double>::quiet_NaN();
  const auto middle = ratio.begin() + (ratio.size() - 1) / 2;
  std::nth_element(ratio.begin(), middle, ratio.end());
  return *middle;
}

std::vector<CastResult> CastPass::finish() {
  for (std::size_t i = 0; i < casts_.size(); ++i) {
    results_[i].bulk_power = bulk_power_;
    results_[i].scale_inv_min = ranges_[i].low;
    results_[i].scale_inv_max = ranges_[i].high;
    results_[i].headroom = ranges_[i].headroom;
    results_[i].median_row_noise = median_row_noise(facts_, row_noise_[i]);
  }
  return std::move(results_);
}

}  // namespace fp8scope
