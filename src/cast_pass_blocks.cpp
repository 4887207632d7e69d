// Amaxes, rules and scales of the blocks of a panel.
#include "sim/simd/codec.hpp"
#include "sim/tensor_cast.hpp"
#include "src/cast_pass_parts.hpp"

namespace fp8scope {

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

}  // namespace fp8scope
