#include "sim/gemm.hpp"

#include <algorithm>
#include <cmath>

#include "sim/require.hpp"
#include "sim/scale.hpp"
#include "sim/simd/matmul.hpp"

namespace fp8scope {

struct Gemm::Fast {
  std::unique_ptr<MatmulKernel> kernel;
};

namespace {

std::int64_t step_of(const Model& model) { return std::max(1, model.terms); }

std::vector<bool> rows_with_specials(const GemmMatrix& m, const std::vector<Operand>& operands) {
  std::vector<bool> special(m.rows, false);
  for (std::int64_t r = 0; r < m.rows; ++r)
    for (std::int64_t k = 0; k < m.k && !special[r]; ++k)
      special[r] = operands[m.codes[r * m.k + k]].kind != Kind::finite;
  return special;
}

void require_matrix(const GemmMatrix& m) {
  require(m.format.bits() <= 16, "gemm: codes have at most 16 bits");
  require(std::ssize(m.codes) >= m.rows * m.k, "gemm: fewer codes than the shape says");
  require(std::ssize(m.scale_inv) >= m.grid().blocks(), "gemm: fewer scales than blocks");
}

bool one_scale(const GemmMatrix& m) { return m.grid().blocks() == 1; }

}  // namespace

Gemm::Gemm(const GemmMatrix& a, const GemmMatrix& b, const GemmOptions& options)
    : a_(a), b_(b), options_(options) {
  require(a.k == b.k, "gemm: A and B differ in K");
  require_matrix(a);
  require_matrix(b);
  require(options.split_k >= 1 && options.promote >= 0, "gemm: split_k and promote must not be negative");
  const Model& model = options.model;
  scales_at_end_ = model.scale_block == 0 && one_scale(a) && one_scale(b);
  if (options.promote > 0)
    require(options.promote % step_of(model) == 0, "gemm: N_C must be a multiple of the model's step");
  if (model.scale_block == 0 && !scales_at_end_) {
    require(options.promote > 0, "gemm: scales that change along K need a promotion interval");
    require(options.order != Promotion::plain, "gemm: block scales need an order that applies them");
    for (const GemmMatrix* m : {&a, &b})
      require(m->block.cols == 0 || m->block.cols % options.promote == 0,
              "gemm: a scale must not change within N_C products");
  }
  operands_a_ = operand_table(a.format);
  operands_b_ = operand_table(b.format);
  if (MatmulKernel::covers(model, a.format, b.format)) {
    special_a_ = rows_with_specials(a, operands_a_);
    special_b_ = rows_with_specials(b, operands_b_);
    fast_ = std::make_unique<Fast>(Fast{std::make_unique<MatmulKernel>(
        model, MatmulOperand{a.format, a.rows, a.k, a.codes}, MatmulOperand{b.format, b.rows, b.k, b.codes})});
  }
}

Gemm::~Gemm() = default;

std::int64_t Gemm::part_begin(std::int64_t part) const {
  const std::int64_t unit = std::max(options_.promote, step_of(options_.model));
  const std::int64_t units = (a_.k + unit - 1) / unit;
  return std::min(units * part / options_.split_k * unit, a_.k);
}

float Gemm::part(std::int64_t r, std::int64_t c, std::int64_t begin, std::int64_t end) const {
  const std::int64_t interval = options_.promote > 0 ? options_.promote : std::max<std::int64_t>(1, end - begin);
  const Model& model = options_.model;
  std::vector<Operand> x, y, sx, sy;
  float sum = 0.0f;
  for (std::int64_t k = begin; k < end; k += interval) {
    const std::int64_t last = std::min(k + interval, end);
    x.clear(), y.clear(), sx.clear(), sy.clear();
    for (std::int64_t i = k; i < last; ++i) {
      x.push_back(operands_a_[a_.codes[r * a_.k + i]]);
      y.push_back(operands_b_[b_.codes[c * b_.k + i]]);
    }
    for (std::int64_t i = k; model.scale_block > 0 && i < last; i += model.scale_block) {
      sx.push_back(unpack_scale(model.scale_format, e8m0_code(a_.scale(r, i))));
      sy.push_back(unpack_scale(model.scale_format, e8m0_code(b_.scale(c, i))));
    }
    const float p = dot(model, {x, sx}, {y, sy}, 0.0f);
    if (options_.promote == 0) return p;
    sum = promote_one(options_.order, sum, p, scales_at_end_ ? 1.0f : a_.scale(r, k),
                      scales_at_end_ ? 1.0f : b_.scale(c, k));
  }
  return sum;
}

float Gemm::element(std::int64_t r, std::int64_t c) const {
  float total = part(r, c, part_begin(0), part_begin(1));
  for (std::int64_t s = 1; s < options_.split_k; ++s) total += part(r, c, part_begin(s), part_begin(s + 1));
  return total;
}

float Gemm::finish(float sum, std::int64_t, std::int64_t) const {
  if (scales_at_end_) sum *= a_.scale_inv[0] * b_.scale_inv[0];
  if (options_.output == GemmOutput::bf16) sum = decode(bf16, encode(bf16, sum, {.overflow = Overflow::special}));
  return sum;
}

void Gemm::fast_tile(std::int64_t r0, std::int64_t rows, std::int64_t across, float* out) const {
  alignas(64) float p[tile_rows * tile_cols], sum[tile_rows * tile_cols], sa[tile_rows], sb[tile_cols];
  const std::int64_t c0 = across * tile_cols, cols = std::min(tile_cols, b_.rows - c0);
  for (std::int64_t s = 0; s < options_.split_k; ++s) {
    std::fill_n(sum, rows * tile_cols, 0.0f);
    const std::int64_t begin = part_begin(s), end = part_begin(s + 1);
    const std::int64_t interval = options_.promote > 0 ? options_.promote : std::max<std::int64_t>(1, end - begin);
    for (std::int64_t k = begin; k < end; k += interval) {
      fast_->kernel->chain(r0, rows, across, k, std::min(k + interval, end), p);
      if (options_.promote == 0) {
        std::copy_n(p, rows * tile_cols, sum);
        break;
      }
      for (std::int64_t r = 0; r < rows; ++r) sa[r] = scales_at_end_ ? 1.0f : a_.scale(r0 + r, k);
      for (std::int64_t c = 0; c < cols; ++c) sb[c] = scales_at_end_ ? 1.0f : b_.scale(c0 + c, k);
      std::fill(sb + cols, sb + tile_cols, 1.0f);
      fast_->kernel->promote(options_.order, rows, p, sa, sb, sum);
    }
    for (std::int64_t i = 0; i < rows * tile_cols; ++i) out[i] = s == 0 ? sum[i] : out[i] + sum[i];
  }
}

void Gemm::tile(std::int64_t down, std::int64_t across, std::span<const float> c, std::span<float> d) const {
  const std::int64_t n = b_.rows, r0 = down * tile_rows, c0 = across * tile_cols;
  const std::int64_t rows = std::min(tile_rows, a_.rows - r0), cols = std::min(tile_cols, n - c0);
  alignas(64) float sums[tile_rows * tile_cols];
  if (fast_) fast_tile(r0, rows, across, sums);
  for (std::int64_t r = 0; r < rows; ++r)
    for (std::int64_t j = 0; j < cols; ++j) {
      const bool scalar = !fast_ || special_a_[r0 + r] || special_b_[c0 + j];
      const float sum = scalar ? element(r0 + r, c0 + j) : sums[r * tile_cols + j];
      float value = finish(sum, r0 + r, c0 + j);
      const std::int64_t at = (r0 + r) * n + c0 + j;
      if (!c.empty()) {
        value += c[at];
        if (options_.output == GemmOutput::bf16)
          value = decode(bf16, encode(bf16, value, {.overflow = Overflow::special}));
      }
      d[at] = value;
    }
}

void gemm(const GemmMatrix& a, const GemmMatrix& b, const GemmOptions& options, std::span<const float> c,
          std::span<float> d) {
  const Gemm work(a, b, options);
  for (std::int64_t down = 0; down < work.tiles_down(); ++down)
    for (std::int64_t across = 0; across < work.tiles_across(); ++across) work.tile(down, across, c, d);
}

}  // namespace fp8scope
