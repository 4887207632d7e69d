#include "src/train/operand.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "sim/code_table.hpp"
#include "sim/operand.hpp"
#include "sim/quantize.hpp"
#include "sim/simd/codec.hpp"
#include "sim/simd/cast.hpp"
#include "sim/simd/row_math.hpp"
#include "sim/tensor_cast.hpp"
#include "src/errors.hpp"

namespace fp8scope::train {
namespace {

std::size_t at(std::int64_t n) { return static_cast<std::size_t>(n); }

/// Pieces of rows that are whole rows of blocks.
std::int64_t piece_rows(const BlockGrid& grid) {
  return std::max<std::int64_t>(1, task_rows / grid.block_rows) * grid.block_rows;
}

void for_pieces(const Executor& execute, const BlockGrid& grid,
                const std::function<void(std::int64_t first, std::int64_t last)>& work) {
  const std::int64_t piece = grid.block_rows >= grid.rows ? task_rows : piece_rows(grid);
  execute(at((grid.rows + piece - 1) / piece), [&](std::size_t task) {
    const std::int64_t first = static_cast<std::int64_t>(task) * piece;
    work(first, std::min(first + piece, grid.rows));
  });
}

/// The larger magnitude; NaN wins, as its pattern is the largest.
void keep_larger(float& so_far, float x) {
  if (float_bits(x) > float_bits(so_far)) so_far = x;
}

/// Amax of every block.
std::vector<float> amaxes(const Executor& execute, const BlockGrid& grid, AmaxRule rule, const Matrix& x) {
  if (grid.block_rows >= grid.rows && grid.block_cols >= grid.cols) {  // one block, several tasks
    const std::int64_t tasks = (grid.rows + task_rows - 1) / task_rows;
    std::vector<float> parts(at(tasks));
    for_rows(execute, grid.rows, [&](std::int64_t first, std::int64_t last) {
      parts[at(first / task_rows)] = amax_span({x.row(first), at((last - first) * grid.cols)}, rule);
    });
    std::vector<float> whole(1, 0.0f);
    for (const float part : parts) keep_larger(whole[0], part);
    return whole;
  }
  std::vector<float> out(at(grid.blocks()), 0.0f);
  const std::int64_t across = grid.across();
  execute(at(grid.down()), [&](std::size_t down) {
    const std::int64_t first = static_cast<std::int64_t>(down) * grid.block_rows;
    std::vector<float> row(at(across));
    for (std::int64_t r = first; r < std::min(first + grid.block_rows, grid.rows); ++r) {
      tile_amax({x.row(r), at(grid.cols)}, grid.block_cols, rule, row);
      for (std::int64_t b = 0; b < across; ++b) keep_larger(out[down * at(across) + at(b)], row[at(b)]);
    }
  });
  return out;
}

}  // namespace

OperandCast::OperandCast(const std::string& spec, Role role, bool rounded, Gemm use)
    : bf16_(spec == "bf16"), rounded_(rounded) {
  if (spec == "fp32" || spec == "bf16") return;
  recipe_ = make_recipe(spec, {role, bf16, use});
  const Plan& plan = recipe_->plan();
  if (plan.format.bits() > 16) throw UsageError(fmt::format("recipe '{}': a training run takes formats of up to 16 bits", spec));
  remembers_ = recipe_->block_rule() == nullptr || plan.cast.rounding == Rounding::stochastic;
  if (!recipe_->block_rule() && plan.block != BlockShape{})
    throw UsageError(fmt::format("recipe '{}': a training run takes recipes with a memory per tensor only", spec));
}

void OperandCast::restore(const std::vector<float>& memory) {
  for (const float amax : memory) {
    if (recipe_->block_rule()) break;  // nothing but a count
    last_.resize(1);
    recipe_->step({&amax, 1}, last_);
  }
  memory_ = memory;
}

void OperandCast::find_scales(const Executor& execute, const Matrix& x, bool training, std::vector<float>& scale,
                              std::vector<float>& scale_inv) {
  const Plan& plan = recipe_->plan();
  const BlockGrid grid(x.rows, x.cols, plan.block);
  std::vector<Scales> scales(at(grid.blocks()));
  if (!remembers_ || training) {
    const std::vector<float> amax = amaxes(execute, grid, plan.amax_rule, x);
    recipe_->step(amax, scales);
    if (remembers_) {
      memory_.insert(memory_.end(), amax.begin(), amax.end());
      last_ = scales;
    }
  } else if (!last_.empty()) {
    scales = last_;
  }
  scale.resize(scales.size()), scale_inv.resize(scales.size());
  for (std::size_t i = 0; i < scales.size(); ++i) scale[i] = scales[i].scale, scale_inv[i] = scales[i].scale_inv;
}

bool OperandCast::simple() const {
  const Plan& plan = recipe_->plan();
  return plan.codec == Codec::none && plan.apply == Apply::multiply && plan.scope == Scope::none && plan.select == Select::none &&
         plan.hadamard.size == 0 && plan.cast.rounding != Rounding::stochastic;
}

bool OperandCast::in_one_pass() const {
  return recipe_ && recipe_->block_rule() && simple() && recipe_->plan().block.rows == 1 && recipe_->plan().block.cols > 0 &&
         simd::has_value_plan(recipe_->plan().format, recipe_->plan().cast);
}

void OperandCast::describe(std::int64_t rows, std::int64_t k, CastOperand& out) const {
  out.rows = rows, out.k = k, out.row_stride = k, out.k_stride = 1;
  out.scaled = scaled();
  out.format = bf16_ ? bf16 : fp32;
  if (!scaled()) return;
  const Plan& plan = recipe_->plan();
  out.format = plan.format, out.block = plan.block, out.order = plan.order, out.storage = plan.storage;
  out.own.resize(rows, k);
  out.values = out.own.data();
}

void OperandCast::cast(const Executor& execute, const Matrix& x, bool training, CastOperand& out) {
  describe(x.rows, x.cols, out);
  if (!scaled()) {
    out.values = x.data();
    if (!bf16_ || rounded_) return;
    round_bf16(execute, x, out.own);
    out.values = out.own.data();
    return;
  }
  const Plan& plan = recipe_->plan();
  const BlockGrid grid(x.rows, x.cols, plan.block);
  if (in_one_pass() && grid.cols % grid.block_cols == 0) return cast_in_one_pass(execute, x, out);
  if (plan.codec != Codec::none) return cast_by_codec(execute, x, out);
  if (recipe_->block_rule() && !simple()) return cast_by_reference(x, training, out);
  std::vector<float> scale;
  find_scales(execute, x, training, scale, out.scale_inv);
  const bool vector = simple() && simd::has_value_plan(plan.format, plan.cast);
  const simd::ValuePlan values = simd::value_plan(plan.format, plan.cast);
  const auto cast_values = simd::row_math().cast_values;
  for_pieces(execute, grid, [&](std::int64_t first, std::int64_t last) {
    if (vector && grid.blocks() == 1)
      return cast_values(values, x.row(first), at((last - first) * x.cols), at((last - first) * x.cols), &scale[0],
                         out.own.row(first));
    for (std::int64_t r = first; r < last; ++r) {
      const float* s = &scale[at(grid.block(r, 0))];
      if (vector) {
        cast_values(values, x.row(r), at(x.cols), at(grid.block_cols), s, out.own.row(r));
        continue;
      }
      for (std::int64_t c = 0; c < x.cols; ++c)
        out.own.row(r)[c] = decode(plan.format, quantize_element(plan.format, x.row(r)[c], s[c / grid.block_cols],
                                                                 plan.cast, {}, plan.apply));
    }
  });
}

// Elements that are no codes of a format times a scale: their values are multiplied as they are.
void OperandCast::cast_by_codec(const Executor& execute, const Matrix& x, CastOperand& out) const {
  const BlockGrid grid(x.rows, x.cols, recipe_->plan().block);
  if (grid.block_rows != 1) throw UsageError("a training run takes codecs on tiles of one row only");
  out.scaled = false, out.format = fp32;
  for_rows(execute, x.rows, [&](std::int64_t first, std::int64_t last) {
    for (std::int64_t r = first; r < last; ++r)
      for (std::int64_t c = 0; c < x.cols; c += grid.block_cols) {
        const std::size_t n = at(std::min(grid.block_cols, x.cols - c));
        codec_values(recipe_->plan().codec, {x.row(r) + c, n}, {out.own.row(r) + c, n});
      }
  });
}

// Two-level scales, transforms, divisions, random bits: by the plain code of sim/.
void OperandCast::cast_by_reference(const Matrix& x, bool training, CastOperand& out) {
  const Plan& plan = recipe_->plan();
  const BlockGrid grid(x.rows, x.cols, plan.block);
  const std::uint64_t seed = memory_.size();
  const TensorCodes codes = cast_tensor(plan, *recipe_->block_rule(), grid, false, {x.data(), at(x.size())}, -1.0f, seed);
  out.scale_inv.clear();
  for (const Scales& s : codes.scales) out.scale_inv.push_back(s.scale_inv);
  const std::vector<float> values = decode_table(plan.format);
  for (std::size_t i = 0; i < codes.codes.size(); ++i) out.own.values[i] = values[codes.codes[i]];
  if (remembers_ && training) memory_.push_back(0.0f);
}

void OperandCast::cast_in_one_pass(const Executor& execute, const Matrix& x, CastOperand& out) const {
  const Plan& plan = recipe_->plan();
  const ScaleRule& rule = *recipe_->block_rule();
  const BlockGrid grid(x.rows, x.cols, plan.block);
  const simd::ValuePlan values = simd::value_plan(plan.format, plan.cast);
  const auto cast_values = simd::row_math().cast_values;
  const std::int64_t across = grid.across(), piece = std::max<std::int64_t>(1, 8192 / x.cols);  // within the first cache
  out.scale_inv.resize(at(grid.blocks()));
  for_rows(execute, x.rows, [&](std::int64_t first, std::int64_t last) {
    std::vector<float> amax(at(piece * across)), scale(amax.size());
    for (std::int64_t r = first; r < last; r += piece) {
      const std::int64_t rows = std::min(piece, last - r);
      const std::size_t tiles = at(rows * across), n = at(rows * x.cols);
      tile_amax({x.row(r), n}, grid.block_cols, plan.amax_rule, {amax.data(), tiles});
      for (std::size_t t = 0; t < tiles; ++t) {
        const Scales s = block_scales(rule, amax[t]);
        scale[t] = s.scale, out.scale_inv[at(r * across) + t] = s.scale_inv;
      }
      cast_values(values, x.row(r), n, at(grid.block_cols), scale.data(), out.own.row(r));
    }
  });
}

void OperandCast::cast_transpose(const Executor& execute, const Matrix& x, bool training, Matrix& scratch,
                                 CastOperand& out) {
  if (in_one_pass() && x.rows % recipe_->plan().block.cols == 0) {
    describe(x.cols, x.rows, out);
    return cast_transpose_in_one_pass(execute, x, out);
  }
  transpose(execute, x, scratch);
  cast(execute, scratch, training, out);
}

// Sixteen columns of a block of rows at a time are turned, measured and cast before they leave the cache.
void OperandCast::cast_transpose_in_one_pass(const Executor& execute, const Matrix& x, CastOperand& out) const {
  constexpr std::int64_t group = 16;
  const Plan& plan = recipe_->plan();
  const ScaleRule& rule = *recipe_->block_rule();
  const std::int64_t length = plan.block.cols, across = x.rows / length;
  const simd::ValuePlan values = simd::value_plan(plan.format, plan.cast);
  const auto& math = simd::row_math();
  out.scale_inv.resize(at(x.cols * across));
  execute(at(across), [&](std::size_t block) {
    const std::int64_t first = static_cast<std::int64_t>(block) * length;
    std::vector<float> turned(at(group * length));
    float amax[group], scale[group];
    for (std::int64_t c = 0; c < x.cols; c += group) {
      const std::int64_t rows = std::min(group, x.cols - c);
      math.transpose(x.row(first) + c, at(length), at(rows), at(x.cols), turned.data(), at(length));
      tile_amax({turned.data(), at(rows * length)}, length, plan.amax_rule, {amax, at(rows)});
      for (std::int64_t r = 0; r < rows; ++r) {
        const Scales s = block_scales(rule, amax[r]);
        scale[r] = s.scale, out.scale_inv[at((c + r) * across) + block] = s.scale_inv;
        math.cast_values(values, &turned[at(r * length)], at(length), at(length), &scale[r], out.own.row(c + r) + first);
      }
    }
  });
}

void CastOperand::dequantise(const Executor& execute, Matrix& out) const {
  out.resize(rows, k);
  const BlockGrid grid(rows, k, block);
  for_rows(execute, rows, [&](std::int64_t first, std::int64_t last) {
    for (std::int64_t r = first; r < last; ++r)
      for (std::int64_t c = 0; c < k; c += grid.block_cols)
        simd::row_math().scale(values + r * row_stride + c, at(std::min(grid.block_cols, k - c)),
                               scaled ? scale_inv[at(grid.block(r, c))] : 1.0f, out.row(r) + c);
  });
}

float largest_magnitude(const Executor& execute, const Matrix& x) {
  return amaxes(execute, BlockGrid(x.rows, x.cols, {}), AmaxRule::ignore_nan, x)[0];
}

void round_bf16(const Executor& execute, const Matrix& x, Matrix& y) {
  y.resize(x.rows, x.cols);
  for_rows(execute, x.rows, [&](std::int64_t first, std::int64_t last) {
    simd::row_math().round_bf16(x.row(first), at((last - first) * x.cols), y.row(first));
  });
}

void transpose(const Executor& execute, const Matrix& x, Matrix& y) {
  y.resize(x.cols, x.rows);
  for_rows(execute, x.rows, [&](std::int64_t first, std::int64_t last) {
    simd::row_math().transpose(x.row(first), at(last - first), at(x.cols), at(x.cols), y.data() + first, at(x.rows));
  });
}

}  // namespace fp8scope::train
