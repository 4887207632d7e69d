#include "src/train/product.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <numeric>

#include "sim/models.hpp"
#include "sim/operand.hpp"
#include "sim/simd/cast.hpp"
#include "sim/simd/chain_gemm.hpp"
#include "sim/simd/gemm.hpp"
#include "sim/simd/row_math.hpp"
#include "src/errors.hpp"

namespace fp8scope::train {
namespace {

std::size_t at(std::int64_t n) { return static_cast<std::size_t>(n); }

bool one_scale(const CastOperand& x) { return x.scaled && BlockGrid(x.rows, x.k, x.block).blocks() == 1; }

/// How scales and partial sums come together.
struct Plan {
  std::int64_t chunk = 0;  ///< N_C; 0: never
  ScaleOrder order = ScaleOrder::plain;
};

/// The rules of `fp8scope gemm`: scales of blocks come in where the blocks end, in the recipe's order;
/// one scale each, at the end.
Plan plan_of(const CastOperand& a, const CastOperand& b, const GemmPrecision& precision, const Model& model) {
  const bool inside = model.scale_block > 0;
  const bool blocks = !inside && a.scaled && b.scaled && !(one_scale(a) && one_scale(b));
  const std::int64_t step = std::max(1, model.terms);
  Plan plan;
  if (precision.promote == "auto") {
    const std::int64_t period = std::gcd(a.block.cols, b.block.cols);
    plan.chunk = !blocks ? 0 : period > 0 ? period : (a.k + step - 1) / step * step;
  } else if (precision.promote != "none") {
    plan.chunk = std::stoll(precision.promote);
  }
  plan.order = blocks ? a.order == ScaleOrder::plain ? ScaleOrder::product : a.order : ScaleOrder::plain;
  if (blocks && plan.chunk == 0)
    throw UsageError("promote=none: scales of blocks need a promotion where they change");
  for (const CastOperand* x : {&a, &b})
    if (blocks && x->block.cols != 0 && x->block.cols % plan.chunk != 0)
      throw UsageError(fmt::format("promote={}: a scale would change within a chunk", precision.promote));
  if (plan.chunk > 0 && plan.chunk % step != 0)
    throw UsageError(fmt::format("promote={}: no multiple of the {} products that {} adds in a step", precision.promote,
                                 step, precision.accumulator));
  return plan;
}

/// Scales by row and chunk.
struct ChunkScales {
  std::vector<float> own;
  const float* data = nullptr;  ///< null without scales
  std::size_t row = 0;          ///< from one row to the next; 0: one scale for all

  ChunkScales(const CastOperand& x, const Plan& plan, std::int64_t chunks) {
    if (!x.scaled) return;
    data = x.scale_inv.data();
    if (plan.order == ScaleOrder::plain) return;
    row = at(chunks);
    const BlockGrid grid(x.rows, x.k, x.block);
    if (grid.block_rows == 1 && grid.block_cols == plan.chunk) return;  // they lie as they are wanted
    own.resize(at(x.rows * chunks));
    for (std::int64_t r = 0; r < x.rows; ++r) {
      const float* from = x.scale_inv.data() + r / grid.block_rows * grid.across();
      for (std::int64_t c = 0; c < chunks; ++c) own[at(r * chunks + c)] = from[c * plan.chunk / grid.block_cols];
    }
    data = own.data();
  }
};

void multiply_by_chains(const Executor& execute, const CastOperand& a, const CastOperand& b, const Plan& plan,
                        bool bf16_output, Matrix& d) {
  const std::int64_t chunks = plan.chunk > 0 ? (a.k + plan.chunk - 1) / plan.chunk : 1;
  const ChunkScales sa(a, plan, chunks), sb(b, plan, chunks);
  const auto operand = [&](const CastOperand& x, const ChunkScales& scales) {
    return ChainOperand{x.values, at(x.row_stride), at(x.k_stride), scales.data, scales.row, 1};
  };
  ChainGemm gemm{at(a.rows), at(b.rows), at(a.k), operand(a, sa), operand(b, sb)};
  gemm.chunk = at(plan.chunk), gemm.order = plan.order, gemm.bf16_output = bf16_output;
  gemm.d = d.data(), gemm.d_stride = at(b.rows);
  const ChainPlan tasks(gemm);
  execute(tasks.tasks(), [&](std::size_t task) { tasks.run(task); });
}

/// The codes of an operand, as narrow as a matrix unit reads them. Values are decoded codes, so a cast
/// with scale 1 gives the codes back.
struct Codes {
  std::vector<std::uint8_t> bytes;
  std::vector<std::uint8_t> scales;  ///< E8M0, of units with block scales

