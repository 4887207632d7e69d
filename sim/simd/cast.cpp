#include "sim/simd/cast.hpp"

#include <algorithm>

#include "sim/quantize.hpp"
#include "sim/require.hpp"
#include "sim/simd/cast_constants.hpp"
#include "sim/simd/isa.hpp"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "sim/simd/cast.cpp"
#include <hwy/foreach_target.h>
#include <hwy/cache_control.h>
#include <hwy/highway.h>

#ifndef FP8SCOPE_CAST_SHARED
#define FP8SCOPE_CAST_SHARED
namespace fp8scope {

inline constexpr std::size_t tiles_at_once = 16;

/// The amax whose bits are `largest`, above infinity if there is a NaN among x[0..n).
inline float amax_of_bits(std::uint32_t largest, AmaxRule rule, const float* x, std::size_t n) {
  return largest <= inf_bits ? bits_float(largest) : amax(rule, {x, n});
}

}  // namespace fp8scope
#endif

HWY_BEFORE_NAMESPACE();
namespace fp8scope {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

#if HWY_TARGET == HWY_SCALAR

// The baseline of some compilers has one lane; the plain code is better at that.
void EncodeTarget(const Format& f, const CastRule& rule, const float* x, std::size_t n, float scale,
                  std::uint8_t* codes, bool) {
  for (std::size_t i = 0; i < n; ++i)
    codes[i] = static_cast<std::uint8_t>(quantize_element(f, x[i], scale, rule));
}
void DecodeTarget(const Format& f, const std::uint8_t* codes, std::size_t n, float* x) {
  for (std::size_t i = 0; i < n; ++i) x[i] = decode(f, codes[i]);
}
std::uint32_t LargestTarget(const float* x, std::size_t n) {
  std::uint32_t largest = 0;
  for (std::size_t i = 0; i < n; ++i) largest = std::max(largest, float_bits(x[i]) & magnitude_bits);
  return largest;
}
void QuantizeRunTarget(const Format&, const CastRule&, const ScaleRule&, AmaxRule, const float*,
                       std::size_t, std::size_t, std::uint8_t*, Scales*, bool) {}
std::size_t VectorTile() { return 0; }  // no tile is a multiple of it
void CopyTarget(const float* x, std::size_t n, std::uint8_t* bytes) {
  for (std::size_t i = 0; i < n; ++i) bytes[i] = static_cast<std::uint8_t>(float_bits(x[i]) >> 24);
}

#else

using F = hn::ScalableTag<float>;
using U = hn::RebindToUnsigned<F>;
using I = hn::RebindToSigned<F>;
using I16 = hn::Repartition<std::int16_t, F>;
using U8 = hn::Repartition<std::uint8_t, F>;
using VF = hn::Vec<F>;
using VU = hn::Vec<U>;
constexpr std::size_t prefetch_ahead = 4096;  // elements: 16 KiB, past what hardware fetches by itself

/// Bytes in the order of their elements, from four vectors with one byte in each 32-bit lane.
class Packer {
 public:
  HWY_INLINE Packer() {
    // Packed to 16 bits, a and b (low bytes) and c and d (high bytes) lie mixed in 128-bit blocks.
    bytes_ = hn::LoadDup128(U8(), mixed_bytes);
    // Sorted, block j has four bytes of each of the four vectors.
    constexpr std::size_t blocks = hn::MaxLanes(U()) / 4;
    HWY_ALIGN std::int32_t from[4 * blocks];
    for (std::size_t v = 0; v < 4; ++v)
      for (std::size_t j = 0; j < blocks; ++j)
        from[v * blocks + j] = static_cast<std::int32_t>(4 * j + v);
    order_ = hn::IndicesFromVec(U(), hn::BitCast(U(), hn::Load(I(), from)));
  }
  HWY_INLINE hn::Vec<U8> pack(VU a, VU b, VU c, VU d) const {
    const auto words = [](VU low, VU high) HWY_ATTR {
      return hn::ReorderDemote2To(I16(), hn::BitCast(I(), low), hn::BitCast(I(), high));
    };
    const auto mixed = hn::Or(words(a, b), hn::ShiftLeft<8>(words(c, d)));
    const auto bytes = hn::TableLookupBytes(hn::BitCast(U8(), mixed), bytes_);
    return hn::BitCast(U8(), hn::TableLookupLanes(hn::BitCast(U(), bytes), order_));
  }

