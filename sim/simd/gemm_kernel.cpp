#include "sim/simd/gemm_kernel.hpp"

#include "sim/simd/isa.hpp"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "sim/simd/gemm_kernel.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace fp8scope {
namespace simd {
namespace HWY_NAMESPACE {

#if HWY_TARGET == HWY_SCALAR

// One lane at a time is what dot() does already: gemm() never comes here.
void RunSteps(const StepNumbers&, const StepBlock&) {}
void AddSums(float*, std::size_t, std::size_t, float*, std::size_t) {}

#else

namespace hn = hwy::HWY_NAMESPACE;

using F = hn::ScalableTag<float>;
using I = hn::RebindToSigned<F>;
using U = hn::RebindToUnsigned<F>;
using Bytes = hn::Repartition<std::uint8_t, F>;
using VF = hn::Vec<F>;
using VI = hn::Vec<I>;
using VU = hn::Vec<U>;

/// Vectors of columns that stay in registers together.
constexpr std::size_t group = HWY_TARGET == HWY_AVX3 ? 4 : 2;

/// Toward zero, without Highway's care for values beyond int32: none that is used is beyond.
HWY_INLINE VI truncate(VF v) {
#if HWY_TARGET == HWY_AVX3
  return VI{_mm512_cvttps_epi32(v.raw)};
#elif HWY_TARGET == HWY_AVX2
  return VI{_mm256_cvttps_epi32(v.raw)};
#elif HWY_TARGET == HWY_SSE4
  return VI{_mm_cvttps_epi32(v.raw)};
#else
  return hn::ConvertTo(I(), v);
#endif
}

/// 2^(biased - 127)
HWY_INLINE VF power(VI biased) { return hn::BitCast(F(), hn::ShiftLeft<23>(biased)); }

/// Largest sum of exponent bytes of a step, for each of N columns.
HWY_INLINE VI largest_bytes(const StepNumbers& n, const std::uint8_t* a, const std::uint8_t* b) {
  const U u;
  const Bytes bytes;
  const auto* words = reinterpret_cast<const std::uint32_t*>(a);
  auto h = hn::Zero(bytes);
  for (std::size_t q = 0; q < n.terms / 4; ++q) {
    const auto x = hn::BitCast(bytes, hn::Set(u, words[q]));
    h = hn::Max(h, hn::Add(x, hn::Load(bytes, b + q * 4 * panel_columns)));
  }
  VU w = hn::BitCast(u, h);
  w = hn::BitCast(u, hn::Max(hn::BitCast(bytes, w), hn::BitCast(bytes, hn::ShiftRight<16>(w))));
  w = hn::BitCast(u, hn::Max(hn::BitCast(bytes, w), hn::BitCast(bytes, hn::ShiftRight<8>(w))));
  return hn::BitCast(I(), hn::And(w, hn::Set(u, 0xffu)));
}

/// How the terms of one vector of columns are aligned.
struct Alignment {
  VF term_scale;  ///< a packed product times this, truncated, is its part of the sum
  VF c_scale;     ///< the same for C
  VF unit;        ///< value of 1 of the sum
  hn::Mask<F> inexact;
  HWY_INLINE Alignment() {}
};

template <bool kShifted, bool kHalf>
HWY_INLINE Alignment align(const StepNumbers& n, VI bytes, VF c, VI shift) {
  const I i;
  Alignment result;
  const auto any = hn::Gt(bytes, hn::Set(i, 127));
  VI exponent = hn::Add(bytes, hn::Set(i, n.exponent_offset));
  if (kShifted) exponent = hn::Add(exponent, shift);
  exponent = hn::IfThenElse(any, exponent, hn::Set(i, n.floor));
  const VI c_bits = hn::And(hn::BitCast(i, c), hn::Set(i, 0x7fffffff));
  VI c_exponent = hn::ShiftRight<23>(c_bits);
  if (kHalf)  // binary16 does not normalise below 2^-14
    c_exponent = hn::IfThenElseZero(hn::Gt(c_bits, hn::Zero(i)), hn::Max(c_exponent, hn::Set(i, 127 - 14)));
  const VI wanted = hn::Max(hn::Max(exponent, c_exponent), hn::Set(i, n.floor));
  const VI top = hn::Min(hn::Max(wanted, hn::Set(i, lowest_exponent)), hn::Set(i, highest_exponent));
  const VI c_places = hn::Sub(hn::Set(i, 254 + n.fraction), top);
  result.c_scale = power(c_places);
  result.unit = power(hn::Sub(top, hn::Set(i, n.fraction)));
  if (kShifted) {
    const VI places = hn::Add(c_places, shift);
    result.term_scale = power(hn::Min(hn::Max(places, hn::Set(i, 27)), hn::Set(i, 227)));
    const auto beyond = hn::Ne(wanted, top);
    const auto something = hn::Or(any, hn::Gt(c_bits, hn::Zero(i)));
    const auto clamped = hn::And(any, hn::Gt(hn::Sub(shift, top), hn::Set(i, clamp_places - 1 - 127)));
    result.inexact = hn::RebindMask(F(), hn::Or(hn::And(beyond, something), clamped));
  } else {
    result.term_scale = result.c_scale;
  }
  return result;
}

/// v to nearest even in binary16; NaN where that overflows or v is NaN.
HWY_INLINE VF round_to_half(VF v) {
  const F f;
  const U u;
  const VF magnitude = hn::Abs(v);
  const VU bits = hn::BitCast(u, magnitude);
  const VU odd = hn::And(hn::ShiftRight<13>(bits), hn::Set(u, 1u));
  const VU rounded = hn::And(hn::Add(hn::Add(bits, hn::Set(u, 0xfffu)), odd), hn::Set(u, ~0x1fffu));
  const VF magic = hn::Set(f, 0.75f);  // its last bit is worth 2^-24
  const VF small = hn::Sub(hn::Add(magnitude, magic), magic);
  const VF half = hn::IfThenElse(hn::Lt(magnitude, hn::Set(f, 0x1p-14f)), small, hn::BitCast(f, rounded));
  const VF nan = hn::BitCast(f, hn::Set(u, 0x7fffffffu));
  return hn::IfThenElse(hn::Lt(magnitude, hn::Set(f, 65520.0f)), hn::CopySignToAbs(half, v), nan);
}

/// The sum of a step as the unit writes it. One float holds it exactly.
template <bool kHalf>
HWY_INLINE VF finish_narrow(const StepNumbers& n, VI sum, VF unit) {
  const VF exact = hn::Mul(hn::ConvertTo(F(), sum), unit);
  if (kHalf) return round_to_half(exact);
  return hn::And(exact, hn::BitCast(F(), hn::Set(U(), n.result_mask)));
}

using D = hn::Repartition<double, F>;
using L = hn::RebindToUnsigned<D>;
using HalfF = hn::Half<F>;
using HalfI = hn::RebindToSigned<HalfF>;
using VD = hn::Vec<D>;

/// One half of finish_wide(): toward zero to 24 bits, or to odd where another rounding follows.
template <bool kHalf>
HWY_INLINE hn::Vec<HalfF> cut(VD v) {
  const L l;
  const auto bits = hn::BitCast(l, v);
  const auto dropped = hn::Set(l, (std::uint64_t{1} << 29) - 1);
  auto kept = hn::AndNot(dropped, bits);
  if (kHalf) {
    const auto lost = hn::Ne(hn::And(bits, dropped), hn::Zero(l));
    kept = hn::Or(kept, hn::IfThenElseZero(lost, hn::Set(l, std::uint64_t{1} << 29)));
  }
  return hn::DemoteTo(HalfF(), hn::BitCast(D(), kept));
}

/// The sum of three parts as the unit writes it.
template <bool kHalf>
HWY_INLINE VF finish_wide(const StepNumbers& n, VI even, VI odd, VI c, VF unit) {
  const D d;
  const HalfI i;
  const HalfF f;
  const auto part = [&](hn::Vec<HalfI> x, hn::Vec<HalfI> y, hn::Vec<HalfI> z, hn::Vec<HalfF> u)
                        HWY_ATTR {
    const VD sum = hn::Add(hn::Add(hn::PromoteTo(d, x), hn::PromoteTo(d, y)), hn::PromoteTo(d, z));
    return cut<kHalf>(hn::Mul(sum, hn::PromoteTo(d, u)));
  };
  const auto low = part(hn::LowerHalf(i, even), hn::LowerHalf(i, odd), hn::LowerHalf(i, c),
                        hn::LowerHalf(f, unit));
  const auto high = part(hn::UpperHalf(i, even), hn::UpperHalf(i, odd), hn::UpperHalf(i, c),
                         hn::UpperHalf(f, unit));
  const VF all = hn::Combine(F(), high, low);
  if (kHalf) return round_to_half(all);
  return hn::And(all, hn::BitCast(F(), hn::Set(U(), n.result_mask)));
}

/// One step of one row, for `group` vectors of columns.
template <bool kWide, bool kShifted, bool kHalf>
HWY_INLINE void step_group(const StepNumbers& n, const float* a, const std::uint8_t* a_bytes,
                           std::int32_t a_shift, const float* b, const std::uint8_t* b_bytes,
                           const std::int32_t* b_shifts, float* sums) {
  const F f;
  const I i;
  const std::size_t lanes = hn::Lanes(f);
  VF c[group], scale[group], unit[group];
  VI even[group], odd[group], c_part[group];
  hn::Mask<F> inexact[group];
  for (std::size_t v = 0; v < group; ++v) {
    c[v] = hn::Load(f, sums + v * lanes);
    const VI shift = kShifted ? hn::Add(hn::Set(i, a_shift), hn::Load(i, b_shifts + v * lanes)) : hn::Zero(i);
    const Alignment at = align<kShifted, kHalf>(n, largest_bytes(n, a_bytes, b_bytes + v * lanes * 4), c[v], shift);
    scale[v] = at.term_scale;
    unit[v] = at.unit;
    if (kShifted) inexact[v] = at.inexact;
    c_part[v] = truncate(hn::Mul(c[v], at.c_scale));
    even[v] = kWide ? hn::Zero(i) : c_part[v];
    odd[v] = hn::Zero(i);
  }
  for (std::size_t k = 0; k < n.terms; k += 2) {
    const VF x = hn::Set(f, a[k]), y = hn::Set(f, a[k + 1]);
    for (std::size_t v = 0; v < group; ++v) {
      const VF p = hn::Mul(hn::Mul(x, scale[v]), hn::Load(f, b + k * panel_columns + v * lanes));
      const VF q = hn::Mul(hn::Mul(y, scale[v]), hn::Load(f, b + (k + 1) * panel_columns + v * lanes));
      even[v] = hn::Add(even[v], truncate(p));
      if (kWide)
        odd[v] = hn::Add(odd[v], truncate(q));
      else
        even[v] = hn::Add(even[v], truncate(q));
    }
  }
  const VF nan = hn::BitCast(f, hn::Set(U(), 0x7fffffffu));
  for (std::size_t v = 0; v < group; ++v) {
    VF d = kWide ? finish_wide<kHalf>(n, even[v], odd[v], c_part[v], unit[v])
                 : finish_narrow<kHalf>(n, even[v], unit[v]);
    if (kShifted) d = hn::IfThenElse(inexact[v], nan, d);
    if (kHalf) d = hn::IfThenElse(hn::IsNaN(c[v]), nan, d);
    hn::Store(d, f, sums + v * lanes);
  }
}

template <bool kWide, bool kShifted, bool kHalf>
void run(const StepNumbers& n, const StepBlock& block) {
  const std::size_t columns = group * hn::Lanes(F()), row_words = n.row_words();
  for (std::size_t s = 0; s < block.steps; ++s) {
    const auto* b = reinterpret_cast<const float*>(block.b + s * n.panel_words());
    const auto* b_bytes = reinterpret_cast<const std::uint8_t*>(b + n.terms * panel_columns);
    const auto* b_shifts = reinterpret_cast<const std::int32_t*>(b_bytes + n.terms * panel_columns);
    for (std::size_t r = 0; r < block.rows; ++r) {
      const auto* a = reinterpret_cast<const float*>(block.a + s * block.a_step + r * row_words);
      const auto* a_bytes = reinterpret_cast<const std::uint8_t*>(a + n.terms);
      const auto shift = static_cast<std::int32_t>(block.a[s * block.a_step + (r + 1) * row_words - 1]);
      for (std::size_t j = 0; j < panel_columns; j += columns)
        step_group<kWide, kShifted, kHalf>(n, a, a_bytes, shift, b + j, b_bytes + 4 * j, b_shifts + j,
                                           block.sums + r * block.stride + j);
    }
  }
}

void RunSteps(const StepNumbers& n, const StepBlock& block) {
  constexpr decltype(&run<false, false, false>) kernels[] = {
      run<false, false, false>, run<false, false, true>, run<false, true, false>, run<false, true, true>,
      run<true, false, false>,  run<true, false, true>,  run<true, true, false>,  run<true, true, true>};
  kernels[(n.wide ? 4 : 0) + (n.shifted ? 2 : 0) + (n.half ? 1 : 0)](n, block);
}

void AddSums(float* sums, std::size_t rows, std::size_t columns, float* totals, std::size_t stride) {
  const F f;
  const std::size_t lanes = hn::Lanes(f);
  for (std::size_t r = 0; r < rows; ++r, sums += panel_columns, totals += stride) {
    std::size_t j = 0;
    for (; j + lanes <= columns; j += lanes)
      hn::StoreU(hn::Add(hn::LoadU(f, totals + j), hn::Load(f, sums + j)), f, totals + j);
    for (; j < columns; ++j) totals[j] += sums[j];
    for (std::size_t i = 0; i < panel_columns; i += lanes) hn::Store(hn::Zero(f), f, sums + i);
  }
}

#endif

}  // namespace HWY_NAMESPACE
}  // namespace simd
}  // namespace fp8scope
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace fp8scope::simd {

HWY_EXPORT(RunSteps);
HWY_EXPORT(AddSums);

void run_float_steps(const StepNumbers& numbers, const StepBlock& block) {
  HWY_DYNAMIC_DISPATCH(RunSteps)(numbers, block);
}

void add_sums(float* sums, std::size_t rows, std::size_t columns, float* totals, std::size_t stride) {
  HWY_DYNAMIC_DISPATCH(AddSums)(sums, rows, columns, totals, stride);
}

}  // namespace fp8scope::simd
#endif