  Codes(const Executor& execute, const CastOperand& x, const Model& model) {
    const std::size_t width = code_bytes(x.format), n = at(x.rows * x.k);
    bytes.resize(n * width);
    for_rows(execute, x.rows, [&](std::int64_t first, std::int64_t last) {
      const std::size_t begin = at(first * x.k), count = at((last - first) * x.k);
      if (width == 1) return encode_span(x.format, {}, {x.values + begin, count}, {&bytes[begin], count});
      for (std::size_t i = begin; i < begin + count; ++i) {
        const std::uint32_t code = x.format == bf16 ? float_bits(x.values[i]) >> 16 : encode(x.format, x.values[i]);
        bytes[2 * i] = static_cast<std::uint8_t>(code), bytes[2 * i + 1] = static_cast<std::uint8_t>(code >> 8);
      }
    });
    if (model.scale_block == 0) return;
    const BlockGrid grid(x.rows, x.k, x.block);
    for (std::int64_t r = 0; r < x.rows; ++r)
      for (std::int64_t k = 0; k < x.k; k += model.scale_block)
        scales.push_back(x.scaled ? static_cast<std::uint8_t>(e8m0_code(x.scale_inv[at(grid.block(r, k))])) : 127);
  }
};

/// The scales of blocks between the unit's sums, as vectors.
class RowPromotion final : public Promotion {
 public:
  RowPromotion(const CastOperand& a, const CastOperand& b, const Plan& plan, std::int64_t chunks)
      : plan_(plan), chunks_(at(chunks)), columns_(at(b.rows)), sa_(a, plan, chunks) {
    if (plan.order == ScaleOrder::plain) {
      sb_.assign(columns_, 1.0f);
      return;
    }
    const ChunkScales rows(b, plan, chunks);
    sb_.resize(columns_ * chunks_);
    for (std::size_t j = 0; j < columns_; ++j)
      for (std::size_t c = 0; c < chunks_; ++c) sb_[c * columns_ + j] = rows.data[j * chunks_ + c];
  }
  void add(std::size_t chunk, std::size_t row, std::size_t column, std::size_t count, const float* partial,
           float* total) const override {
    const bool plain = plan_.order == ScaleOrder::plain;
    promote_row(plan_.order, chunk == 0, count, partial, plain ? 1.0f : sa_.data[row * chunks_ + chunk],
                &sb_[(plain ? 0 : chunk * columns_) + column], total);
  }

 private:
  Plan plan_;
  std::size_t chunks_, columns_;
  ChunkScales sa_;
  std::vector<float> sb_;
};

void multiply_by_unit(const Executor& execute, const CastOperand& a, const CastOperand& b, const Model& model,
                      const Plan& plan, bool bf16_output, Matrix& d) {
  if (model.scale_block > 0)
    for (const CastOperand* x : {&a, &b})
      if (x->scaled && (x->storage != ScaleStorage::e8m0 || (x->block.cols != 0 && x->block.cols % model.scale_block != 0)))
        throw UsageError("this matrix unit takes E8M0 scales of its own blocks; use the recipe mxfp8");
  const Codes left(execute, a, model), right(execute, b, model);
  const std::int64_t chunks = plan.chunk > 0 ? (a.k + plan.chunk - 1) / plan.chunk : 1;
  const RowPromotion promotion(a, b, plan, chunks);
  const Gemm gemm{model,
                  {at(a.rows), at(b.rows), at(a.k)},
                  {a.format, left.bytes.data(), left.scales.data()},
                  {b.format, right.bytes.data(), right.scales.data()},
                  at(plan.chunk),
                  &promotion,
                  nullptr};
  const GemmPlan tiles(gemm, 2);
  execute(tiles.tiles(), [&](std::size_t tile) {
    thread_local GemmScratch scratch;
    tiles.run(tile, scratch, d.data());
  });
  const bool at_end = model.scale_block == 0 && plan.order == ScaleOrder::plain && a.scaled && b.scaled;
  const float scale = at_end ? a.scale_inv[0] * b.scale_inv[0] : 1.0f;
  for_rows(execute, d.rows, [&](std::int64_t first, std::int64_t last) {
    const std::size_t count = at((last - first) * d.cols);
    if (at_end) simd::row_math().scale(d.row(first), count, scale, d.row(first));
    if (bf16_output) simd::row_math().round_bf16(d.row(first), count, d.row(first));
  });
}

/// One of the operands is scaled, the other is not (a switch left it alone): its scale is 1.
CastOperand with_scale_one(const CastOperand& x) {
  CastOperand y;
  y.rows = x.rows, y.k = x.k, y.row_stride = x.row_stride, y.k_stride = x.k_stride;
  y.values = x.values, y.format = x.format;
  y.scaled = true;
  y.scale_inv = {1.0f};
  return y;
}

}  // namespace

void multiply(const Executor& execute, const CastOperand& a, const CastOperand& b, const GemmPrecision& precision,
              bool bf16_output, Matrix& d) {
  if (a.scaled && !b.scaled) return multiply(execute, a, with_scale_one(b), precision, bf16_output, d);
  if (!a.scaled && b.scaled) return multiply(execute, with_scale_one(a), b, precision, bf16_output, d);
  d.resize(a.rows, b.rows);
  if (is_chain(precision)) {
    static const Model chain = find_model("fma_fp32", "fp32", "fp32").model;
    Model model = chain;
    model.terms = 1;
    return multiply_by_chains(execute, a, b, plan_of(a, b, precision, model), bf16_output, d);
  }
  Model model;
  try {
    model = parse_model(precision.accumulator, a.format == fp32 ? "fp32" : format_name(a.format),
                        b.format == fp32 ? "fp32" : format_name(b.format));
  } catch (const std::invalid_argument& error) {
    throw UsageError(fmt::format("accumulator={}: {}", precision.accumulator, error.what()));
  }
  if (a.format.bits() > 16 || b.format.bits() > 16)
    throw UsageError(fmt::format("accumulator={} needs bf16 operands or a recipe", precision.accumulator));
  multiply_by_unit(execute, a, b, model, plan_of(a, b, precision, model), bf16_output, d);
}

}  // namespace fp8scope::train
