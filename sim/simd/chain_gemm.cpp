#include "sim/simd/chain_gemm.hpp"

#include <algorithm>
#include <cmath>
#include <cstdint>

#include "sim/convert.hpp"
#include "sim/simd/isa.hpp"
#include "sim/simd/row_math.hpp"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "sim/simd/chain_gemm.cpp"
#define HWY_DISABLED_TARGETS HWY_SSSE3
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#ifndef FP8SCOPE_CHAIN_ONCE
#define FP8SCOPE_CHAIN_ONCE
namespace fp8scope::chain {

inline constexpr std::size_t panel_rows = 12, panel_columns = 32;

/// sums[r, j] = sums[r, j] + chain of a[k, r] * b[k, j]: 12 rows, 32 columns.
///
/// a     [count, 12]
/// b     [count, 32]
/// sums  [12, stride]
using Kernel = void (*)(std::size_t count, const float* a, const float* b, float* sums, std::size_t stride,
                        bool from_zero);

/// total[j] = promote(order, first ? 0 : total[j], partial[j], sa, sb[j]), j < 32.
using Promote = void (*)(ScaleOrder order, bool first, const float* partial, float sa, const float* sb, float* total);

struct Functions {
  Kernel kernel;
  Promote promote;
};

}  // namespace fp8scope::chain
#endif

// Only where the processor has a fused multiply-add: one in software is slower than no vectors.
#if HWY_TARGET == HWY_AVX2 || HWY_TARGET == HWY_AVX3
HWY_BEFORE_NAMESPACE();
namespace fp8scope::chain::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;
using F = hn::ScalableTag<float>;
constexpr std::size_t width = HWY_MAX_BYTES / 4;
#if HWY_TARGET == HWY_AVX3
constexpr std::size_t rows = 12, vectors = 2;
#else
constexpr std::size_t rows = 6, vectors = 2;
#endif

HWY_INLINE void block(std::size_t count, const float* HWY_RESTRICT a, const float* HWY_RESTRICT b,
                      float* HWY_RESTRICT sums, std::size_t stride, bool from_zero) {
  const F f;
  hn::Vec<F> sum[rows][vectors];
  for (std::size_t r = 0; r < rows; ++r)
    for (std::size_t v = 0; v < vectors; ++v)
      sum[r][v] = from_zero ? hn::Zero(f) : hn::LoadU(f, sums + r * stride + v * width);
  for (std::size_t k = 0; k < count; ++k, a += panel_rows, b += panel_columns) {
    const auto b0 = hn::LoadU(f, b), b1 = hn::LoadU(f, b + width);
#pragma GCC unroll 12
    for (std::size_t r = 0; r < rows; ++r) {
      const auto x = hn::Set(f, a[r]);
      sum[r][0] = hn::MulAdd(x, b0, sum[r][0]);
      sum[r][1] = hn::MulAdd(x, b1, sum[r][1]);
    }
  }
  for (std::size_t r = 0; r < rows; ++r)
    for (std::size_t v = 0; v < vectors; ++v) hn::StoreU(sum[r][v], f, sums + r * stride + v * width);
}

void Kernel(std::size_t count, const float* a, const float* b, float* sums, std::size_t stride, bool from_zero) {
  for (std::size_t r = 0; r < panel_rows; r += rows)
    for (std::size_t j = 0; j < panel_columns; j += vectors * width)
      block(count, a + r, b + j, sums + r * stride + j, stride, from_zero);
}

void PromoteRow(ScaleOrder order, bool first, const float* partial, float sa, const float* sb, float* total) {
  const F f;
  const auto a = hn::Set(f, sa);
  for (std::size_t j = 0; j < panel_columns; j += width) {
    const auto sum = first ? hn::Zero(f) : hn::LoadU(f, total + j);
    const auto p = hn::LoadU(f, partial + j), b = hn::LoadU(f, sb + j);
    hn::StoreU(order == ScaleOrder::product   ? hn::MulAdd(hn::Mul(a, b), p, sum)
               : order == ScaleOrder::first_a ? hn::MulAdd(hn::Mul(p, a), b, sum)
               : order == ScaleOrder::first_b ? hn::MulAdd(hn::Mul(p, b), a, sum)
                                              : hn::Add(sum, p),
               f, total + j);
  }
}

