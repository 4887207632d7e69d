#include "sim/scaled_gemm.hpp"

#include <algorithm>
#include <mutex>

#include "sim/convert.hpp"
#include "sim/gemm.hpp"
#include "sim/require.hpp"
#include "sim/scale.hpp"
#include "sim/simd/gemm.hpp"

namespace fp8scope {
namespace {

bool one_scale(const ScaledMatrix& m) { return m.grid().blocks() == 1; }

/// The scales of the blocks that a chunk of K lies in.
class ScalePromotion final : public Promotion {
 public:
  ScalePromotion(const ScaledMatrix& a, const ScaledMatrix& b, const ScaledGemmOptions& options,
                 std::int64_t first_k, bool scaled)
      : a_(a), b_(b), order_(options.order), interval_(options.promote), first_k_(first_k),
        scaled_(scaled) {}

  void add(std::size_t chunk, std::size_t row, std::size_t column, std::size_t count,
           const float* partial, float* total) const override {
    const std::int64_t k = first_k_ + static_cast<std::int64_t>(chunk) * interval_;
    const float sa = scaled_ ? a_.scale(static_cast<std::int64_t>(row), k) : 1.0f;
    for (std::size_t j = 0; j < count; ++j) {
      const float sb = scaled_ ? b_.scale(static_cast<std::int64_t>(column + j), k) : 1.0f;
      total[j] = promote(order_, total[j], partial[j], sa, sb);
    }
  }

 private:
  const ScaledMatrix& a_;
  const ScaledMatrix& b_;
  ScaleOrder order_;
  std::int64_t interval_, first_k_;
  bool scaled_;
};

/// Columns [begin, end) of the codes, as narrow as gemm() wants them, and the block scales there.
struct PackedPart {
  std::vector<std::uint8_t> codes, scales;

  PackedPart(const ScaledMatrix& m, const Model& model, std::int64_t begin, std::int64_t end) {
    const std::size_t bytes = code_bytes(m.format);
    codes.reserve(static_cast<std::size_t>(m.rows * (end - begin)) * bytes);
    for (std::int64_t r = 0; r < m.rows; ++r) {
      for (std::int64_t k = begin; k < end; ++k) {
        const std::uint32_t code = m.wide() ? m.wide_codes[r * m.k + k] : m.codes[r * m.k + k];
        for (std::size_t byte = 0; byte < bytes; ++byte) codes.push_back(static_cast<std::uint8_t>(code >> (8 * byte)));
      }
      for (std::int64_t k = begin; model.scale_block > 0 && k < end; k += model.scale_block)
        scales.push_back(static_cast<std::uint8_t>(unit_scale_code(m, model, r, k)));
    }
  }
};

}  // namespace

void check_scaled_gemm(const ScaledMatrix& a, const ScaledMatrix& b, const ScaledGemmOptions& options) {
  require(a.k == b.k, "gemm: A and B differ in K");
  for (const ScaledMatrix* m : {&a, &b}) {
    require((m->wide() ? std::ssize(m->wide_codes) : std::ssize(m->codes)) >= m->rows * m->k,
            "gemm: fewer codes than the shape says");
    require(std::ssize(m->scale_inv) >= m->grid().blocks(), "gemm: fewer scales than blocks");
  }
  const Model& model = options.model;
  require(options.split_k >= 1 && options.promote >= 0, "gemm: split_k and N_C must not be negative");
  require(options.promote == 0 || model.terms == 0 || options.promote % model.terms == 0,
          "gemm: N_C must be a multiple of the unit's step");
  if (model.scale_block > 0) {
    for (const ScaledMatrix* m : {&a, &b})
      require(m->block.cols == 0 || m->block.cols % model.scale_block == 0,
              "gemm: a scale must not change within a block of the unit");
    return;
  }
  if (one_scale(a) && one_scale(b)) return;
  require(options.promote > 0, "gemm: scales that change along K need a promotion interval");
  require(options.order != ScaleOrder::plain, "gemm: block scales need an order that applies them");
  for (const ScaledMatrix* m : {&a, &b})
    require(m->block.cols == 0 || m->block.cols % options.promote == 0,
            "gemm: a scale must not change within N_C products");
}

std::uint32_t unit_scale_code(const ScaledMatrix& m, const Model& model, std::int64_t r, std::int64_t k) {
  const float s = m.scale(r, k);
  if (!(model.scale_format == e8m0)) return encode(model.scale_format, s);
  require(is_nan(s) || cut_to_pow2(s) == s || s == pow2(-127), "gemm: this unit takes power-of-two scales only");
  return e8m0_code(s);
}

KPart k_part(std::int64_t k, const ScaledGemmOptions& options, std::int64_t part) {
  const std::int64_t unit = options.promote > 0 ? options.promote : std::max(1, options.model.terms);
  const std::int64_t units = (k + unit - 1) / unit;
  return {std::min(units * part / options.split_k * unit, k), std::min(units * (part + 1) / options.split_k * unit, k)};
}

void run_in_order(std::size_t count, const std::function<void(std::size_t)>& task) {
  for (std::size_t i = 0; i < count; ++i) task(i);
}

void scaled_gemm(const ScaledMatrix& a, const ScaledMatrix& b, const ScaledGemmOptions& options,
                 std::span<const float> c, std::span<float> d, const Executor& execute) {
  check_scaled_gemm(a, b, options);
  const std::size_t size = static_cast<std::size_t>(a.rows * b.rows);
  require(d.size() >= size && (c.empty() || c.size() >= size), "gemm: C or D is too short");
  const Model& model = options.model;
  const bool at_end = model.scale_block == 0 && one_scale(a) && one_scale(b);
  const bool scaled = model.scale_block == 0 && !at_end;
  std::vector<float> partial(options.split_k > 1 ? size : 0);
  for (std::int64_t part = 0; part < options.split_k; ++part) {
    const auto [begin, end] = k_part(a.k, options, part);
    const PackedPart left(a, model, begin, end), right(b, model, begin, end);
    const ScalePromotion promotion(a, b, options, begin, scaled);
    const Gemm product{model,
                       {static_cast<std::size_t>(a.rows), static_cast<std::size_t>(b.rows),
                        static_cast<std::size_t>(end - begin)},
                       {a.format, left.codes.data(), left.scales.data()},
                       {b.format, right.codes.data(), right.scales.data()},
                       static_cast<std::size_t>(options.promote),
                       &promotion,
                       nullptr};
    float* out = part == 0 ? d.data() : partial.data();
    const GemmPlan plan(product);
    std::mutex mutex;
    std::vector<GemmScratch> idle;
    execute(plan.tiles(), [&](std::size_t tile) {
      GemmScratch scratch;
      {
        const std::lock_guard lock(mutex);
        if (!idle.empty()) scratch = std::move(idle.back()), idle.pop_back();
      }
      plan.run(tile, scratch, out);
      const std::lock_guard lock(mutex);
      idle.push_back(std::move(scratch));
    });
    for (std::size_t i = 0; part > 0 && i < size; ++i) d[i] += partial[i];
  }
  const ProductEnd last{at_end, options.bf16_output, at_end ? a.scale_inv[0] * b.scale_inv[0] : 1.0f};
  for (std::size_t i = 0; i < size; ++i) d[i] = finish_element(last, d[i], c.empty() ? nullptr : &c[i]);
}

}  // namespace fp8scope
