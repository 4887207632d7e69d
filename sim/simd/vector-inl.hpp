// One instruction set's kernels; included once for each by vector.cpp. No include guard by intent,
// and nothing inline of other headers is called here: it would be compiled for this target and
// might be linked into code that runs on a lesser CPU.

#if HWY_TARGET == HWY_SSE4 || HWY_TARGET == HWY_AVX2 || HWY_TARGET == HWY_AVX3

#include <cstring>

HWY_BEFORE_NAMESPACE();
namespace fp8scope::simd::HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;
using F = hn::ScalableTag<float>;
using U = hn::RebindToUnsigned<F>;
using I = hn::RebindToSigned<F>;
using Bytes = hn::Repartition<std::uint8_t, F>;
using Words = hn::Repartition<std::int16_t, F>;
using UVec = hn::Vec<U>;
using FVec = hn::Vec<F>;
using Indices = decltype(hn::SetTableIndices(U(), static_cast<const std::int32_t*>(nullptr)));

constexpr std::size_t lanes = HWY_MAX_BYTES / 4;
constexpr std::size_t step = 4 * lanes;          // elements that fill one vector of codes
constexpr std::size_t prefetch_ahead = 16384 / 4;  // elements; from 8 to 16 KiB is best on Zen 5

/// Four vectors of values below 256 as one vector of bytes in the same order.
struct Packer {
  hn::Vec<Bytes> in_block;
  Indices across;

  HWY_INLINE Packer() : in_block(bytes_of_block()), across(dwords()) {}

  static HWY_INLINE hn::Vec<Bytes> bytes_of_block() {
    alignas(16) static constexpr std::uint8_t order[16] = {0, 2, 4, 6, 8, 10, 12, 14,
                                                           1, 3, 5, 7, 9, 11, 13, 15};
    return hn::LoadDup128(Bytes(), order);
  }
  static HWY_INLINE Indices dwords() {
    alignas(64) std::int32_t order[lanes];
    constexpr std::size_t blocks = lanes / 4;
    for (std::size_t i = 0; i < lanes; ++i)
      order[i] = static_cast<std::int32_t>(i % blocks * 4 + i / blocks);
    return hn::SetTableIndices(U(), static_cast<const std::int32_t*>(order));
  }
  HWY_INLINE hn::Vec<Bytes> operator()(UVec a, UVec b, UVec c, UVec d) const {
    const auto ab = hn::ReorderDemote2To(Words(), hn::BitCast(I(), a), hn::BitCast(I(), b));
    const auto cd = hn::ReorderDemote2To(Words(), hn::BitCast(I(), c), hn::BitCast(I(), d));
    // Bytes a0 c0 a1 c1 ... b0 d0 b1 d1 ... of every 128-bit block.
    const auto mixed = hn::BitCast(Bytes(), hn::Or(ab, hn::ShiftLeft<8>(cd)));
    const auto sorted = hn::BitCast(U(), hn::TableLookupBytes(mixed, in_block));
    return hn::BitCast(Bytes(), hn::TableLookupLanes(sorted, across));
  }
};

/// Codes of one vector of floats, as CastPlan describes. `kMantissa` is the number of stored bits
/// where it is known, for shifts by a constant, or -1; `kWork` is what has to be looked for.
enum class Work { all, plain, tame };  // plain: CastPlan::plain; tame: plain, no NaN, none too large
template <int kMantissa, Work kWork>
struct Encoder {
  UVec max, min_normal, to_magic, sign_bit, nan, negative_nan, overflow_above, overflow;
  int shift, sign_shift;
  bool negative_zero;

  explicit HWY_INLINE Encoder(const CastPlan& plan)
      : max(hn::Set(U(), plan.max_bits)), min_normal(hn::Set(U(), plan.min_normal_bits)),
        to_magic(hn::Set(U(), plan.to_magic)),
        sign_bit(hn::Set(U(), 0x80000000u >> plan.sign_shift)), nan(hn::Set(U(), plan.nan)),
        negative_nan(hn::Set(U(), plan.negative_nan)),
        overflow_above(hn::Set(U(), plan.overflow_above)), overflow(hn::Set(U(), plan.overflow)),
        shift(plan.shift), sign_shift(plan.sign_shift), negative_zero(plan.negative_zero) {}

