#include "sim/mx_tile_scales.hpp"

#include <cstring>

#include "sim/bits.hpp"
#include "sim/require.hpp"
#include "sim/simd/isa.hpp"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "sim/simd/mx_tile_scales.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace fp8scope {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;
using F = hn::ScalableTag<float>;
using I = hn::RebindToSigned<F>;
using IVec = hn::Vec<I>;

/// 2^(code - 127), its halves at the end of binary32's range as a subnormal number.
HWY_INLINE hn::Vec<F> power(IVec code, IVec nan) {
  const IVec bits = hn::IfThenElse(hn::Eq(code, hn::Zero(I())), hn::Set(I(), 0x400000), hn::ShiftLeft<23>(code));
  return hn::BitCast(F(), hn::Or(bits, nan));
}

HWY_INLINE void mx_scales_of(hn::Vec<F> amax, float* scale, float* scale_inv) {
  const I i;
  const IVec bits = hn::BitCast(i, hn::Mul(amax, hn::Set(F(), 1.0f / 448.0f)));
  const IVec field = hn::ShiftRight<23>(bits), rest = hn::And(bits, hn::Set(i, 0x7fffff));
  // Up unless it is a power of two, or a subnormal number of at most 2^-127.
  const IVec exact = hn::IfThenElseZero(hn::Eq(field, hn::Zero(i)), hn::Set(i, 0x400000));
  const auto up = hn::And(hn::Gt(rest, exact), hn::Lt(field, hn::Set(i, 254)));
  const IVec one = hn::Set(i, 1);
  const IVec code = hn::Sub(hn::Add(field, hn::IfThenElseZero(up, one)),
                            hn::IfThenElseZero(hn::Eq(field, hn::Set(i, 255)), one));
  const IVec nan = hn::IfThenElseZero(hn::Gt(bits, hn::Set(i, 0x7f800000)), hn::Set(i, 0x7fc00000));
  hn::StoreU(power(hn::Sub(hn::Set(i, 254), code), nan), F(), scale);
  hn::StoreU(power(code, nan), F(), scale_inv);
}

void MxTileScales(const float* amax, std::size_t n, float* scale, float* scale_inv) {
  const F f;
  const std::size_t lanes = hn::Lanes(f);
  std::size_t t = 0;
  for (; t + lanes <= n; t += lanes) mx_scales_of(hn::LoadU(f, amax + t), scale + t, scale_inv + t);
  if (t == n) return;
  HWY_ALIGN float in[hn::MaxLanes(F())] = {}, s[hn::MaxLanes(F())], inverse[hn::MaxLanes(F())];
  std::memcpy(in, amax + t, (n - t) * sizeof(float));
  mx_scales_of(hn::Load(f, in), s, inverse);
  std::memcpy(scale + t, s, (n - t) * sizeof(float));
  std::memcpy(scale_inv + t, inverse, (n - t) * sizeof(float));
}

}  // namespace HWY_NAMESPACE
}  // namespace fp8scope
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace fp8scope {

HWY_EXPORT(MxTileScales);

namespace {

void mx_tile_scales_scalar(std::span<const float> amax, float* scale, float* scale_inv) {
  for (std::size_t t = 0; t < amax.size(); ++t) {
    const std::uint32_t bits = float_bits(amax[t] * (1.0f / 448.0f));
    const std::uint32_t field = bits >> 23, rest = bits & 0x7fffffu;
    const std::uint32_t up = rest > (field == 0 ? 0x400000u : 0u) && field < 254 ? 1u : 0u;
    const std::uint32_t code = field + up - (field == 255 ? 1u : 0u), down = 254u - code;
    const std::uint32_t nan = bits > inf_bits ? 0x7fc00000u : 0u;
    scale[t] = bits_float((down == 0 ? 0x400000u : down << 23) | nan);
    scale_inv[t] = bits_float((code == 0 ? 0x400000u : code << 23) | nan);
  }
}

}  // namespace

void mx_tile_scales(std::span<const float> amax, std::span<float> scale, std::span<float> scale_inv) {
  require(scale.size() == amax.size() && scale_inv.size() == amax.size(), "mx_tile_scales: one scale and one scale_inv per tile are needed");
  if (isa() == Isa::scalar) return mx_tile_scales_scalar(amax, scale.data(), scale_inv.data());
  HWY_DYNAMIC_DISPATCH(MxTileScales)(amax.data(), amax.size(), scale.data(), scale_inv.data());
}

}  // namespace fp8scope
#endif