 private:
  HWY_ALIGN static constexpr std::uint8_t mixed_bytes[16] = {0, 2, 4, 6, 8, 10, 12, 14,
                                                             1, 3, 5, 7, 9, 11, 13, 15};
  hn::Vec<U8> bytes_;
  decltype(hn::IndicesFromVec(U(), hn::Zero(U()))) order_;
};

/// A saturating or special nearest-even cast of one vector. See cast_constants.hpp for the idea.
template <bool kSpecials, bool kNegativeZero>
class Encoder {
 public:
  HWY_INLINE Encoder(const CastConstants& k, float scale)
      : scale_(hn::Set(F(), scale)), clamp_(hn::Set(F(), k.clamp)),
        field_(hn::Set(U(), inf_bits)), min_normal_(hn::Set(U(), k.min_normal_bits)),
        magic_(hn::Set(U(), k.magic)), base_(hn::Set(U(), k.base)),
        sign_(hn::Set(U(), k.sign_bit)), max_code_(hn::Set(U(), k.max_code)),
        over_(hn::Set(U(), k.over_code)), nan_(hn::Set(U(), k.nan_code)),
        infinity_(hn::Set(U(), inf_bits)), infinite_(hn::Set(U(), k.infinite_code)),
        nan_sign_(hn::Set(U(), k.nan_sign_bit)), nan_flip_(hn::Set(U(), k.nan_flip)),
        drop_(23 - k.mantissa_bits), sign_shift_(k.sign_shift) {}

  HWY_INLINE void set_scale(float scale) { scale_ = hn::Set(F(), scale); }

  HWY_INLINE VU operator()(VF x) const {
    const VF v = hn::Mul(x, scale_);
    const VU word = hn::BitCast(U(), v);
    const VF magnitude = hn::Abs(v);
    const VF clamped = hn::Min(magnitude, clamp_);
    const VU exponent = hn::Max(hn::And(hn::BitCast(U(), clamped), field_), min_normal_);
    const VU magic = hn::Add(exponent, magic_);
    const VF sum = hn::Add(clamped, hn::BitCast(F(), magic));
    // The magic number's own mantissa is empty: the low bits of the sum are the rounded significand.
    VU code = hn::Add(hn::Add(hn::Sub(hn::BitCast(U(), sum), magic), hn::ShiftRightSame(magic, drop_)), base_);
    const VU sign = hn::And(hn::ShiftRightSame(word, sign_shift_), sign_);
    if (kSpecials) {
      code = hn::IfThenElse(hn::Gt(code, max_code_), over_, code);
      code = hn::IfThenElse(hn::Eq(hn::BitCast(U(), magnitude), infinity_), infinite_, code);
    }
    if (kNegativeZero) code = hn::Or(code, sign);
    else code = hn::IfThenElse(hn::Eq(code, hn::Zero(U())), code, hn::Or(code, sign));
    const VU nan = hn::Or(nan_, hn::And(hn::Xor(sign, nan_flip_), nan_sign_));
    return hn::IfThenElse(hn::RebindMask(U(), hn::IsNaN(v)), nan, code);
  }

