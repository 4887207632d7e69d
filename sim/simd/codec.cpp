#include "sim/simd/codec.hpp"

#include <algorithm>
#include <cstring>
#include <vector>

#include "sim/bits.hpp"
#include "sim/require.hpp"
#include "sim/simd/isa.hpp"
#include "sim/stable_math.hpp"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "sim/simd/codec.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace fp8scope {
namespace HWY_NAMESPACE {

#if HWY_TARGET == HWY_SCALAR

void CodecValuesTarget(Codec codec, const float* x, float* y, std::size_t n) { codec_values_scalar(codec, {x, n}, {y, n}); }

#else

namespace hn = hwy::HWY_NAMESPACE;

using D = hn::ScalableTag<double>;
using F = hn::Rebind<float, D>;
using W = hn::RebindToUnsigned<D>;
using V = hn::RebindToUnsigned<F>;
using VD = hn::Vec<D>;
using VF = hn::Vec<F>;
using MF = hn::Mask<F>;

/// stable_log2() of positive normal numbers: the same operations, the same bits.
HWY_INLINE VD log2_of(VD x) {
  const D d;
  const W w;
  const auto word = hn::BitCast(w, x);
  const auto one = hn::Set(w, 0x3ff0000000000000ULL);
  VD m = hn::BitCast(d, hn::Or(hn::And(word, hn::Set(w, 0xfffffffffffffULL)), one));
  // The exponent field as the low bits of 2^52.
  const auto field = hn::Or(hn::ShiftRight<52>(word), hn::Set(w, 0x4330000000000000ULL));
  VD exponent = hn::Sub(hn::BitCast(d, field), hn::Set(d, 0x1p52 + 1023.0));
  const auto big = hn::Gt(m, hn::Set(d, 1.4142135623730951));
  m = hn::IfThenElse(big, hn::Mul(m, hn::Set(d, 0.5)), m);
  exponent = hn::Add(exponent, hn::IfThenElseZero(big, hn::Set(d, 1.0)));
  const VD f = hn::Div(hn::Sub(m, hn::Set(d, 1.0)), hn::Add(m, hn::Set(d, 1.0)));
  const VD square = hn::Mul(f, f);
  VD sum = hn::Set(d, 1.0 / 25);
  for (int k = 23; k >= 1; k -= 2) sum = hn::Add(hn::Mul(sum, square), hn::Set(d, 1.0 / k));
  return hn::Add(exponent, hn::Mul(hn::Mul(hn::Mul(hn::Set(d, 2.0), f), sum), hn::Set(d, 1.4426950408889634)));
}

/// 2^x for |x| < 900 within 2^-49 of itself, by multiplications only: stable_exp2() divides sixteen times.
HWY_INLINE VD about_exp2(VD x) {
  const D d;
  const W w;
  const VD whole = hn::Round(x);
  const VD t = hn::Mul(hn::Sub(x, whole), hn::Set(d, 0.6931471805599453));
  constexpr double inverse_factorial[] = {1.0 / 6227020800.0, 1.0 / 479001600.0, 1.0 / 39916800.0, 1.0 / 3628800.0,
                                          1.0 / 362880.0,     1.0 / 40320.0,     1.0 / 5040.0,     1.0 / 720.0,
                                          1.0 / 120.0,        1.0 / 24.0,        1.0 / 6.0,        0.5, 1.0, 1.0};
  VD sum = hn::Set(d, inverse_factorial[0]);
  for (int k = 1; k < 14; ++k) sum = hn::MulAdd(sum, t, hn::Set(d, inverse_factorial[k]));
  const auto exponent = hn::BitCast(w, hn::Add(whole, hn::Set(d, 0x1p52 + 1023.0)));
  return hn::Mul(sum, hn::BitCast(d, hn::ShiftLeft<52>(exponent)));
}

/// A vector of results, and where they may not be those of the plain code.
struct Values {
  VF value;
  MF doubtful;
};

/// v rounded to binary32. Two numbers within 2^-47 of v that round alike leave no doubt.
HWY_INLINE Values rounded(VD v) {
  const D d;
  const F f;
  const VF low = hn::DemoteTo(f, hn::Mul(v, hn::Set(d, 1.0 - 0x1p-46)));
  const VF high = hn::DemoteTo(f, hn::Mul(v, hn::Set(d, 1.0 + 0x1p-46)));
  return {low, hn::Not(hn::Eq(low, high))};
}

HWY_INLINE MF narrow(hn::Mask<D> mask) {
  const D d;
  return hn::Ne(hn::DemoteTo(F(), hn::IfThenElseZero(mask, hn::Set(d, 1.0))), hn::Zero(F()));
}

/// Magnitudes, and which elements a codec changes: those that are finite and not zero.
struct Elements {
  VF x;
  VD magnitude;  ///< 1 where nothing is changed
  MF counts;
};

HWY_INLINE Elements load(const float* x) {
  const F f;
  const VF v = hn::LoadU(f, x), magnitude = hn::Abs(v);
  const MF counts = hn::And(hn::Gt(magnitude, hn::Zero(f)), hn::Lt(magnitude, hn::Set(f, bits_float(inf_bits))));
  return {v, hn::PromoteTo(D(), hn::IfThenElse(counts, magnitude, hn::Set(f, 1.0f))), counts};
}

/// A tile of LogFMT. The nearer neighbour in linear space is the upper one where the place between them is
/// above log2((1 + 2^step) / 2) / step; near that the plain code decides.
struct LogFmt {
  double low, step, steps, middle, doubt;