  HWY_INLINE UVec operator()(FVec value) const {
    const UVec x = hn::BitCast(U(), value);
    const UVec magnitude = hn::And(x, hn::Set(U(), 0x7fffffffu));
    const UVec bounded =
        kWork == Work::tame ? magnitude : hn::Min(magnitude, max);  // as integers: also inf and NaN
    const UVec exponent = hn::And(hn::Max(bounded, min_normal), hn::Set(U(), 0x7f800000u));
    const UVec magic = hn::Add(exponent, to_magic);
    const UVec t =
        hn::BitCast(U(), hn::Add(hn::BitCast(F(), bounded), hn::BitCast(F(), magic)));
    const UVec sum = hn::Add(t, shifted(magic));
    const UVec code = hn::And(sum, hn::Set(U(), 0xffu));
    if constexpr (kWork == Work::tame) return hn::OrAnd(code, sign_place(x), sign_bit);
    return kWork == Work::plain ? finish_plain(code, x, magnitude) : finish(code, x, magnitude);
  }

 private:
  HWY_INLINE UVec shifted(UVec magic) const {
    if constexpr (kMantissa >= 0) return hn::ShiftRight<23 - kMantissa>(magic);
    return hn::ShiftRightSame(magic, shift);
  }
  HWY_INLINE UVec sign_place(UVec x) const {
    if constexpr (kMantissa == 2 || kMantissa == 3) return hn::ShiftRight<24>(x);
    return hn::ShiftRightSame(x, sign_shift);
  }
  HWY_INLINE UVec finish_plain(UVec code, UVec x, UVec magnitude) const {
    const auto is_nan = hn::Gt(hn::BitCast(I(), magnitude), hn::Set(I(), 0x7f800000));
    const UVec with_sign = hn::OrAnd(code, sign_place(x), sign_bit);
    return hn::IfThenElse(hn::RebindMask(U(), is_nan), nan, with_sign);
  }
  HWY_INLINE UVec finish(UVec code, UVec x, UVec magnitude) const {
    const auto signed_magnitude = hn::BitCast(I(), magnitude);
    const auto is_nan = hn::Gt(signed_magnitude, hn::Set(I(), 0x7f800000));
    const auto beyond = hn::Gt(signed_magnitude, hn::BitCast(I(), overflow_above));
    const UVec negative = hn::BitCast(U(), hn::BroadcastSignBit(hn::BitCast(I(), x)));
    code = hn::IfThenElse(hn::RebindMask(U(), beyond), overflow, code);
    UVec sign = hn::And(negative, sign_bit);
    if (!negative_zero) sign = hn::IfThenZeroElse(hn::Eq(code, hn::Zero(U())), sign);
    const UVec nans = hn::Or(hn::And(negative, negative_nan), hn::AndNot(negative, nan));
    return hn::IfThenElse(hn::RebindMask(U(), is_nan), nans, hn::Or(code, sign));
  }
};

template <class E>
HWY_INLINE hn::Vec<Bytes> encode_step(const E& encoder, const Packer& pack, FVec scale,
                                      const float* x) {
  const F d;
  return pack(encoder(hn::Mul(hn::LoadU(d, x), scale)),
              encoder(hn::Mul(hn::LoadU(d, x + lanes), scale)),
              encoder(hn::Mul(hn::LoadU(d, x + 2 * lanes), scale)),
              encoder(hn::Mul(hn::LoadU(d, x + 3 * lanes), scale)));
}

HWY_INLINE void prefetch_step(const float* x) {
  for (std::size_t i = 0; i < step; i += 16) hwy::Prefetch(x + prefetch_ahead + i);
}

template <class E>
HWY_INLINE void encode_tail(const E& encoder, const Packer& pack, FVec scale, const float* x,
                            std::size_t n, std::uint8_t* codes) {
  HWY_ALIGN float in[step] = {};
  HWY_ALIGN std::uint8_t out[step];
  std::memcpy(in, x, n * sizeof(float));
  hn::Store(encode_step(encoder, pack, scale, in), Bytes(), out);
  std::memcpy(codes, out, n);
}

template <class E, bool kStream>
HWY_INLINE void encode_tile(const E& encoder, const Packer& pack, float scale, const float* x,
                            std::size_t n, std::uint8_t* codes) {
  const FVec s = hn::Set(F(), scale);
  std::size_t i = 0;
  for (; i + step <= n; i += step) {
    if constexpr (kStream) prefetch_step(x + i);
    const auto bytes = encode_step(encoder, pack, s, x + i);
    if constexpr (kStream) hn::Stream(bytes, Bytes(), codes + i);
    else hn::StoreU(bytes, Bytes(), codes + i);
  }
  if (i < n) encode_tail(encoder, pack, s, x + i, n - i, codes + i);
}

