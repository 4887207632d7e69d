#include "src/cast_pass.hpp"

#include <fmt/format.h>
#include <tbb/enumerable_thread_specific.h>
#include <tbb/parallel_for.h>

#include <algorithm>
#include <limits>
#include <numeric>

#include "sim/philox.hpp"
#include "sim/quantize.hpp"
#include "sim/tensor_cast.hpp"
#include "sim/simd/codec.hpp"
#include "sim/simd/error_sums.hpp"
#include "sim/simd/magnitudes.hpp"
#include "src/errors.hpp"
#include "src/large_array.hpp"

namespace fp8scope {
namespace {

/// Rows whose transform is held at a time.
constexpr std::int64_t prepared_rows = 256;
/// Rows that a thread transforms at a time: those of a transform down the columns.
constexpr std::int64_t group_rows = 16;
/// Rows whose tiles are held at a time.
constexpr std::int64_t tile_panel_rows = 256;

float from_magnitude(std::uint32_t bits) { return bits_float(bits > inf_bits ? 0x7fc00000u : bits); }

}  // namespace

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

CastPass::~CastPass() = default;

float CastPass::floor_of(const TensorCast& cast) {
  if (!cast.rule || cast.given || cast.rule->add_floor) return 0.0f;
  return cast.rule->kind == ScaleRule::Kind::torchao ? std::max(cast.rule->floor, 1e-12f) : cast.rule->floor;
}

void CastPass::require_whole_blocks(const Plan& plan, const BlockShape& block, std::int64_t rows,
                                    std::int64_t cols, const std::string& where) {
  const bool turned = block != plan.block;
  if (plan.hadamard.size > 0 && (turned ? rows : cols) % plan.hadamard.size != 0)
    throw DataError(fmt::format("{}: shape [{}, {}]: the dimension that is contracted is no multiple of {}, the size "
                                "of this recipe's Hadamard transform; pad the tensor with zeros or leave the recipe out",
                                where, rows, cols, plan.hadamard.size));
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

CastPass::CastPass(const TensorFacts& facts, std::vector<TensorCast> casts, float whole_amax,
                   const std::optional<TileRequest>& tiles)
    : facts_(facts), casts_(std::move(casts)), results_(casts_.size()), ranges_(casts_.size()),
      row_noise_(casts_.size(), std::vector<double>(facts.rows())) {
  transforms_.emplace_back();
  for (const TensorCast& cast : casts_) {
    limits_.push_back(cast_limits(cast.plan.format, cast.plan.cast, facts.bulk_limit(), cast.plan.apply == Apply::divide));
    if (cast.plan.codec != Codec::none) {
      limits_.back().by_magic = false;  // nothing clips
      limits_.back().max = limits_.back().clip = float_max;
      limits_.back().min_normal = 0.0f;
    }
    rules_.push_back(cast.rule ? *cast.rule : ScaleRule{});
    const bool plain = cast.plan.hadamard.size == 0;
    const auto same = [&](const Transform& t) {
      return t.how == cast.plan.hadamard && (plain || t.turned == cast.turned);
    };
    const std::size_t transform = std::ranges::find_if(transforms_, same) - transforms_.begin();
    if (transform == transforms_.size()) transforms_.push_back({cast.plan.hadamard, cast.turned, {}, {}, {}});
    const auto fits = [&](const Layout& l) { return l.block == cast.block && l.transform == transform; };
    const auto found = std::ranges::find_if(layouts_, fits);
    layout_of_.push_back(found - layouts_.begin());
    if (found != layouts_.end()) continue;
    const BlockGrid grid(facts.rows(), facts.cols(), cast.block);
    layouts_.push_back({transform, cast.block, grid.block_rows, grid.block_cols, grid.across(), {}});
  }
  whole_amax_ = whole_amax;
  for (std::size_t i = 0; i < casts_.size(); ++i)
    if (layouts_[layout_of_[i]].transform == 0) settle(i);
  if (!tiles) return;
  std::vector<TilePlan> plans;
  for (const TensorCast& cast : casts_)
    plans.push_back({tiles->shape.value_or(cast.block), cast.plan, cast.turned, floor_of(cast)});
  tiles_ = std::make_unique<TileMeter>(facts.rows(), facts.cols(), std::move(plans));
}

bool CastPass::needs_preparation() const { return transforms_.size() > 1; }

/// The amax of a cast's tensor, and what follows from it.
void CastPass::settle(std::size_t i) {
  TensorCast& cast = casts_[i];
  CastResult& result = results_[i];
  const bool propagate = cast.plan.amax_rule == AmaxRule::propagate_nan;
  const Transform& transform = transforms_[layouts_[layout_of_[i]].transform];
  if (transform.how.size > 0)
    result.amax = from_magnitude(Transform::largest(propagate ? transform.columns : transform.column_numbers));
  else
    result.amax = whole_amax_ >= 0.0f ? whole_amax_
                                      : from_magnitude(propagate ? facts_.largest() : facts_.largest_number());
  result.age = cast.given ? cast.age : 0;
  result.frozen = cast.given ? cast.frozen : 0;
  result.amax_in_use = cast.given ? cast.amax_in_use : result.amax;
  if (cast.plan.scope == Scope::tensor) rules_[i] = with_tensor_amax(rules_[i], result.amax);
  if (cast.block != BlockShape{}) return;
  if (!cast.given) cast.scales = block_scales(rules_[i], result.amax);
  ranges_[i].add(cast.scales, result.amax, limits_[i].max, floor_of(cast), true);
}

void CastPass::settle_transformed() {
  if (settled_) return;
  settled_ = true;
  for (std::size_t i = 0; i < casts_.size(); ++i)
    if (layouts_[layout_of_[i]].transform > 0) settle(i);
}

void CastPass::prepare(std::int64_t count, const float* x) {
  for (std::size_t t = 1; t < transforms_.size(); ++t) transforms_[t].find_columns(count, facts_.cols(), x);
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
    const Transform& transform = transforms_[layout.transform];
    const auto& columns = layout.transform == 0 ? facts_.column_largest_number() : transform.column_numbers;
    for (std::int64_t c = begin; c < end; ++c) largest = std::max(largest, columns[c]);
  } else {
    const std::int64_t last = std::min((block_row + 1) * layout.rows, panel.count);
    for (std::int64_t r = block_row * layout.rows; r < last; ++r)
      for (std::int64_t c = begin; c < end; ++c)
        largest = larger_magnitude(rule, largest, panel.of[layout.transform][r * cols + c]);
  }
  return from_magnitude(largest);
}

void CastPass::find_block_amaxes(Layout& layout, const Panel& panel) {
  const std::int64_t cols = facts_.cols();
  if (layout.block.rows == 0) {  // one block row: the whole height, known from the facts or from prepare()
    const auto& columns = layout.transform == 0 ? facts_.column_largest() : transforms_[layout.transform].columns;
    layout.magnitudes.resize(layout.across);
    segment_magnitudes(columns.data(), cols, layout.cols, layout.magnitudes.data());
    return;
  }
  const std::int64_t down = (panel.count + layout.rows - 1) / layout.rows;
  layout.magnitudes.resize(down * layout.across);
  tbb::parallel_for(std::int64_t{0}, down, [&](std::int64_t d) {
    std::vector<std::uint32_t> columns(cols);
    column_magnitudes(panel.of[layout.transform] + d * layout.rows * cols,
                      std::min(layout.rows, panel.count - d * layout.rows), cols, columns.data());
    segment_magnitudes(columns.data(), cols, layout.cols,
                       layout.magnitudes.data() + d * layout.across);
  });
}

CastPass::Workspace CastPass::workspace() const {
  Workspace space;
  const std::int64_t cols = facts_.cols();
  space.rows.assign(transforms_.size(), std::vector<std::uint32_t>(cols));
  for (const Layout& layout : layouts_) space.segments.emplace_back(layout.across);
  for (std::size_t i = 0; i < casts_.size(); ++i) {
    Workspace::OfCast& of = space.casts.emplace_back();
    of.scale.resize(cols);
    of.scale_inv.resize(cols);
    const bool clamps = clamps_nan(casts_[i].plan.format, casts_[i].plan.cast);
    if (!limits_[i].by_magic || clamps) of.value.resize(cols);
    if (clamps) of.kept_scale.resize(cols);
    if (tiles_) of.stored.resize(cols);
  }
  return space;
}

void CastPass::add(std::int64_t first, std::int64_t count, const float* x) {
  settle_transformed();
  // Transformed panels and the tiles of a panel are held: small ones.
  const std::int64_t step = panel_rows(casts_), most = step * ((std::max(prepared_rows, tile_panel_rows) + step - 1) / step);
  if ((needs_preparation() || tiles_) && count > most) {
    for (std::int64_t r = 0; r < count; r += most) add(first + r, std::min(most, count - r), x + r * facts_.cols());
    return;
  }
  Panel panel{first, count, x, {x}};
  for (std::size_t t = 1; t < transforms_.size(); ++t) {
    transforms_[t].apply(count, facts_.cols(), x);
    panel.of.push_back(transforms_[t].x.data());
  }
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
    if (tiles_) tile.tiles = tiles_->rows(first + begin, first + end);
    for (std::int64_t r = begin; r < end; ++r) measure_row(panel, r, spaces.local(), tile);
  });
  for (const Tile& tile : measured) {
    bulk_power_ += tile.bulk_power;
    if (tiles_) tiles_->merge(*tile.tiles);
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
  const bool stochastic = draws_bits(plan.cast.rounding);
  for (std::size_t c = 0; c < of.value.size(); ++c) {
    const RandomBits random = stochastic ? random_bits(cast.seed, first + c) : RandomBits{};
    of.value[c] = decode(plan.format,
                         quantize_element(plan.format, row[c], of.scale[c], plan.cast, random, plan.apply));
  }
}