  LogFmt(Codec codec, const CodecTile& tile)
      : low(tile.low), step(tile.step), steps((1 << (codec_row(codec).bits - 1)) - 2),
        middle(stable_log2((1.0 + stable_exp2(step)) / 2.0) / step), doubt(0x1p-40 / step + 0x1p-40) {}
  bool knows() const { return step > 0.0 && doubt < 0.1; }

  HWY_INLINE Values operator()(VD magnitude) const {
    const D d;
    const VD raw = hn::Div(hn::Sub(log2_of(magnitude), hn::Set(d, low)), hn::Set(d, step));
    const VD place = hn::Min(hn::Max(raw, hn::Zero(d)), hn::Set(d, steps));
    const VD below = hn::Floor(place), between = hn::Sub(hn::Sub(place, below), hn::Set(d, middle));
    const VD code = hn::Add(below, hn::IfThenElseZero(hn::Gt(between, hn::Zero(d)), hn::Set(d, 1.0)));
    Values out = rounded(about_exp2(hn::Add(hn::Set(d, low), hn::Mul(code, hn::Set(d, step)))));
    out.doubtful = hn::Or(out.doubtful, narrow(hn::Le(hn::Abs(between), hn::Set(d, doubt))));
    return out;
  }
};

/// A tile of COAT's optimizer states.
struct Expand {
  double scale, power, inverse_power, center;

  explicit Expand(const CodecTile& tile)
      : scale(tile.scale), power(tile.power), inverse_power(1.0 / tile.power), center(tile.center) {}
  bool knows() const { return true; }

  /// Nearest E4M3 number to a magnitude, saturating: as bits where it is normal, by an addition below.
  static HWY_INLINE VF to_e4m3(VF v) {
    const F f;
    const V u;
    const VF inside = hn::Min(v, hn::Set(f, 448.0f));
    const auto bits = hn::BitCast(u, inside);
    const auto odd = hn::And(hn::ShiftRight<20>(bits), hn::Set(u, 1u));
    const auto up = hn::Add(hn::Add(bits, hn::Set(u, 0x7ffffu)), odd);
    const VF normal = hn::BitCast(f, hn::And(up, hn::Set(u, 0xfff00000u)));
    const VF magic = hn::Set(f, 0x1.8p14f);  // units of 2^-9 in the last place
    const VF small = hn::Sub(hn::Add(inside, magic), magic);
    return hn::IfThenElse(hn::Lt(inside, hn::Set(f, 0x1p-6f)), small, normal);
  }

