#include "sim/simd/gemm.hpp"

#include <algorithm>

#include "sim/require.hpp"
#include "sim/simd/gemm_kernel.hpp"
#include "sim/simd/gemm_pack.hpp"
#include "sim/simd/isa.hpp"

namespace fp8scope {
namespace {

using simd::panel_columns;

constexpr std::size_t largest_tile = 512, smallest_tile = 128;
constexpr std::size_t tiles_per_thread = 4;
constexpr std::size_t block_rows = 32;   ///< with a panel's step and their sums, within 32 KiB
constexpr std::size_t packed_terms = 512;  ///< of K at a time: a panel stays in the second cache
constexpr std::uint32_t nan_bits = 0x7fffffffu;
constexpr float largest_c = 0x1p95f;  ///< no step leaves the exponents that the kernel is exact for

std::size_t round_up(std::size_t n, std::size_t unit) { return (n + unit - 1) / unit * unit; }

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

bool gemm_has_vector_kernel(const Model& model, const Format& a, const Format& b) {
  const bool plain = model.summation == Summation::aligned && model.cut == Cut::toward_zero &&
                     model.join == Join::inside && model.zero_factors == ZeroFactors::floor;
  if (!plain || model.terms == 0 || a.mantissa_bits + b.mantissa_bits > 22) return false;
  if (model.result == rne_f16 ? model.underflow_sign != UnderflowSign::kept
                              : model.result.nearest || model.result.max_exponent != 127)
    return false;
  if (model.scale_block != 0 && (model.scale_block != model.terms || model.scale_format.mantissa_bits != 0))
    return false;
  const std::size_t terms = round_up(model.terms, 4);
  return model.fraction_bits <= 28 && (terms / 2) << (model.fraction_bits + 2) <= std::size_t{1} << 31;
}

struct GemmPlan::Tile {
  std::size_t row, rows, column, columns;
};

GemmPlan::GemmPlan(const Gemm& gemm, int threads) : gemm_(gemm) {
  const GemmShape& s = gemm.shape;
  const auto block = static_cast<std::size_t>(gemm.model.scale_block);
  require(block == 0 || gemm.promote_every % block == 0,
          "gemm: promotion must come after whole blocks of scales");
  vectorised_ = isa() != Isa::scalar && s.k > 0 && gemm_has_vector_kernel(gemm.model, gemm.a.format, gemm.b.format);
  const std::size_t enough_tiles = threads > 1 ? tiles_per_thread * static_cast<std::size_t>(threads) : 1;
  for (tile_rows_ = tile_columns_ = largest_tile;;) {
    row_tiles_ = (s.m + tile_rows_ - 1) / tile_rows_;
    column_tiles_ = (s.n + tile_columns_ - 1) / tile_columns_;
    std::size_t& longer = tile_rows_ >= tile_columns_ ? tile_rows_ : tile_columns_;
    if (row_tiles_ * column_tiles_ >= enough_tiles || longer == smallest_tile) break;
    longer /= 2;
  }
}

void GemmPlan::run(std::size_t tile, GemmScratch& scratch, float* d) const {
  const std::size_t row = tile / column_tiles_ * tile_rows_, column = tile % column_tiles_ * tile_columns_;
  const Tile part{row, std::min(tile_rows_, gemm_.shape.m - row), column,
                  std::min(tile_columns_, gemm_.shape.n - column)};
  if (vectorised_)
    run_vectors(part, scratch, d);
  else
    run_by_dot(part, d);
}

void GemmPlan::run_by_dot(const Tile& tile, float* d) const {
  gemm_block_by_dot(gemm_, tile.row, tile.rows, tile.column, tile.columns, d);
}

void GemmPlan::promote(std::size_t chunk, std::size_t row, std::size_t column, std::size_t rows,
                       std::size_t columns, float* sums, float* d) const {
  const std::size_t n = gemm_.shape.n;
  float* totals = d + row * n + column;
  if (!gemm_.promotion) return simd::add_sums(sums, rows, columns, totals, n);
  for (std::size_t r = 0; r < rows; ++r)
    gemm_.promotion->add(chunk, row + r, column, columns, sums + r * panel_columns, totals + r * n);
  std::fill_n(sums, rows * panel_columns, 0.0f);
}

void GemmPlan::run_vectors(const Tile& tile, GemmScratch& scratch, float* d) const {
  const simd::StepNumbers numbers = simd::step_numbers(gemm_.model, gemm_.a.format, gemm_.b.format);
  const std::size_t n = gemm_.shape.n, k = gemm_.shape.k;
  const bool promotes = gemm_.promote_every != 0;
  const simd::StepMap map{k, static_cast<std::size_t>(gemm_.model.terms),
                          promotes ? std::min(gemm_.promote_every, k) : k};
  const simd::Packer a(gemm_, gemm_.a, numbers, false), b(gemm_, gemm_.b, numbers, true);

  const std::size_t columns = round_up(tile.columns, panel_columns), panels = columns / panel_columns;
  const std::size_t most_steps = std::max<std::size_t>(packed_terms / numbers.terms, 1);
  const std::size_t row_words = numbers.row_words(), a_step = block_rows * row_words;
  grow(scratch.a, round_up(tile.rows, block_rows) * most_steps * row_words + 16);
  grow(scratch.b, most_steps * panels * numbers.panel_words() + 16);
  grow(scratch.sums, tile.rows * columns + 16);
  std::vector<std::uint8_t> bad_rows(tile.rows), bad_columns(columns);

  std::vector<std::pair<std::size_t, std::size_t>> by_dot;  ///< where C is out of the kernel's range
  const float smallest_c = pow2(numbers.c_exponent);
  float* sums = aligned(scratch.sums);  // [panels, rows, 64]: rows of a power of two would share cache sets
  const auto sum_at = [&](std::size_t r, std::size_t j) -> float& {
    return sums[(j / panel_columns * tile.rows + r) * panel_columns + j % panel_columns];
  };
  std::fill_n(sums, tile.rows * columns, 0.0f);
  for (std::size_t r = 0; r < tile.rows; ++r) {
    const std::size_t at = (tile.row + r) * n + tile.column;
    if (promotes && gemm_.c) std::copy_n(gemm_.c + at, tile.columns, d + at);
    else if (promotes) std::fill_n(d + at, tile.columns, 0.0f);
    else if (gemm_.c)
      for (std::size_t j = 0; j < tile.columns; ++j) {
        if (c_is_in_range(gemm_.c[at + j], smallest_c)) sum_at(r, j) = gemm_.c[at + j];
        else by_dot.push_back({r, j});
      }
  }

  for (std::size_t s0 = 0; s0 < map.steps(); s0 += most_steps) {
    const std::size_t steps = std::min(most_steps, map.steps() - s0);
    // [blocks of rows, steps, 32]: what a block needs is one stretch of memory.
    const auto packed_row = [&, first = aligned(scratch.a)](std::size_t r) {
      return first + r / block_rows * most_steps * a_step + r % block_rows * row_words;
    };
    for (std::size_t r = 0; r < tile.rows; ++r)
      a.row(map, tile.row + r, s0, steps, packed_row(r), a_step, &bad_rows[r]);
    for (std::size_t p = 0; p < panels; ++p) {
      const std::size_t first_column = p * panel_columns;
      std::uint32_t* packed_b = aligned(scratch.b) + p * most_steps * numbers.panel_words();
      for (std::size_t s = 0; s < steps; ++s)
        b.panel(tile.column + first_column, tile.column + tile.columns, map.first(s0 + s), map.count(s0 + s),
                packed_b + s * numbers.panel_words(), &bad_columns[first_column], scratch.rows);
      const std::size_t valid = std::min(panel_columns, tile.columns - first_column);
      for (std::size_t r = 0; r < tile.rows; r += block_rows) {
        const std::size_t block = std::min(block_rows, tile.rows - r);
        for (std::size_t s = 0; s < steps;) {
          std::size_t end = s + 1;
          while (end < steps && !(promotes && map.ends_chunk(s0 + end - 1))) ++end;
          const auto run = numbers.layout == simd::Layout::words ? simd::run_word_steps : simd::run_float_steps;
          run(numbers, {packed_row(r) + s * a_step, a_step,
                        packed_b + s * numbers.panel_words(), block, end - s,
                        sums + (p * tile.rows + r) * panel_columns, panel_columns});
          if (promotes && map.ends_chunk(s0 + end - 1))
            promote((s0 + end - 1) / map.steps_per_chunk(), tile.row + r, tile.column + first_column, block, valid,
                    &sum_at(r, first_column), d);
          s = end;
        }
      }
    }
  }
  const bool bad_column = std::ranges::any_of(bad_columns, [](std::uint8_t mark) { return mark != 0; });
  for (std::size_t r = 0; r < tile.rows; ++r) {
    float* out = d + (tile.row + r) * n + tile.column;
    for (std::size_t j = 0; !promotes && j < tile.columns; j += panel_columns)
      std::copy_n(&sum_at(r, j), std::min(panel_columns, tile.columns - j), out + j);
    std::uint32_t largest = 0;
    for (std::size_t j = 0; j < tile.columns; ++j)
      largest = std::max(largest, float_bits(out[j]) & magnitude_bits);
    if (largest <= inf_bits && bad_rows[r] == 0 && !bad_column) continue;
    for (std::size_t j = 0; j < tile.columns; ++j) {
      if ((bad_rows[r] & 1) != 0 || (bad_columns[j] & 1) != 0) out[j] = bits_float(nan_bits);
      else if (is_nan(out[j]) || bad_rows[r] != 0 || bad_columns[j] != 0)
        out[j] = gemm_element_by_dot(gemm_, tile.row + r, tile.column + j);
    }
  }
  for (const auto& [r, j] : by_dot)
    d[(tile.row + r) * n + tile.column + j] = gemm_element_by_dot(gemm_, tile.row + r, tile.column + j);
}

void gemm(const Gemm& gemm, float* d) {
  const GemmPlan plan(gemm);
  GemmScratch scratch;
  for (std::size_t tile = 0; tile < plan.tiles(); ++tile) plan.run(tile, scratch, d);
}

}  // namespace fp8scope