/// Where a NaN becomes a number it is no lost element: of.kept_scale, the scales but where x and scale make a
/// NaN, there one that makes 0. Returns whether there was any; the codes then come from the true scales.
bool CastPass::keep_products(const TensorCast& cast, const float* row, Workspace::OfCast& of) {
  const bool divide = cast.plan.apply == Apply::divide;
  bool any = false;
  for (std::size_t c = 0; c < of.kept_scale.size(); ++c) {
    const float scale = of.scale[c], v = divide ? row[c] / scale : row[c] * scale;
    any |= v != v;
    of.kept_scale[c] = v == v ? scale : divide ? 1.0f : 0.0f;
  }
  return any;
}

void CastPass::measure_row(const Panel& panel, std::int64_t r, Workspace& space, Tile& tile) {
  const auto cols = static_cast<std::size_t>(facts_.cols());
  const float* row = panel.x + r * facts_.cols();
  tile.bulk_power += bulk_power({row, cols}, facts_.bulk_limit());
  std::vector<bool> have_row(transforms_.size(), false);
  for (std::size_t l = 0; l < layouts_.size(); ++l) {
    if (!layouts_[l].single_row()) continue;
    const std::size_t t = layouts_[l].transform;
    if (!have_row[t]) column_magnitudes(panel.of[t] + r * facts_.cols(), 1, cols, space.rows[t].data());
    have_row[t] = true;
    segment_magnitudes(space.rows[t].data(), cols, layouts_[l].cols, space.segments[l].data());
  }
  for (std::size_t i = 0; i < casts_.size(); ++i) {
    fill_scales(i, panel, r, space, tile);
    Workspace::OfCast& of = space.casts[i];
    const float* taken = panel.of[layouts_[layout_of_[i]].transform] + r * facts_.cols();
    const float* values = of.value.data();
    CastLimits limits = limits_[i];
    const bool clamped = clamps_nan(casts_[i].plan.format, casts_[i].plan.cast) && keep_products(casts_[i], taken, of);
    if (clamped) limits.by_magic = false;
    if (casts_[i].plan.codec != Codec::none) {
      values = of.block_values.data() + r % layouts_[layout_of_[i]].rows * facts_.cols();
    } else if (!limits.by_magic) {
      fill_values(casts_[i], taken, (panel.first + r) * facts_.cols(), of);
    }
    const CastRow cast_row{taken, clamped ? of.kept_scale.data() : of.scale.data(), of.scale_inv.data(), values, cols};
    const ErrorSums sums = error_sums(limits, cast_row);
    if (tiles_) tiles_->add(*tile.tiles, panel.first + r, i, limits, cast_row, of.stored.data());
    row_noise_[i][panel.first + r] = sums.noise();
    tile.sums[i].merge(sums);
  }
}