/// Whether one vector of codes holds whole tiles, each of whole vectors of values.
HWY_INLINE bool tiles_share_step(std::size_t tile) { return tile < step && step % tile == 0 && tile % lanes == 0; }

/// Tiles that share a vector of codes, such as two blocks of MX of 32; returns how many elements are done.
template <class E, bool kStream>
HWY_INLINE std::size_t encode_short_tiles(const E& encoder, const Packer& pack, const float* x, std::size_t n,
                                          std::size_t tile, const float* scale, std::uint8_t* codes) {
  const F d;
  const std::size_t tile_of[] = {0, lanes / tile, 2 * lanes / tile, 3 * lanes / tile}, tiles = step / tile;
  std::size_t i = 0;
  for (; i + step <= n; i += step, scale += tiles) {
    if constexpr (kStream) prefetch_step(x + i);
    const auto code = [&](std::size_t k) HWY_ATTR {
      return encoder(hn::Mul(hn::LoadU(d, x + i + k * lanes), hn::Set(d, scale[tile_of[k]])));
    };
    const auto bytes = pack(code(0), code(1), code(2), code(3));
    if constexpr (kStream) hn::Stream(bytes, Bytes(), codes + i);
    else hn::StoreU(bytes, Bytes(), codes + i);
  }
  return i;
}

template <int kMantissa, Work kWork, bool kStream>
void cast_as(const CastPlan& plan, const float* x, std::size_t n, std::size_t tile,
             const float* scale, std::uint8_t* codes) {
  const Encoder<kMantissa, kWork> encoder(plan);
  const Packer pack;
  const std::size_t done =
      tiles_share_step(tile)
          ? encode_short_tiles<Encoder<kMantissa, kWork>, kStream>(encoder, pack, x, n, tile, scale, codes)
          : 0;
  for (std::size_t i = done, t = done / tile; i < n; i += tile, ++t)
    encode_tile<Encoder<kMantissa, kWork>, kStream>(encoder, pack, scale[t], x + i,
                                                     n - i < tile ? n - i : tile, codes + i);
}

template <int kMantissa, Work kWork>
void cast_to(const CastPlan& plan, const float* x, std::size_t n, std::size_t tile,
             const float* scale, std::uint8_t* codes, bool stream) {
  // A tile that is neither a multiple nor a part of the vector would leave the next one unaligned.
  if (stream && (tile % step == 0 || tile >= n || tiles_share_step(tile)))
    cast_as<kMantissa, kWork, true>(plan, x, n, tile, scale, codes);
  else
    cast_as<kMantissa, kWork, false>(plan, x, n, tile, scale, codes);
}

template <Work kWork>
void cast_plain(const CastPlan& plan, const float* x, std::size_t n, std::size_t tile,
                const float* scale, std::uint8_t* codes, bool stream) {
  if (plan.shift == 20 && plan.sign_shift == 24)
    return cast_to<3, kWork>(plan, x, n, tile, scale, codes, stream);
  if (plan.shift == 21 && plan.sign_shift == 24)
    return cast_to<2, kWork>(plan, x, n, tile, scale, codes, stream);
  cast_to<-1, kWork>(plan, x, n, tile, scale, codes, stream);
}

void cast(const CastPlan& plan, const float* x, std::size_t n, std::size_t tile,
          const float* scale, std::uint8_t* codes, bool stream, bool tame) {
  if (!plan.plain) return cast_to<-1, Work::all>(plan, x, n, tile, scale, codes, stream);
  if (tame) return cast_plain<Work::tame>(plan, x, n, tile, scale, codes, stream);
  cast_plain<Work::plain>(plan, x, n, tile, scale, codes, stream);
}

/// Magnitude patterns of one vector; NaNs as 0 where they are ignored.
template <AmaxRule kRule>
HWY_INLINE UVec magnitudes(const float* x) {
  const UVec magnitude = hn::And(hn::BitCast(U(), hn::LoadU(F(), x)), hn::Set(U(), 0x7fffffffu));
  if constexpr (kRule == AmaxRule::propagate_nan) return magnitude;
  const auto is_nan = hn::Gt(hn::BitCast(I(), magnitude), hn::Set(I(), 0x7f800000));
  return hn::IfThenZeroElse(hn::RebindMask(U(), is_nan), magnitude);
}

