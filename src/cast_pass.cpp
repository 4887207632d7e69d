#include <fmt/format.h>

#include <numeric>

#include "sim/philox.hpp"
#include "sim/quantize.hpp"
#include "sim/simd/error_sums.hpp"
#include "src/cast_pass_parts.hpp"
#include "src/errors.hpp"

namespace fp8scope {
namespace {

/// Rows whose transform is held at a time.
constexpr std::int64_t prepared_rows = 256;
/// Rows whose tiles are held at a time.
constexpr std::int64_t tile_panel_rows = 256;

}  // namespace

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