/// The rule of block k of a row, with the factor that it lies under.
ScaleRule CastPass::rule_at(std::size_t cast, const Panel& panel, const Workspace& space, std::int64_t r,
                            std::int64_t k) const {
  const Plan& plan = casts_[cast].plan;
  if (plan.scope != Scope::row) return rules_[cast];
  const Layout& layout = layouts_[layout_of_[cast]];
  const bool propagate = plan.amax_rule == AmaxRule::propagate_nan;
  if (casts_[cast].turned) {  // of the column
    const Transform& t = transforms_[layout.transform];
    const bool plain = layout.transform == 0;
    const auto& columns = propagate ? (plain ? facts_.column_largest() : t.columns)
                                    : (plain ? facts_.column_largest_number() : t.column_numbers);
    return with_tensor_amax(rules_[cast], from_magnitude(columns[k * layout.cols]));
  }
  std::uint32_t bits = *std::ranges::max_element(space.segments[layout_of_[cast]]);
  if (bits > inf_bits && !propagate) {
    const std::span row(panel.of[layout.transform] + r * facts_.cols(), static_cast<std::size_t>(facts_.cols()));
    bits = float_bits(amax(AmaxRule::ignore_nan, row));
  }
  return with_tensor_amax(rules_[cast], from_magnitude(bits));
}