/// The largest magnitudes of n elements, lane by lane.
template <AmaxRule kRule>
HWY_INLINE UVec amax_lanes(const float* x, std::size_t n) {
  UVec a = hn::Zero(U()), b = a, c = a, d = a;
  std::size_t i = 0;
  for (; i + step <= n; i += step) {
    a = hn::Max(a, magnitudes<kRule>(x + i));
    b = hn::Max(b, magnitudes<kRule>(x + i + lanes));
    c = hn::Max(c, magnitudes<kRule>(x + i + 2 * lanes));
    d = hn::Max(d, magnitudes<kRule>(x + i + 3 * lanes));
  }
  for (; i + lanes <= n; i += lanes) a = hn::Max(a, magnitudes<kRule>(x + i));
  if (i < n) {
    HWY_ALIGN float in[step] = {};
    std::memcpy(in, x + i, (n - i) * sizeof(float));
    for (std::size_t j = 0; j < step; j += lanes) a = hn::Max(a, magnitudes<kRule>(in + j));
  }
  return hn::Max(hn::Max(a, b), hn::Max(c, d));
}

template <AmaxRule kRule>
HWY_INLINE std::uint32_t amax_bits(const float* x, std::size_t n) {
  return hn::GetLane(hn::MaxOfLanes(U(), amax_lanes<kRule>(x, n)));
}

/// The largest lane of each of four vectors, in the first four lanes: a quarter of four reductions.
template <class V>
HWY_INLINE V max_of_four(V a, V b, V c, V d) {
  const hn::DFromV<V> u;
  const hn::RepartitionToWide<decltype(u)> wide;
  const V ab = hn::Max(hn::InterleaveLower(u, a, b), hn::InterleaveUpper(u, a, b));
  const V cd = hn::Max(hn::InterleaveLower(u, c, d), hn::InterleaveUpper(u, c, d));
  const auto x = hn::BitCast(wide, ab), y = hn::BitCast(wide, cd);
  return hn::Max(hn::BitCast(u, hn::InterleaveLower(wide, x, y)), hn::BitCast(u, hn::InterleaveUpper(wide, x, y)));
}
using U4 = hn::FixedTag<std::uint32_t, 4>;
template <class V>
HWY_INLINE hn::Vec<U4> max_of_blocks(V v) {
  const hn::DFromV<V> u;
  if constexpr (hn::MaxLanes(u) > 4) {
    const hn::Half<decltype(u)> half;
    return max_of_blocks(hn::Max(hn::LowerHalf(half, v), hn::UpperHalf(half, v)));
  } else {
    return v;
  }
}

/// The largest magnitude patterns of four neighbours among the tiles.
template <class AmaxLanes>
HWY_INLINE hn::Vec<U4> amax_of_four(const float* x, std::size_t tile, const AmaxLanes& of) {
  return max_of_blocks(max_of_four(of(x), of(x + tile), of(x + 2 * tile), of(x + 3 * tile)));
}
HWY_INLINE bool any_nan(hn::Vec<U4> magnitudes) {
  const hn::RebindToSigned<U4> i;
  return !hn::AllFalse(i, hn::Gt(hn::BitCast(i, magnitudes), hn::Set(i, 0x7f800000)));
}

/// amax of all tiles that make fours, each of kVectors vectors, unless there is a NaN; returns how many.
template <std::size_t kVectors>
HWY_INLINE std::size_t amax_of_short_tiles(const float* x, std::size_t n, float* amax) {
  constexpr std::size_t tile = kVectors * lanes;
  const auto lanes_of = [](const float* from) HWY_ATTR {
    UVec most = magnitudes<AmaxRule::propagate_nan>(from);
    for (std::size_t k = 1; k < kVectors; ++k) most = hn::Max(most, magnitudes<AmaxRule::propagate_nan>(from + k * lanes));
    return most;
  };
  const hn::RebindToFloat<U4> f;
  hn::Vec<U4> most = hn::Zero(U4());
  std::size_t t = 0;
  for (; (t + 4) * tile <= n; t += 4) {
    const auto four = amax_of_four(x + t * tile, tile, lanes_of);
    most = hn::Max(most, four);
    hn::StoreU(hn::BitCast(f, four), f, amax + t);
  }
  return any_nan(most) ? 0 : t;
}