 private:
  VF scale_, clamp_;
  VU field_, min_normal_, magic_, base_, sign_, max_code_, over_, nan_, infinity_, infinite_, nan_sign_,
      nan_flip_;
  int drop_, sign_shift_;
};

/// Calls one(vector) -> codes in 32-bit lanes for four vectors at a time and stores their bytes.
template <bool kStream, class One>
HWY_INLINE std::size_t map_to_bytes(const float* x, std::size_t n, std::uint8_t* out, const One& one,
                                    const Packer& packer = Packer()) {
  const F f;
  const std::size_t lanes = hn::Lanes(f);
  std::size_t i = 0;
  for (; i + 4 * lanes <= n; i += 4 * lanes) {
    if (kStream)
      for (std::size_t line = 0; line < 4 * lanes; line += 16) hwy::Prefetch(x + i + prefetch_ahead + line);
    const auto bytes = packer.pack(one(hn::LoadU(f, x + i)), one(hn::LoadU(f, x + i + lanes)),
                                   one(hn::LoadU(f, x + i + 2 * lanes)), one(hn::LoadU(f, x + i + 3 * lanes)));
    if (kStream) hn::Stream(bytes, U8(), out + i);
    else hn::StoreU(bytes, U8(), out + i);
  }
  return i;
}

template <class One>
HWY_INLINE void map_all(const float* x, std::size_t n, std::uint8_t* out, bool stream, const One& one) {
  HWY_ALIGN float padded_x[64] = {};
  HWY_ALIGN std::uint8_t padded_out[64];
  const std::size_t chunk = 4 * hn::Lanes(F());
  const auto tail = [&](std::size_t first, std::size_t count) HWY_ATTR {
    std::copy_n(x + first, count, padded_x);
    map_to_bytes<false>(padded_x, chunk, padded_out, one);
    std::copy_n(padded_out, count, out + first);
  };
  std::size_t i = 0;
  if (stream) {
    const std::size_t bytes = hn::Lanes(U8());
    const std::size_t unaligned = (bytes - reinterpret_cast<std::uintptr_t>(out) % bytes) % bytes;
    if (unaligned > 0 && unaligned <= n) tail(0, unaligned), i = unaligned;
    i += map_to_bytes<true>(x + i, n - i, out + i, one);
  }
  i += map_to_bytes<false>(x + i, n - i, out + i, one);
  if (i < n) tail(i, n - i);
}

void EncodeTarget(const Format& f, const CastRule& rule, const float* x, std::size_t n, float scale,
                  std::uint8_t* codes, bool stream) {
  const CastConstants k = cast_constants(f, rule);
  if (!f.has_negative_zero()) return map_all(x, n, codes, stream, Encoder<true, false>(k, scale));
  if (k.specials) return map_all(x, n, codes, stream, Encoder<true, true>(k, scale));
  map_all(x, n, codes, stream, Encoder<false, true>(k, scale));
}

void DecodeTarget(const Format& f, const std::uint8_t* codes, std::size_t n, float* x) {
  const U u;
  const hn::Rebind<std::uint8_t, U> quarter;
  const int shift = 23 - f.mantissa_bits;
  const int sign_shift = 32 - f.bits();
  const VU mask = hn::Set(u, f.magnitude_mask()), sign_bit = hn::Set(u, 0x80000000u);
  const VU max_code = hn::Set(u, f.max_code()), quiet = hn::Set(u, 0x7fc00000u);
  const VU inf_code = hn::Set(u, f.has_inf() ? f.inf_code() : 0xffffffffu), infinity = hn::Set(u, inf_bits);
  // Shifted into place the code is a binary32 number with another bias.
  const VF power = hn::Set(F(), bits_float(static_cast<std::uint32_t>(254 - f.bias) << 23));
  const bool fnuz = f.specials == Specials::fnuz;
  const VU fnuz_nan = hn::Set(u, fnuz ? f.nan_code() : 0xffffffffu);
  const std::size_t lanes = hn::Lanes(u);
  std::size_t i = 0;
  for (; i + lanes <= n; i += lanes) {
    const VU code = hn::PromoteTo(u, hn::LoadU(quarter, codes + i));
    const VU magnitude = hn::And(code, mask);
    const VU sign = hn::And(hn::ShiftLeftSame(code, sign_shift), sign_bit);
    const VF value = hn::Mul(hn::BitCast(F(), hn::ShiftLeftSame(magnitude, shift)), power);
    VU word = hn::BitCast(u, value);
    word = hn::IfThenElse(hn::Gt(magnitude, max_code), quiet, word);
    word = hn::IfThenElse(hn::Eq(magnitude, inf_code), infinity, word);
    word = hn::Or(word, sign);
    word = hn::IfThenElse(hn::Eq(code, fnuz_nan), quiet, word);
    hn::StoreU(hn::BitCast(F(), word), F(), x + i);
  }
  for (; i < n; ++i) x[i] = decode(f, codes[i]);
}

std::uint32_t LargestTarget(const float* x, std::size_t n) {
  const U u;
  const VU mask = hn::Set(u, magnitude_bits);
  const auto* words = reinterpret_cast<const std::uint32_t*>(x);
  const std::size_t lanes = hn::Lanes(u);
  VU largest = hn::Zero(u);
  std::size_t i = 0;
  for (; i + lanes <= n; i += lanes) largest = hn::Max(largest, hn::And(hn::LoadU(u, words + i), mask));
  std::uint32_t result = hn::GetLane(hn::MaxOfLanes(u, largest));
  for (; i < n; ++i) result = std::max(result, float_bits(x[i]) & magnitude_bits);
  return result;
}

template <bool kStream, class E>
HWY_INLINE void quantize_run(E encoder, const ScaleRule& rule, AmaxRule amax, const float* x,
                             std::size_t tiles, std::size_t tile, std::uint8_t* codes, Scales* scales) {
  const U u;
  const VU mask = hn::Set(u, magnitude_bits);
  const std::size_t lanes = hn::Lanes(u);
  const Packer packer;
  // Several tiles at a time: each waits for its own maximum and division, all of them together do not.
  for (std::size_t t = 0; t < tiles; t += tiles_at_once) {
    const std::size_t count = std::min(tiles_at_once, tiles - t);
    float amaxes[tiles_at_once];
    for (std::size_t k = 0; k < count; ++k) {
      const float* first = x + (t + k) * tile;
      const auto* words = reinterpret_cast<const std::uint32_t*>(first);
      VU largest = hn::Zero(u);
      for (std::size_t i = 0; i < tile; i += lanes) {
        if (kStream && i % 16 == 0) hwy::Prefetch(first + i + prefetch_ahead);
        largest = hn::Max(largest, hn::And(hn::LoadU(u, words + i), mask));
      }
      amaxes[k] = amax_of_bits(hn::GetLane(hn::MaxOfLanes(u, largest)), amax, first, tile);
    }
    for (std::size_t k = 0; k < count; ++k) scales[t + k] = block_scales(rule, amaxes[k]);
    for (std::size_t k = 0; k < count; ++k) {
      encoder.set_scale(scales[t + k].scale);
      map_to_bytes<kStream>(x + (t + k) * tile, tile, codes + (t + k) * tile, encoder, packer);
    }
  }
}

void QuantizeRunTarget(const Format& f, const CastRule& cast, const ScaleRule& rule, AmaxRule amax,
                       const float* x, std::size_t tiles, std::size_t tile, std::uint8_t* codes,
                       Scales* scales, bool stream) {
  const CastConstants k = cast_constants(f, cast);
  const auto run = [&](auto encoder) HWY_ATTR {
    if (stream && reinterpret_cast<std::uintptr_t>(codes) % hn::Lanes(U8()) == 0)
      quantize_run<true>(encoder, rule, amax, x, tiles, tile, codes, scales);
    else
      quantize_run<false>(encoder, rule, amax, x, tiles, tile, codes, scales);
  };
  if (f.has_negative_zero() && !k.specials) return run(Encoder<false, true>(k, 1.0f));
  if (f.has_negative_zero()) return run(Encoder<true, true>(k, 1.0f));
  run(Encoder<true, false>(k, 1.0f));
}

std::size_t VectorTile() { return 4 * hn::Lanes(F()); }

void CopyTarget(const float* x, std::size_t n, std::uint8_t* bytes) {
  map_all(x, n, bytes, true, [](VF v) HWY_ATTR { return hn::ShiftRight<24>(hn::BitCast(U(), v)); });
}

#endif

}  // namespace HWY_NAMESPACE
}  // namespace fp8scope
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace fp8scope {

HWY_EXPORT(EncodeTarget);
HWY_EXPORT(DecodeTarget);
HWY_EXPORT(LargestTarget);
HWY_EXPORT(QuantizeRunTarget);
HWY_EXPORT(VectorTile);
HWY_EXPORT(CopyTarget);

namespace {

/// Arrays of codes larger than this are not worth keeping in a cache.
constexpr std::size_t stream_bytes = 1u << 20;

void require_narrow(const Format& f) {
  require(f.bits() <= 8 && f.is_signed(), "cast: wanted a signed format of at most 8 bits");
}

void encode_plain(const Format& f, const CastRule& rule, const float* x, std::size_t n, float scale,
                  std::uint8_t* codes) {
  for (std::size_t i = 0; i < n; ++i)
    codes[i] = static_cast<std::uint8_t>(quantize_element(f, x[i], scale, rule));
}

void encode(const Format& f, const CastRule& rule, const float* x, std::size_t n, float scale,
            std::uint8_t* codes, bool stream) {
  if (isa() == Isa::scalar || rule.rounding != Rounding::nearest_even)
    return encode_plain(f, rule, x, n, scale, codes);
  HWY_DYNAMIC_DISPATCH(EncodeTarget)(f, rule, x, n, scale, codes, stream);
}

}  // namespace

void encode_all(const Format& f, const CastRule& rule, std::span<const float> x, float scale,
                std::span<std::uint8_t> codes) {
  require_narrow(f);
  require(codes.size() >= x.size(), "encode_all: fewer places than elements");
  encode(f, rule, x.data(), x.size(), scale, codes.data(), x.size() > stream_bytes);
}

void decode_all(const Format& f, std::span<const std::uint8_t> codes, std::span<float> x) {
  require_narrow(f);
  require(x.size() >= codes.size(), "decode_all: fewer places than codes");
  if (isa() == Isa::scalar) {
    for (std::size_t i = 0; i < codes.size(); ++i) x[i] = decode(f, codes[i]);
    return;
  }
  HWY_DYNAMIC_DISPATCH(DecodeTarget)(f, codes.data(), codes.size(), x.data());
}

void quantize_tiles(const Format& f, const CastRule& cast, const ScaleRule& rule, AmaxRule amax,
                    std::int64_t rows, std::int64_t cols, std::int64_t width,
                    std::span<const float> x, std::span<std::uint8_t> codes,
                    std::span<Scales> scales) {
  require_narrow(f);
  const BlockGrid grid(rows, cols, {1, width});
  require(std::ssize(x) >= grid.size(), "quantize_tiles: fewer elements than the shape says");
  require(std::ssize(codes) >= grid.size(), "quantize_tiles: fewer places than elements");
  require(std::ssize(scales) >= grid.blocks(), "quantize_tiles: fewer places than tiles");
  const std::size_t unit = HWY_DYNAMIC_DISPATCH(VectorTile)();
  const bool stream = x.size() > stream_bytes;
  if (isa() != Isa::scalar && cast.rounding == Rounding::nearest_even && cols % width == 0 && unit > 0 &&
      static_cast<std::size_t>(width) % unit == 0) {
    HWY_DYNAMIC_DISPATCH(QuantizeRunTarget)
    (f, cast, rule, amax, x.data(), static_cast<std::size_t>(grid.blocks()), static_cast<std::size_t>(width),
     codes.data(), scales.data(), stream);
    return;
  }
  for (std::int64_t r = 0; r < rows; ++r)
    for (std::int64_t c = 0; c < cols; c += width) {
      const std::int64_t i = grid.element(r, c);
      const auto n = static_cast<std::size_t>(std::min(width, cols - c));
      const std::uint32_t largest = HWY_DYNAMIC_DISPATCH(LargestTarget)(x.data() + i, n);
      Scales& s = scales[grid.block(r, c)];
      s = block_scales(rule, amax_of_bits(largest, amax, x.data() + i, n));
      encode(f, cast, x.data() + i, n, s.scale, codes.data() + i, false);
    }
}

void copy_top_bytes(std::span<const float> x, std::span<std::uint8_t> bytes) {
  require(bytes.size() >= x.size(), "copy_top_bytes: fewer places than elements");
  HWY_DYNAMIC_DISPATCH(CopyTarget)(x.data(), x.size(), bytes.data());
}

}  // namespace fp8scope
#endif