/// What the codec of a cast makes of all blocks of a block row.
void CastPass::fill_codec_values(std::size_t cast, const Panel& panel, std::int64_t block_row, Workspace::OfCast& of) const {
  const Layout& layout = layouts_[layout_of_[cast]];
  const std::int64_t cols = facts_.cols(), rows = std::min(layout.rows, panel.count - block_row * layout.rows);
  const auto size = static_cast<std::size_t>(rows * cols);
  of.block_values.resize(size);
  codec_matrix(casts_[cast].plan.codec, BlockGrid(rows, cols, {layout.rows, layout.cols}),
               {panel.of[layout.transform] + block_row * layout.rows * cols, size}, of.block_values);
}

/// The elements of a block along the contracted dimension first, for a choice between two casts of it.
std::vector<float> CastPass::block_elements(std::size_t cast, const Panel& panel, std::int64_t block_row,
                                            std::int64_t k) const {
  const Layout& layout = layouts_[layout_of_[cast]];
  const std::int64_t cols = facts_.cols();
  const std::int64_t r0 = block_row * layout.rows, r1 = std::min(r0 + layout.rows, panel.count);
  const std::int64_t c0 = k * layout.cols, c1 = std::min(c0 + layout.cols, cols);
  const float* x = panel.of[layout.transform];
  std::vector<float> block;
  if (casts_[cast].turned)
    for (std::int64_t c = c0; c < c1; ++c)
      for (std::int64_t r = r0; r < r1; ++r) block.push_back(x[r * cols + c]);
  else
    for (std::int64_t r = r0; r < r1; ++r) block.insert(block.end(), x + r * cols + c0, x + r * cols + c1);
  return block;
}

void CastPass::fill_scales(std::size_t cast, const Panel& panel, std::int64_t r, Workspace& space,
                           Tile& tile) {
  const Layout& layout = layouts_[layout_of_[cast]];
  const TensorCast& how = casts_[cast];
  Workspace::OfCast& of = space.casts[cast];
  const std::int64_t block_row = layout.block.rows == 0 ? 0 : r / layout.rows;
  const bool first = layout.block.rows == 0 ? panel.first + r == 0 : r % layout.rows == 0;
  if (of.filled == block_row && !first) return;
  of.filled = block_row;
  if (how.plan.codec != Codec::none) fill_codec_values(cast, panel, block_row, of);
  if (layout.whole()) {
    std::ranges::fill(of.scale, how.scales.scale);
    std::ranges::fill(of.scale_inv, how.scales.scale_inv);
    if (tiles_)
      std::ranges::fill(of.stored, how.given ? float_bits(how.scales.scale_inv)
                                             : stored_scale(rules_[cast], how.plan.storage, results_[cast].amax));
    return;
  }
  const std::uint32_t* bits = layout.single_row()
                                  ? space.segments[layout_of_[cast]].data()
                                  : layout.magnitudes.data() + block_row * layout.across;
  const bool by_column = how.plan.scope == Scope::row && how.turned;
  ScaleRule rule = by_column ? rules_[cast] : rule_at(cast, panel, space, r, 0);
  for (std::int64_t k = 0; k < layout.across; ++k) {
    const std::int64_t begin = k * layout.cols, end = std::min(begin + layout.cols, facts_.cols());
    const float amax = block_amax(layout, how.plan.amax_rule, bits[k], panel, block_row, k);
    if (by_column) rule = rule_at(cast, panel, space, r, k);
    const ScaleRule chosen = how.plan.select == Select::none
                                 ? rule
                                 : select_4over6(how.plan, rule, amax, block_elements(cast, panel, block_row, k),
                                                 how.turned ? layout.rows : layout.cols);
    const Scales scales = block_scales(chosen, amax);
    tile.ranges[cast].add(scales, amax, limits_[cast].max, floor_of(how), first);
    if (tiles_)
      std::fill(of.stored.begin() + begin, of.stored.begin() + end, stored_scale(chosen, how.plan.storage, amax));
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
    results_[i].blocks = ranges_[i].blocks;
    results_[i].floored = ranges_[i].floored;
    results_[i].median_row_noise = median_row_noise(facts_, row_noise_[i]);
  }
  return std::move(results_);
}

}  // namespace fp8scope