  HWY_INLINE Values operator()(VD magnitude) const {
    const D d;
    const F f;
    const VD first = hn::Mul(hn::Set(d, power), log2_of(hn::Div(magnitude, hn::Set(d, center))));
    const Values wanted = rounded(hn::Div(about_exp2(first), hn::Set(d, scale)));
    const VF q = to_e4m3(wanted.value);
    const MF zero = hn::Eq(q, hn::Zero(f));
    const VD product = hn::Mul(hn::PromoteTo(d, hn::IfThenElse(zero, hn::Set(f, 1.0f), q)), hn::Set(d, scale));
    const VD second = hn::Mul(hn::Set(d, inverse_power), log2_of(product));
    const Values value = rounded(hn::Mul(about_exp2(second), hn::Set(d, center)));
    const VD limit = hn::Set(d, 900.0);
    const auto inside = hn::And(hn::Lt(hn::Abs(first), limit), hn::Lt(hn::Abs(second), limit));
    return {hn::IfThenZeroElse(zero, value.value),
            hn::Or(hn::Or(wanted.doubtful, hn::AndNot(zero, value.doubtful)), hn::Not(narrow(inside)))};
  }
};

template <class Tile>
HWY_INLINE void run(Codec codec, const CodecTile& numbers, const Tile& tile, const float* x, float* y, std::size_t n) {
  const F f;
  const std::size_t lanes = hn::Lanes(f);
  const auto one = [&](const float* from, float* to) HWY_ATTR {
    const Elements e = load(from);
    const Values v = tile(e.magnitude);
    // Two signs of zero: what counts gets that of x, the rest stays.
    const VF value = hn::IfThenElse(e.counts, hn::CopySign(v.value, e.x), e.x);
    const MF doubtful = hn::And(v.doubtful, e.counts);
    if (!hn::AllFalse(f, doubtful)) {
      HWY_ALIGN float before[hn::MaxLanes(D())];
      hn::Store(e.x, f, before);
      for (std::size_t i = 0; i < lanes; ++i) before[i] = codec_value(codec, numbers, before[i]);
      hn::StoreU(hn::Load(f, before), f, to);
      return;
    }
    hn::StoreU(value, f, to);
  };
  std::size_t i = 0;
  for (; i + lanes <= n; i += lanes) one(x + i, y + i);
  if (i == n) return;
  HWY_ALIGN float end[hn::MaxLanes(D())] = {};
  std::memcpy(end, x + i, (n - i) * sizeof(float));
  one(end, end);
  std::memcpy(y + i, end, (n - i) * sizeof(float));
}

CodecRange range_of(const float* x, std::size_t n) {
  const hn::ScalableTag<float> f;
  const std::size_t lanes = hn::Lanes(f);
  const auto infinity = hn::Set(f, bits_float(inf_bits)), zero = hn::Zero(f);
  auto low = infinity, high = zero;
  const auto take = [&](const float* at) HWY_ATTR {
    const auto magnitude = hn::Abs(hn::LoadU(f, at));
    const auto counts = hn::And(hn::Gt(magnitude, zero), hn::Lt(magnitude, infinity));
    low = hn::Min(low, hn::IfThenElse(counts, magnitude, infinity));
    high = hn::Max(high, hn::IfThenElseZero(counts, magnitude));
  };
  std::size_t i = 0;
  for (; i + lanes <= n; i += lanes) take(x + i);
  if (i < n) {
    float end[hn::MaxLanes(hn::ScalableTag<float>())] = {};
    std::memcpy(end, x + i, (n - i) * sizeof(float));
    take(end);
  }
  const float smallest = hn::GetLane(hn::MinOfLanes(f, low));
  return {is_finite(smallest) ? smallest : 0.0f, hn::GetLane(hn::MaxOfLanes(f, high))};
}

void CodecValuesTarget(Codec codec, const float* x, float* y, std::size_t n) {
  const CodecRange range = range_of(x, n);
  const CodecTile tile = codec_tile(codec, range.smallest, range.largest);
  const auto plain = [&] {
    for (std::size_t i = 0; i < n; ++i) y[i] = codec_value(codec, tile, x[i]);
  };
  if (codec == Codec::coat_expand) return run(codec, tile, Expand(tile), x, y, n);
  const LogFmt logfmt(codec, tile);
  if (!logfmt.knows()) return plain();
  run(codec, tile, logfmt, x, y, n);
}

#endif

}  // namespace HWY_NAMESPACE
}  // namespace fp8scope
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace fp8scope {

HWY_EXPORT(CodecValuesTarget);

void codec_values(Codec codec, std::span<const float> x, std::span<float> y) {
  require(y.size() >= x.size(), "codec_values: fewer places than elements");
  if (isa() == Isa::scalar) return codec_values_scalar(codec, x, y);
  HWY_DYNAMIC_DISPATCH(CodecValuesTarget)(codec, x.data(), y.data(), x.size());
}

void codec_matrix(Codec codec, const BlockGrid& grid, std::span<const float> x, std::span<float> y) {
  std::vector<float> tile;
  for (std::int64_t top = 0; top < grid.rows; top += grid.block_rows)
    for (std::int64_t left = 0; left < grid.cols; left += grid.block_cols) {
      const std::int64_t bottom = std::min(top + grid.block_rows, grid.rows);
      const auto width = static_cast<std::size_t>(std::min(grid.block_cols, grid.cols - left));
      const auto row = [&](auto of, std::int64_t r) { return of.subspan(static_cast<std::size_t>(grid.element(r, left)), width); };
      if (bottom == top + 1) {  // in place
        codec_values(codec, row(x, top), row(y, top));
        continue;
      }
      tile.clear();
      for (std::int64_t r = top; r < bottom; ++r) tile.insert(tile.end(), row(x, r).begin(), row(x, r).end());
      codec_values(codec, tile, tile);
      for (std::int64_t r = top; r < bottom; ++r)
        std::copy_n(tile.begin() + (r - top) * static_cast<std::int64_t>(width), width, row(y, r).begin());
    }
}

}  // namespace fp8scope
#endif
