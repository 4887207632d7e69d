#include "sim/simd/gemm_tile.hpp"

#include <algorithm>

namespace fp8scope::simd {
namespace {

constexpr std::size_t block_rows = 32;  ///< with a panel's step and their sums, within 32 KiB
constexpr std::size_t packed_terms = 512;  ///< of K at a time: a panel stays in the second cache
constexpr std::uint32_t nan_bits = 0x7fffffffu;
constexpr float largest_c = 0x1p95f;  ///< no step leaves the exponents that a kernel is exact for

bool c_is_in_range(float c, float smallest) {
  const float magnitude = bits_float(float_bits(c) & magnitude_bits);
  return c == 0.0f || (magnitude >= smallest && magnitude < largest_c);
}

template <class T>
void grow(std::vector<T>& v, std::size_t n) {
  if (v.size() < n) v.resize(n);
}

/// The first element that a vector register may load whole.
template <class T>
T* aligned(std::vector<T>& v) {
  const auto address = reinterpret_cast<std::uintptr_t>(v.data());
  return reinterpret_cast<T*>((address + 63) / 64 * 64);
}

}  // namespace

GemmTile::GemmTile(const Gemm& gemm, const TileRange& range, GemmScratch& scratch, float* d)
    : gemm_(gemm),
      range_(range),
      scratch_(scratch),
      d_(d),
      numbers_(step_numbers(gemm.model, gemm.a.format, gemm.b.format)),
      promotes_(gemm.promote_every != 0),
      map_{gemm.shape.k, static_cast<std::size_t>(gemm.model.terms),
           promotes_ ? std::min(gemm.promote_every, gemm.shape.k) : gemm.shape.k},
      a_(gemm, gemm.a, numbers_, false),
      b_(gemm, gemm.b, numbers_, true),
      most_steps_(std::max<std::size_t>(packed_terms / numbers_.terms, 1)),
      a_step_(block_rows * numbers_.row_words()),
      bad_rows_(range.rows),
      bad_columns_(panels() * panel_columns) {
  const std::size_t blocks = (range.rows + block_rows - 1) / block_rows, margin = 16;
  grow(scratch.a, blocks * most_steps_ * a_step_ + margin);
  grow(scratch.b, panels() * most_steps_ * numbers_.panel_words() + margin);
  grow(scratch.sums, panels() * range.rows * panel_columns + margin);
}

// [panels, rows, 64]: rows of D may lie a power of two apart, and would share sets of the cache.
float* GemmTile::sums(std::size_t panel, std::size_t row) {
  return aligned(scratch_.sums) + (panel * range_.rows + row) * panel_columns;
}

float& GemmTile::sum_at(std::size_t row, std::size_t column) {
  return sums(column / panel_columns, row)[column % panel_columns];
}

// [blocks of rows, steps, 32]: what a block needs is one stretch of memory.
std::uint32_t* GemmTile::packed_row(std::size_t row) {
  return aligned(scratch_.a) + row / block_rows * most_steps_ * a_step_ +
         row % block_rows * numbers_.row_words();
}

std::uint32_t* GemmTile::packed_panel(std::size_t panel) {
  return aligned(scratch_.b) + panel * most_steps_ * numbers_.panel_words();
}

void GemmTile::run() {
  start();
  for (std::size_t s = 0; s < map_.steps(); s += most_steps_) {
    const Stretch stretch{s, std::min(most_steps_, map_.steps() - s)};
    pack_rows(stretch);
    for (std::size_t p = 0; p < panels(); ++p) run_panel(stretch, p);
  }
  finish();
}

void GemmTile::start() {
  std::fill_n(sums(0, 0), panels() * range_.rows * panel_columns, 0.0f);
  const float smallest_c = pow2(numbers_.c_exponent);
  for (std::size_t r = 0; r < range_.rows; ++r) {
    const float* c = gemm_.c ? gemm_.c + (output(r) - d_) : nullptr;
    if (promotes_ && c) std::copy_n(c, range_.columns, output(r));
    if (promotes_ && !c) std::fill_n(output(r), range_.columns, 0.0f);
    if (promotes_ || !c) continue;
    for (std::size_t j = 0; j < range_.columns; ++j) {
      if (c_is_in_range(c[j], smallest_c)) sum_at(r, j) = c[j];
      else by_dot_.push_back({r, j});
    }
  }
}

void GemmTile::pack_rows(Stretch stretch) {
  for (std::size_t r = 0; r < range_.rows; ++r)
    a_.row(map_, range_.row + r, stretch.first, stretch.count, packed_row(r), a_step_, &bad_rows_[r]);
}

void GemmTile::run_panel(Stretch stretch, std::size_t panel) {
  const std::size_t first = panel * panel_columns;
  for (std::size_t s = 0; s < stretch.count; ++s)
    b_.panel(range_.column + first, range_.column + range_.columns, map_.first(stretch.first + s),
             map_.count(stretch.first + s), packed_panel(panel) + s * numbers_.panel_words(),
             &bad_columns_[first], scratch_.rows);
  for (std::size_t r = 0; r < range_.rows; r += block_rows) run_block(stretch, panel, r);
}

void GemmTile::run_block(Stretch stretch, std::size_t panel, std::size_t row) {
  const auto kernel = numbers_.layout == Layout::words ? run_word_steps : run_float_steps;
  const std::size_t rows = std::min(block_rows, range_.rows - row);
  for (std::size_t s = 0; s < stretch.count;) {
    std::size_t end = s + 1;
    while (end < stretch.count && !(promotes_ && map_.ends_chunk(stretch.first + end - 1))) ++end;
    kernel(numbers_, {packed_row(row) + s * a_step_, a_step_,
                      packed_panel(panel) + s * numbers_.panel_words(), rows, end - s,
                      sums(panel, row), panel_columns});
    const std::size_t last = stretch.first + end - 1;
    if (promotes_ && map_.ends_chunk(last)) promote(last / map_.steps_per_chunk(), panel, row, rows);
    s = end;
  }
}

void GemmTile::promote(std::size_t chunk, std::size_t panel, std::size_t row, std::size_t rows) {
  const std::size_t first = panel * panel_columns;
  const std::size_t columns = std::min(panel_columns, range_.columns - first);
  float* partial = sums(panel, row);
  if (!gemm_.promotion)
    return add_sums(partial, rows, columns, output(row) + first, gemm_.shape.n);
  for (std::size_t r = 0; r < rows; ++r)
    gemm_.promotion->add(chunk, range_.row + row + r, range_.column + first, columns,
                         partial + r * panel_columns, output(row + r) + first);
  std::fill_n(partial, rows * panel_columns, 0.0f);
}

void GemmTile::finish() {
  const auto by_dot = [&](std::size_t r, std::size_t j) {
    output(r)[j] = gemm_element_by_dot(gemm_, range_.row + r, range_.column + j);
  };
  const bool bad_column = std::ranges::any_of(bad_columns_, [](std::uint8_t mark) { return mark != 0; });
  for (std::size_t r = 0; r < range_.rows; ++r) {
    float* out = output(r);
    for (std::size_t j = 0; !promotes_ && j < range_.columns; j += panel_columns)
      std::copy_n(&sum_at(r, j), std::min(panel_columns, range_.columns - j), out + j);
    std::uint32_t largest = 0;
    for (std::size_t j = 0; j < range_.columns; ++j)
      largest = std::max(largest, float_bits(out[j]) & magnitude_bits);
    if (largest <= inf_bits && bad_rows_[r] == 0 && !bad_column) continue;
    for (std::size_t j = 0; j < range_.columns; ++j) {
      const int marks = bad_rows_[r] | bad_columns_[j];
      if ((marks & nan_mark) != 0) out[j] = bits_float(nan_bits);
      else if (marks != 0 || is_nan(out[j])) by_dot(r, j);
    }
  }
  for (const auto& [r, j] : by_dot_) by_dot(r, j);
}

}  // namespace fp8scope::simd