/// amax of as many tiles as make fours without a NaN from the first on; returns how many.
HWY_INLINE std::size_t amax_by_fours(const float* x, std::size_t n, std::size_t tile, float* amax) {
  if (tile % lanes != 0) return 0;
  if (tile == lanes) return amax_of_short_tiles<1>(x, n, amax);
  if (tile == 2 * lanes) return amax_of_short_tiles<2>(x, n, amax);
  if (tile == 4 * lanes) return amax_of_short_tiles<4>(x, n, amax);
  const hn::RebindToFloat<U4> f;
  std::size_t t = 0;
  for (; (t + 4) * tile <= n; t += 4) {
    const auto four = amax_of_four(x + t * tile, tile, [tile](const float* from) HWY_ATTR {
      return amax_lanes<AmaxRule::propagate_nan>(from, tile);
    });
    if (any_nan(four)) break;
    hn::StoreU(hn::BitCast(f, four), f, amax + t);
  }
  return t;
}

bool amax(const float* x, std::size_t n, std::size_t tile, AmaxRule rule, float* amax) {
  bool any_nan = false;
  std::size_t t = amax_by_fours(x, n, tile, amax);
  for (std::size_t i = t * tile; i < n; i += tile, ++t) {
    const std::size_t count = n - i < tile ? n - i : tile;
    std::uint32_t bits = amax_bits<AmaxRule::propagate_nan>(x + i, count);
    if (bits > 0x7f800000u) {  // NaNs are rare: only a tile that holds one is read again without them
      any_nan = true;
      bits = rule == AmaxRule::propagate_nan ? 0x7fc00000u
                                             : amax_bits<AmaxRule::ignore_nan>(x + i, count);
    }
    std::memcpy(amax + t, &bits, sizeof bits);
  }
  return any_nan;
}

std::uint32_t largest_product(const float* a, const float* b, std::size_t n) {
  const F f;
  const UVec magnitude = hn::Set(U(), 0x7fffffffu);
  UVec most = hn::Zero(U());
  std::size_t i = 0;
  for (; i + lanes <= n; i += lanes)
    most = hn::Max(most, hn::And(hn::BitCast(U(), hn::Mul(hn::LoadU(f, a + i), hn::LoadU(f, b + i))), magnitude));
  if (i < n) {
    HWY_ALIGN float x[lanes] = {}, y[lanes] = {};
    std::memcpy(x, a + i, (n - i) * sizeof(float));
    std::memcpy(y, b + i, (n - i) * sizeof(float));
    most = hn::Max(most, hn::And(hn::BitCast(U(), hn::Mul(hn::Load(f, x), hn::Load(f, y))), magnitude));
  }
  return hn::GetLane(hn::MaxOfLanes(U(), most));
}

/// Values by loads from the table: a gather costs as much per lane.
void decode(const float* table, const std::uint8_t* codes, std::size_t n, float* out) {
  HWY_ALIGN float block[lanes];
  std::size_t i = 0;
  for (; i + lanes <= n; i += lanes) {
    for (std::size_t j = 0; j < lanes; ++j) block[j] = table[codes[i + j]];
    hn::StoreU(hn::Load(F(), block), F(), out + i);
  }
  for (; i < n; ++i) out[i] = table[codes[i]];
}

template <bool kPrefetch>
HWY_INLINE void read4_write1_as(const float* x, std::size_t n, std::uint8_t* codes) {
  const Packer pack;
  const U d;
  const UVec low = hn::Set(d, 0xffu);
  const auto* words = reinterpret_cast<const std::uint32_t*>(x);
  std::size_t i = 0;
  for (; i + step <= n; i += step) {
    if constexpr (kPrefetch) prefetch_step(x + i);
    const std::uint32_t* w = words + i;
    hn::Stream(pack(hn::And(hn::LoadU(d, w), low), hn::And(hn::LoadU(d, w + lanes), low),
                    hn::And(hn::LoadU(d, w + 2 * lanes), low),
                    hn::And(hn::LoadU(d, w + 3 * lanes), low)),
               Bytes(), codes + i);
  }
  for (; i < n; ++i) codes[i] = static_cast<std::uint8_t>(words[i]);
  hwy::FlushStream();
}

void read4_write1(const float* x, std::size_t n, std::uint8_t* codes, bool prefetch) {
  if (prefetch) read4_write1_as<true>(x, n, codes);
  else read4_write1_as<false>(x, n, codes);
}

void flush() { hwy::FlushStream(); }

extern const Kernels kernels;
const Kernels kernels{cast, flush, amax, largest_product, decode, read4_write1};

}  // namespace fp8scope::simd::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
