#include "sim/hadamard.hpp"

#include "sim/require.hpp"
#include "sim/simd/isa.hpp"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "sim/simd/hadamard.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace fp8scope {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

#if HWY_TARGET == HWY_SCALAR

void HadamardTarget(const Hadamard& how, std::size_t rows, std::size_t cols, bool turned, const float* x, float* out) {
  hadamard_scalar(how, static_cast<std::int64_t>(rows), static_cast<std::int64_t>(cols), turned, {x, rows * cols},
                  {out, rows * cols});
}

#else

using F = hn::CappedTag<float, 16>;
using U = hn::RebindToUnsigned<F>;
using V = hn::Vec<F>;
constexpr std::size_t lanes = hn::MaxLanes(F());

HWY_INLINE V rounded(V v, bool to_bf16) {
  const F f;
  const U u;
  const V y = hn::Mul(v, hn::Set(f, 0.25f));
  if (!to_bf16) return y;
  const auto word = hn::BitCast(u, y);
  const auto odd = hn::And(hn::ShiftRight<16>(word), hn::Set(u, 1u));
  const auto sum = hn::And(hn::Add(hn::Add(word, hn::Set(u, 0x7fffu)), odd), hn::Set(u, 0xffff0000u));
  return hn::IfThenElse(hn::IsNaN(y), y, hn::BitCast(f, sum));
}

/// Sixteen vectors at a time: lane by lane the butterflies of hadamard16().
HWY_INLINE void transform(const Hadamard& how, V* v) {
  const F f;
  for (int i = 0; i < 16; ++i)
    if ((how.signs >> i & 1u) != 0) v[i] = hn::Xor(v[i], hn::Set(f, -0.0f));
  for (int half = 8; half > 0; half /= 2)
    for (int i = 0; i < 16; ++i)
      if ((i & half) == 0) {
        const V a = v[i], b = v[i + half];
        v[i] = hn::Add(a, b);
        v[i + half] = hn::Sub(a, b);
      }
  for (int i = 0; i < 16; ++i) v[i] = rounded(v[i], how.round_to_bf16);
}

void Turned(const Hadamard& how, std::size_t rows, std::size_t cols, const float* x, float* out) {
  const F f;
  for (std::size_t r = 0; r < rows; r += 16) {
    std::size_t c = 0;
    for (; c + lanes <= cols; c += lanes) {
      V v[16];
      for (std::size_t i = 0; i < 16; ++i) v[i] = hn::LoadU(f, x + (r + i) * cols + c);
      transform(how, v);
      for (std::size_t i = 0; i < 16; ++i) hn::StoreU(v[i], f, out + (r + i) * cols + c);
    }
    if (c == cols) continue;
    HWY_ALIGN float padded[16 * lanes] = {};
    V v[16];
    for (std::size_t i = 0; i < 16; ++i)
      for (std::size_t j = c; j < cols; ++j) padded[i * lanes + j - c] = x[(r + i) * cols + j];
    for (std::size_t i = 0; i < 16; ++i) v[i] = hn::Load(f, padded + i * lanes);
    transform(how, v);
    for (std::size_t i = 0; i < 16; ++i) hn::Store(v[i], f, padded + i * lanes);
    for (std::size_t i = 0; i < 16; ++i)
      for (std::size_t j = c; j < cols; ++j) out[(r + i) * cols + j] = padded[i * lanes + j - c];
  }
}

/// Groups of 16 along rows: `lanes` groups are turned, transformed, turned back.
void Along(const Hadamard& how, std::size_t groups, const float* x, float* out) {
  const F f;
  HWY_ALIGN float turned[16 * lanes] = {};
  for (std::size_t g = 0; g < groups; g += lanes) {
    const std::size_t count = groups - g < lanes ? groups - g : lanes;
    for (std::size_t j = 0; j < count; ++j)
      for (std::size_t i = 0; i < 16; ++i) turned[i * lanes + j] = x[(g + j) * 16 + i];
    V v[16];
    for (std::size_t i = 0; i < 16; ++i) v[i] = hn::Load(f, turned + i * lanes);
    transform(how, v);
    for (std::size_t i = 0; i < 16; ++i) hn::Store(v[i], f, turned + i * lanes);
    for (std::size_t j = 0; j < count; ++j)
      for (std::size_t i = 0; i < 16; ++i) out[(g + j) * 16 + i] = turned[i * lanes + j];
  }
}

void HadamardTarget(const Hadamard& how, std::size_t rows, std::size_t cols, bool turned, const float* x, float* out) {
  if (turned) Turned(how, rows, cols, x, out);
  else Along(how, rows * cols / 16, x, out);
}

#endif

}  // namespace HWY_NAMESPACE
}  // namespace fp8scope
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace fp8scope {

HWY_EXPORT(HadamardTarget);

namespace {

void require_groups(std::int64_t rows, std::int64_t cols, bool turned, std::size_t x, std::size_t out) {
  require((turned ? rows : cols) % 16 == 0, "hadamard: the transformed dimension is no multiple of 16");
  require(x >= static_cast<std::size_t>(rows * cols) && out >= static_cast<std::size_t>(rows * cols),
          "hadamard: fewer elements than the shape says");
}

}  // namespace

void hadamard_scalar(const Hadamard& how, std::int64_t rows, std::int64_t cols, bool turned,
                     std::span<const float> x, std::span<float> out) {
  require_groups(rows, cols, turned, x.size(), out.size());
  const std::int64_t groups = rows * cols / 16, step = turned ? cols : 1;
  for (std::int64_t g = 0; g < groups; ++g) {
    const std::int64_t first = turned ? g / cols * 16 * cols + g % cols : g * 16;
    float v[16];
    for (std::int64_t i = 0; i < 16; ++i) v[i] = x[first + i * step];
    hadamard16(how, v);
    for (std::int64_t i = 0; i < 16; ++i) out[first + i * step] = v[i];
  }
}

void hadamard(const Hadamard& how, std::int64_t rows, std::int64_t cols, bool turned, std::span<const float> x,
              std::span<float> out) {
  if (isa() == Isa::scalar) return hadamard_scalar(how, rows, cols, turned, x, out);
  require_groups(rows, cols, turned, x.size(), out.size());
  HWY_DYNAMIC_DISPATCH(HadamardTarget)
  (how, static_cast<std::size_t>(rows), static_cast<std::size_t>(cols), turned, x.data(), out.data());
}

}  // namespace fp8scope
#endif
