#include "src/tiles/tile_meter.hpp"

#include <algorithm>

#include "sim/amax.hpp"
#include "sim/simd/error_sums.hpp"

namespace fp8scope {

/// What a tile holds, whatever the recipe.
struct TileMeter::Content {
  MomentSums moments;
  std::uint32_t largest = 0, largest_number = 0, smallest = magnitude_bits;

  void merge(const Content& other) {
    moments.merge(other.moments);
    largest = std::max(largest, other.largest);
    largest_number = std::max(largest_number, other.largest_number);
    smallest = std::min(smallest, other.smallest);
  }
};

struct TileMeter::Loss {
  ErrorSums sums;
  Scales scales;
  std::uint32_t stored = 0;

  void merge(const Loss& other) {
    sums.merge(other.sums);
    scales = other.scales, stored = other.stored;
  }
};

struct TileMeter::Layout {
  BlockShape tile;
  Hadamard transform;  ///< casts of another transform meet other elements
  bool turned;
  BlockGrid grid;
  std::size_t first_cast;
};

class TileMeter::Rows {
 public:
  Rows(const TileMeter& meter, std::int64_t first, std::int64_t last) : exponents(meter.casts_.size()) {
    for (const Layout& layout : meter.layouts_) {
      const std::int64_t top = first / layout.grid.block_rows, bottom = (last - 1) / layout.grid.block_rows;
      tops.push_back(top);
      content.emplace_back((bottom - top + 1) * layout.grid.across());
    }
    for (const std::size_t l : meter.layout_of_) losses.emplace_back(content[l].size());
    end = last;
  }
  std::int64_t end;                          ///< row after the last
  std::vector<std::int64_t> tops;            ///< [layouts] first block row
  std::vector<std::vector<Content>> content; ///< [layouts][block rows, across]
  std::vector<std::vector<Loss>> losses;     ///< [casts][block rows, across]
  std::vector<ScaledExponents> exponents;    ///< [casts]
};

namespace {

void count_exponents(const CastRow& row, ScaledExponents& bins) {
  for (std::size_t i = 0; i < row.n; ++i) {
    const std::uint32_t magnitude = float_bits(row.x[i]) & magnitude_bits;
    if (magnitude == 0 || magnitude >= inf_bits) continue;
    const auto field = [](std::uint32_t bits) { return static_cast<int>((bits & magnitude_bits) >> 23); };
    // A binary32 subnormal lies below every element format: its field is near enough.
    const int difference = field(magnitude) - field(float_bits(row.scale_inv[i]));
    ++bins[std::clamp(difference - scaled_exponent_low, 0, scaled_exponent_bins - 1)];
  }
}

}  // namespace

TileMeter::TileMeter(std::int64_t rows, std::int64_t cols, std::vector<TilePlan> casts)
    : rows_(rows), cols_(cols), casts_(std::move(casts)), results_(casts_.size()) {
  for (std::size_t i = 0; i < casts_.size(); ++i) {
    const TilePlan& how = casts_[i];
    const auto found = std::ranges::find_if(layouts_, [&](const Layout& layout) {
      const bool same_elements = layout.transform == how.plan.hadamard &&
                                 (how.plan.hadamard.size == 0 || layout.turned == how.turned);
      return layout.tile == how.tile && same_elements;
    });
    layout_of_.push_back(found - layouts_.begin());
    if (found == layouts_.end()) layouts_.push_back({how.tile, how.plan.hadamard, how.turned, BlockGrid(rows, cols, how.tile), i});
  }
}
TileMeter::~TileMeter() = default;

std::shared_ptr<TileMeter::Rows> TileMeter::rows(std::int64_t first, std::int64_t last) const {
  return std::make_shared<Rows>(*this, first, last);
}

void TileMeter::add(Rows& rows, std::int64_t r, std::size_t cast, const CastLimits& limits, const CastRow& row,
                    const std::uint32_t* stored) const {
  const std::size_t l = layout_of_[cast];
  const Layout& layout = layouts_[l];
  const std::int64_t line = (r / layout.grid.block_rows - rows.tops[l]) * layout.grid.across();
  count_exponents(row, rows.exponents[cast]);
  for (std::int64_t k = 0; k < layout.grid.across(); ++k) {
    const std::size_t begin = k * layout.grid.block_cols;
    const std::size_t n = std::min<std::size_t>(layout.grid.block_cols, row.n - begin);
    if (cast == layout.first_cast) {
      Content content{moment_sums({row.x + begin, n}), 0, 0, magnitude_bits};
      for (std::size_t i = begin; i < begin + n; ++i) {
        const std::uint32_t magnitude = float_bits(row.x[i]) & magnitude_bits;
        content.largest = std::max(content.largest, magnitude);
        if (magnitude <= inf_bits) content.largest_number = std::max(content.largest_number, magnitude);
        if (magnitude != 0) content.smallest = std::min(content.smallest, magnitude);
      }
      rows.content[l][line + k].merge(content);
    }
    const float* value = limits.by_magic ? nullptr : row.value + begin;
    rows.losses[cast][line + k].merge(
        {error_sums(limits, {row.x + begin, row.scale + begin, row.scale_inv + begin, value, n}),
         {row.scale[begin], row.scale_inv[begin]},
         stored[begin]});
  }
}

void TileMeter::merge(const Rows& rows) {
  if (!open_) open_ = this->rows(0, rows.end);
  for (std::size_t c = 0; c < casts_.size(); ++c)
    for (int bin = 0; bin < scaled_exponent_bins; ++bin) results_[c].exponents[bin] += rows.exponents[c][bin];
  // Grow the open rows to hold the new ones, add them, and let go of what is complete.
  for (std::size_t l = 0; l < layouts_.size(); ++l) {
    const std::size_t offset = (rows.tops[l] - open_->tops[l]) * layouts_[l].grid.across();
    const std::size_t size = offset + rows.content[l].size();
    if (open_->content[l].size() < size) open_->content[l].resize(size);
    for (std::size_t i = 0; i < rows.content[l].size(); ++i) open_->content[l][offset + i].merge(rows.content[l][i]);
  }
  for (std::size_t c = 0; c < casts_.size(); ++c) {
    const std::size_t l = layout_of_[c];
    const std::size_t offset = (rows.tops[l] - open_->tops[l]) * layouts_[l].grid.across();
    if (open_->losses[c].size() < open_->content[l].size()) open_->losses[c].resize(open_->content[l].size());
    for (std::size_t i = 0; i < rows.losses[c].size(); ++i) open_->losses[c][offset + i].merge(rows.losses[c][i]);
  }
  open_->end = rows.end;
  for (std::size_t c = 0; c < casts_.size(); ++c) emit(c);
  for (std::size_t l = 0; l < layouts_.size(); ++l) {
    const std::int64_t across = layouts_[l].grid.across();
    const std::int64_t top = open_->end == rows_ ? layouts_[l].grid.down() : open_->end / layouts_[l].grid.block_rows;
    const std::int64_t done = (top - open_->tops[l]) * across;
    open_->content[l].erase(open_->content[l].begin(), open_->content[l].begin() + done);
    for (std::size_t c = 0; c < casts_.size(); ++c)
      if (layout_of_[c] == l) open_->losses[c].erase(open_->losses[c].begin(), open_->losses[c].begin() + done);
    open_->tops[l] = top;
  }
}

void TileMeter::emit(std::size_t cast) {
  const BlockGrid& grid = layouts_[layout_of_[cast]].grid;
  const std::int64_t top = open_->tops[layout_of_[cast]];
  const std::int64_t bottom = open_->end == rows_ ? grid.down() : open_->end / grid.block_rows;
  for (std::int64_t row = top; row < bottom; ++row)
    for (std::int64_t col = 0; col < grid.across(); ++col) results_[cast].tiles.push(tile_row(cast, row, col));
}

TileRow TileMeter::tile_row(std::size_t cast, std::int64_t row, std::int64_t col) const {
  const std::size_t l = layout_of_[cast];
  const BlockGrid& grid = layouts_[l].grid;
  const std::size_t at = (row - open_->tops[l]) * grid.across() + col;
  const Content& content = open_->content[l][at];
  const Loss& loss = open_->losses[cast][at];
  const TilePlan& how = casts_[cast];
  const std::uint32_t bits =
      how.plan.amax_rule == AmaxRule::propagate_nan ? content.largest : content.largest_number;
  TileRow tile{};
  tile.row = static_cast<std::int32_t>(row), tile.col = static_cast<std::int32_t>(col);
  tile.amax = bits_float(bits > inf_bits ? 0x7fc00000u : bits);
  tile.min_nonzero = content.smallest >= inf_bits ? 0.0f : bits_float(content.smallest);
  tile.scales = loss.scales;
  tile.stored = loss.stored;
  tile.n = (std::min((row + 1) * grid.block_rows, rows_) - row * grid.block_rows) *
           (std::min((col + 1) * grid.block_cols, cols_) - col * grid.block_cols);
  tile.nans = content.moments.nans, tile.infs = content.moments.infs;
  tile.lost = loss.sums.lost, tile.underflow = loss.sums.underflow;
  tile.subnormal = loss.sums.subnormal, tile.clipped = loss.sums.clipped;
  tile.overflow = loss.sums.overflow;
  tile.floored = tile.amax < how.floor ? 1u : 0u;
  tile.max_abs = loss.sums.max_abs, tile.max_rel = loss.sums.max_rel;
  tile.power = content.moments.power2, tile.absolute = content.moments.absolute;
  tile.noise = loss.sums.noise(), tile.error = loss.sums.error;
  tile.cross = loss.sums.cross, tile.clipped_loss = loss.sums.clipped_loss;
  return tile;
}

std::vector<CastTiles> TileMeter::finish() { return std::move(results_); }

}  // namespace fp8scope