extern const Functions functions;
const Functions functions{Kernel, PromoteRow};

}  // namespace fp8scope::chain::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();
#endif

#if HWY_ONCE
namespace fp8scope {
namespace {

using chain::panel_columns;
using chain::panel_rows;
constexpr std::size_t task_rows = 8 * panel_rows, longest_segment = 256;

void plain_kernel(std::size_t count, const float* a, const float* b, float* sums, std::size_t stride,
                  bool from_zero) {
  for (std::size_t r = 0; r < panel_rows; ++r) {
    float* sum = sums + r * stride;
    if (from_zero) std::fill_n(sum, panel_columns, 0.0f);
    for (std::size_t k = 0; k < count; ++k)
      for (std::size_t j = 0; j < panel_columns; ++j)
        sum[j] = std::fma(a[k * panel_rows + r], b[k * panel_columns + j], sum[j]);
  }
}

void plain_promote(ScaleOrder order, bool first, const float* partial, float sa, const float* sb, float* total) {
  for (std::size_t j = 0; j < panel_columns; ++j)
    total[j] = promote(order, first ? 0.0f : total[j], partial[j], sa, sb[j]);
}

constexpr chain::Functions plain{plain_kernel, plain_promote};

const chain::Functions& functions() {
  switch (isa()) {
#if HWY_TARGETS & HWY_AVX2
    case Isa::avx2: return chain::N_AVX2::functions;
#endif
#if HWY_TARGETS & HWY_AVX3
    case Isa::avx512: return chain::N_AVX3::functions;
#endif
    default: return plain;
  }
}

std::size_t divide_up(std::size_t a, std::size_t b) { return (a + b - 1) / b; }

/// Rows [first, first + width) as [count, width], rows beyond `rows` zero.
template <std::size_t kWidth>
void pack(const ChainOperand& x, std::size_t first, std::size_t rows, std::size_t k, std::size_t count, float* to) {
  const std::size_t here = std::min(kWidth, rows - first);
  if (here < kWidth) std::fill_n(to, count * kWidth, 0.0f);
  const float* from = x.data + first * x.row_stride + k * x.k_stride;
  if (x.row_stride == 1) {
    for (std::size_t i = 0; i < count; ++i)
      std::copy_n(from + i * x.k_stride, here == kWidth ? kWidth : here, to + i * kWidth);
    return;
  }
  if (here == kWidth && x.k_stride == 1) {  // four columns of k at a time: stores stay within lines
    for (std::size_t r = 0; r < kWidth; ++r) {
      const float* row = from + r * x.row_stride;
      for (std::size_t i = 0; i < count; ++i) to[i * kWidth + r] = row[i];
    }
    return;
  }
  for (std::size_t r = 0; r < here; ++r)
    for (std::size_t i = 0; i < count; ++i) to[i * kWidth + r] = from[r * x.row_stride + i * x.k_stride];
}

}  // namespace

ChainPlan::ChainPlan(const ChainGemm& gemm)
    : gemm_(gemm), segment_(gemm.chunk > 0 ? std::min(gemm.chunk, gemm.k) : std::min(longest_segment, gemm.k)) {
  const std::size_t panels = divide_up(gemm.n, panel_columns);
  b_.resize(divide_up(gemm.k, std::max<std::size_t>(segment_, 1)) * panels * segment_ * panel_columns);
  for (std::size_t k = 0, s = 0; k < gemm.k; k += segment_, ++s)
    for (std::size_t p = 0; p < panels; ++p)
      pack<panel_columns>(gemm.b, p * panel_columns, gemm.n, k, std::min(segment_, gemm.k - k),
                          &b_[(s * panels + p) * segment_ * panel_columns]);
  const std::size_t chunks = gemm.chunk > 0 ? divide_up(gemm.k, gemm.chunk) : 1;
  b_scales_.assign(chunks * panels * panel_columns, 1.0f);
  if (!gemm.b.scale_inv) return;
  for (std::size_t c = 0; c < chunks; ++c)
    for (std::size_t j = 0; j < gemm.n; ++j)
      b_scales_[c * panels * panel_columns + j] = gemm.b.scale_inv[j * gemm.b.scale_row + c * gemm.b.scale_chunk];
}

std::size_t ChainPlan::tasks() const { return divide_up(gemm_.m, task_rows); }

void ChainPlan::run(std::size_t task) const {
  const ChainGemm& g = gemm_;
  const std::size_t first = task * task_rows, rows = std::min(task_rows, g.m - first);
  const std::size_t panels = divide_up(g.n, panel_columns), row_panels = divide_up(rows, panel_rows);
  const auto multiply = functions().kernel;
  const auto& math = simd::row_math();
  thread_local std::vector<float> packed;
  packed.resize(row_panels * segment_ * panel_rows);
  alignas(64) float block[panel_rows * panel_columns];
  for (std::size_t k = 0, s = 0; k < g.k; k += segment_, ++s) {
    const std::size_t count = std::min(segment_, g.k - k);
    for (std::size_t r = 0; r < row_panels; ++r)
      pack<panel_rows>(g.a, first + r * panel_rows, first + rows, k, count, &packed[r * segment_ * panel_rows]);
    for (std::size_t p = 0; p < panels; ++p)
      for (std::size_t r = 0; r < row_panels; ++r) {
        const std::size_t row = first + r * panel_rows, column = p * panel_columns;
        const std::size_t here = std::min(panel_rows, first + rows - row), wide = std::min(panel_columns, g.n - column);
        const float* a = &packed[r * segment_ * panel_rows];
        const float* b = &b_[(s * panels + p) * segment_ * panel_columns];
        float* d = g.d + row * g.d_stride + column;
        const bool whole = here == panel_rows && wide == panel_columns;
        if (g.chunk > 0) {
          multiply(count, a, b, block, panel_columns, true);
          promote_block(s, row, here, p, wide, block, d);
        } else if (whole) {
          multiply(count, a, b, d, g.d_stride, k == 0);
        } else {
          for (std::size_t i = 0; k > 0 && i < here; ++i) std::copy_n(d + i * g.d_stride, wide, block + i * panel_columns);
          multiply(count, a, b, block, panel_columns, k == 0);
          for (std::size_t i = 0; i < here; ++i) std::copy_n(block + i * panel_columns, wide, d + i * g.d_stride);
        }
      }
  }
  for (std::size_t i = 0; i < rows; ++i) {
    float* d = g.d + (first + i) * g.d_stride;
    if (g.k == 0) std::fill_n(d, g.n, 0.0f);
    if (g.order == ScaleOrder::plain && g.a.scale_inv)
      for (std::size_t j = 0; j < g.n; ++j) d[j] *= g.a.scale_inv[(first + i) * g.a.scale_row] * b_scales_[j];
    if (g.bf16_output) math.round_bf16(d, g.n, d);
  }
}

void ChainPlan::promote_block(std::size_t chunk, std::size_t row, std::size_t rows, std::size_t panel,
                              std::size_t columns, const float* block, float* d) const {
  const ChainOperand& a = gemm_.a;
  const float* sb = &b_scales_[(chunk * divide_up(gemm_.n, panel_columns) + panel) * panel_columns];
  const auto whole_row = functions().promote;
  for (std::size_t i = 0; i < rows; ++i, block += panel_columns, d += gemm_.d_stride) {
    const float sa = a.scale_inv ? a.scale_inv[(row + i) * a.scale_row + chunk * a.scale_chunk] : 1.0f;
    if (columns == panel_columns) whole_row(gemm_.order, chunk == 0, block, sa, sb, d);
    else promote_row(gemm_.order, chunk == 0, columns, block, sa, sb, d);
  }
}

void promote_row(ScaleOrder order, bool first, std::size_t n, const float* partial, float sa, const float* sb,
                 float* total) {
  const auto row = functions().promote;
  std::size_t j = 0;
  for (; j + panel_columns <= n; j += panel_columns) row(order, first, partial + j, sa, sb + j, total + j);
  if (j == n) return;
  float part[3][panel_columns] = {};
  std::copy_n(partial + j, n - j, part[0]);
  std::copy_n(sb + j, n - j, part[1]);
  std::copy_n(total + j, n - j, part[2]);
  row(order, first, part[0], sa, part[1], part[2]);
  std::copy_n(part[2], n - j, total + j);
}

void chain_gemm(const ChainGemm& gemm) {
  const ChainPlan plan(gemm);
  for (std::size_t task = 0; task < plan.tasks(); ++task) plan.run(task);
}

}  // namespace fp8scope
#endif
