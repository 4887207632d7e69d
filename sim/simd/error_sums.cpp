#include "sim/simd/error_sums.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "sim/bits.hpp"
#include "sim/simd/isa.hpp"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "sim/simd/error_sums.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace fp8scope {
namespace HWY_NAMESPACE {

#if HWY_TARGET == HWY_SCALAR

// The baseline of some compilers has one lane; the plain code is better at that.
ErrorSums ErrorSumsTarget(const CastLimits& limits, const CastRow& row) {
  return error_sums_scalar(limits, row);
}
MomentSums MomentSumsTarget(const float* x, std::size_t n) { return moment_sums_scalar({x, n}); }
double BulkPowerTarget(const float* x, std::size_t n, float bulk) {
  return bulk_power_scalar({x, n}, bulk);
}

#else

namespace hn = hwy::HWY_NAMESPACE;

using F = hn::CappedTag<float, sum_lanes>;
using U = hn::RebindToUnsigned<F>;
using D = hn::Repartition<double, F>;
using H = hn::Half<F>;
using VF = hn::Vec<F>;
using VD = hn::Vec<D>;
constexpr std::size_t width = hn::MaxLanes(F());
constexpr std::size_t groups = sum_lanes / width;  // vectors that make up the 16 lanes

/// A sum in 16 lanes: two vectors of doubles for each vector of floats.
struct LaneSum {
  VD part[2 * groups];
  HWY_INLINE LaneSum() {
    for (VD& p : part) p = hn::Zero(D());
  }
  HWY_INLINE double total() const {
    std::array<double, sum_lanes> lanes;
    for (std::size_t k = 0; k < 2 * groups; ++k) hn::StoreU(part[k], D(), &lanes[k * width / 2]);
    return add_lanes(lanes);
  }
};

struct Pair {
  VD low, high;
};

HWY_INLINE Pair widen(VF v) {
  return {hn::PromoteTo(D(), hn::LowerHalf(H(), v)), hn::PromoteTo(D(), hn::UpperHalf(H(), v))};
}

/// Up to 16 elements, zero filled, so that the end of a row needs no code of its own.
struct Padded {
  HWY_ALIGN float x[sum_lanes] = {}, scale[sum_lanes], scale_inv[sum_lanes], value[sum_lanes] = {};
  Padded(const CastRow& row, std::size_t first, bool with_value) {
    std::fill(scale, scale + sum_lanes, 1.0f);
    std::fill(scale_inv, scale_inv + sum_lanes, 1.0f);
    const std::size_t bytes = (row.n - first) * sizeof(float);
    std::memcpy(x, row.x + first, bytes);
    std::memcpy(scale, row.scale + first, bytes);
    std::memcpy(scale_inv, row.scale_inv + first, bytes);
    if (with_value) std::memcpy(value, row.value + first, bytes);
  }
};

/// Sums of the few elements in the top 0.1 % or beyond MAX, in element order. Apart from RowSums, so
/// that its address escaping does not keep the other sums out of registers.
struct RareSums {
  double noise_top = 0.0, clipped_loss = 0.0;

  template <class M>
  HWY_NOINLINE void add(VF magnitude, VF e, VF y, M top, M clipped) {
    const F f;
    HWY_ALIGN float magnitudes[width], errors[width], values[width], tops[width], clips[width];
    const VF one = hn::Set(f, 1.0f);
    hn::Store(magnitude, f, magnitudes);
    hn::Store(e, f, errors);
    hn::Store(hn::Abs(y), f, values);
    hn::Store(hn::IfThenElseZero(top, one), f, tops);
    hn::Store(hn::IfThenElseZero(clipped, one), f, clips);
    for (std::size_t i = 0; i < width; ++i) {
      if (tops[i] != 0.0f) noise_top += static_cast<double>(errors[i]) * errors[i];
      if (clips[i] != 0.0f) clipped_loss += static_cast<double>(magnitudes[i]) - values[i];
    }
  }
};

/// kRounding is Rounding of the limits where kByMagic, else without meaning.
template <bool kByMagic, bool kDivide, Rounding kRounding>
class RowSums {
 public:
  HWY_INLINE RowSums(const CastLimits& limits, RareSums& rare)
      : rare_(&rare), max_(hn::Set(F(), limits.max)), clip_(hn::Set(F(), limits.clip)),
        min_normal_(hn::Set(F(), limits.min_normal)), bulk_(hn::Set(F(), limits.bulk)),
        magic_(hn::Set(U(), limits.magic)), infinity_(hn::Set(F(), bits_float(inf_bits))),
        max_abs_(hn::Zero(F())), max_rel_(hn::Zero(F())) {}

  HWY_INLINE void add16(const float* x, const float* scale, const float* scale_inv,
                        const float* value) {
    for (std::size_t k = 0; k < groups; ++k) {
      const std::size_t at = k * width;
      add(k, hn::LoadU(F(), x + at), hn::LoadU(F(), scale + at), hn::LoadU(F(), scale_inv + at),
          kByMagic ? hn::Zero(F()) : hn::LoadU(F(), value + at));
    }
  }

  HWY_INLINE ErrorSums finish() {
    sums_.noise_bulk = noise_.total();
    sums_.error = error_.total();
    sums_.cross = cross_.total();
    sums_.max_abs = hn::GetLane(hn::MaxOfLanes(F(), max_abs_));
    sums_.max_rel = hn::GetLane(hn::MaxOfLanes(F(), max_rel_));
    return sums_;
  }

 private:
  HWY_INLINE void add(std::size_t k, VF loaded, VF scale, VF scale_inv, VF given) {
    const F f;
    const auto x_finite = hn::Lt(hn::Abs(loaded), infinity_);
    const VF x = hn::IfThenElseZero(x_finite, loaded);
    const VF magnitude = hn::Abs(x);
    const VF v = kDivide ? hn::Div(x, scale) : hn::Mul(x, scale);
    const VF value = kByMagic ? by_magic(v) : given;
    const VF y = hn::Mul(value, scale_inv);
    const auto y_finite = hn::And(hn::Eq(v, v), hn::Lt(hn::Abs(y), infinity_));
    const auto ok = hn::And(x_finite, y_finite);

    const VF e = hn::IfThenElseZero(ok, hn::Sub(x, y));
    const VF abs_e = hn::Abs(e);
    const auto zero = hn::Eq(magnitude, hn::Zero(f));
    const auto top = hn::And(ok, hn::Gt(magnitude, bulk_));
    const auto clipped = hn::And(ok, hn::Gt(hn::Abs(v), clip_));
    if (HWY_UNLIKELY(!hn::AllFalse(f, hn::Or(top, clipped))))
      rare_->add(magnitude, e, y, top, clipped);
    max_abs_ = hn::Max(max_abs_, abs_e);
    max_rel_ = hn::Max(max_rel_, hn::Div(abs_e, hn::IfThenElse(zero, hn::Set(f, 1.0f), magnitude)));

    const Pair wide = widen(e), wide_x = widen(x);
    const Pair bulk = widen(hn::IfThenZeroElse(top, e));
    // The products of two binary32 numbers are exact, so a fused add rounds as a separate one.
    noise_.part[2 * k] = hn::MulAdd(bulk.low, bulk.low, noise_.part[2 * k]);
    noise_.part[2 * k + 1] = hn::MulAdd(bulk.high, bulk.high, noise_.part[2 * k + 1]);
    error_.part[2 * k] = hn::Add(error_.part[2 * k], wide.low);
    error_.part[2 * k + 1] = hn::Add(error_.part[2 * k + 1], wide.high);
    cross_.part[2 * k] = hn::MulAdd(wide_x.low, wide.low, cross_.part[2 * k]);
    cross_.part[2 * k + 1] = hn::MulAdd(wide_x.high, wide.high, cross_.part[2 * k + 1]);

    const VF abs_value = hn::Abs(value);
    const auto flushed = hn::Eq(abs_value, hn::Zero(f));
    count(sums_.underflow, hn::AndNot(zero, hn::And(ok, flushed)));
    count(sums_.overflow, hn::And(ok, hn::Gt(magnitude, hn::Mul(max_, scale_inv))));
    count(sums_.clipped, clipped);
    count(sums_.subnormal, hn::AndNot(flushed, hn::And(ok, hn::Lt(abs_value, min_normal_))));
    count(sums_.lost, hn::AndNot(y_finite, x_finite));
  }

  /// See value_by_magic() of the scalar code.
  HWY_INLINE VF by_magic(VF v) const {
    const F f;
    const VF magnitude = hn::Abs(v);
    const VF clamped = hn::IfThenElse(hn::Lt(magnitude, max_), magnitude, max_);
    const VF power = hn::And(clamped, infinity_);
    const VF exponent = hn::Max(power, min_normal_);
    const VF magic = hn::BitCast(f, hn::Add(hn::BitCast(U(), exponent), magic_));
    VF value = hn::Sub(hn::Add(clamped, magic), magic);
    if constexpr (kRounding != Rounding::nearest_even) {
      const auto back = hn::Set(U(), 23u << 23);
      const VF place = hn::BitCast(f, hn::Sub(hn::Add(hn::BitCast(U(), exponent), magic_), back));
      const VF half = hn::Mul(place, hn::Set(f, 0.5f)), up = hn::Sub(value, clamped);
      if constexpr (kRounding == Rounding::toward_zero)
        value = hn::Sub(value, hn::IfThenElseZero(hn::Gt(up, hn::Zero(f)), place));
      if constexpr (kRounding == Rounding::nearest_away)
        value = hn::Add(value, hn::IfThenElseZero(hn::Eq(up, hn::Neg(half)), place));
      if constexpr (kRounding == Rounding::nearest_zero)
        value = hn::Sub(value, hn::IfThenElseZero(hn::Eq(up, half), place));
    }
    return hn::CopySignToAbs(value, v);
  }

  template <class M>
  static HWY_INLINE void count(std::uint64_t& counter, M mask) {
    counter += hn::CountTrue(F(), mask);
  }

  RareSums* rare_;
  VF max_, clip_, min_normal_, bulk_;
  hn::Vec<U> magic_;
  VF infinity_, max_abs_, max_rel_;
  LaneSum noise_, error_, cross_;
  ErrorSums sums_;
};

template <bool kByMagic, bool kDivide, Rounding kRounding>
HWY_INLINE ErrorSums sum_row(const CastLimits& limits, const CastRow& row) {
  RareSums rare;
  RowSums<kByMagic, kDivide, kRounding> sums(limits, rare);
  std::size_t i = 0;
  for (; i + sum_lanes <= row.n; i += sum_lanes)
    sums.add16(row.x + i, row.scale + i, row.scale_inv + i, kByMagic ? nullptr : row.value + i);
  if (i < row.n) {
    const Padded end(row, i, !kByMagic);
    sums.add16(end.x, end.scale, end.scale_inv, end.value);
  }
  ErrorSums result = sums.finish();
  result.noise_top = rare.noise_top;
  result.clipped_loss = rare.clipped_loss;
  return result;
}

template <bool kDivide>
HWY_INLINE ErrorSums sum_row_by(const CastLimits& limits, const CastRow& row) {
  if (!limits.by_magic) return sum_row<false, kDivide, Rounding::nearest_even>(limits, row);
  switch (limits.rounding) {
    case Rounding::nearest_away: return sum_row<true, kDivide, Rounding::nearest_away>(limits, row);
    case Rounding::nearest_zero: return sum_row<true, kDivide, Rounding::nearest_zero>(limits, row);
    case Rounding::toward_zero: return sum_row<true, kDivide, Rounding::toward_zero>(limits, row);
    default: return sum_row<true, kDivide, Rounding::nearest_even>(limits, row);
  }
}

ErrorSums ErrorSumsTarget(const CastLimits& limits, const CastRow& row) {
  return limits.divide ? sum_row_by<true>(limits, row) : sum_row_by<false>(limits, row);
}

struct Moments {
  LaneSum absolute, power1, power2, power3, power4;
  std::uint64_t finite = 0, nonzero = 0, nans = 0;
  VF smallest = hn::Set(F(), bits_float(inf_bits));

  HWY_INLINE Moments() {}  // an implicit one would not be compiled for the target
  HWY_INLINE void add16(const float* x) {
    const F f;
    const VF infinity = hn::Set(f, bits_float(inf_bits));
    for (std::size_t k = 0; k < groups; ++k) {
      const VF loaded = hn::LoadU(f, x + k * width);
      const auto is_finite = hn::Lt(hn::Abs(loaded), infinity);
      const VF v = hn::IfThenElseZero(is_finite, loaded);
      finite += hn::CountTrue(f, is_finite);
      nans += hn::CountTrue(f, hn::IsNaN(loaded));  // Ne() of NaNs differs between targets
      const auto is_something = hn::Ne(v, hn::Zero(f));
      nonzero += hn::CountTrue(f, is_something);
      smallest = hn::Min(smallest, hn::IfThenElse(is_something, hn::Abs(v), infinity));
      const Pair wide = widen(v);
      add(2 * k, wide.low);
      add(2 * k + 1, wide.high);
    }
  }

 private:
  HWY_INLINE void add(std::size_t p, VD v) {
    const VD square = hn::Mul(v, v);
    absolute.part[p] = hn::Add(absolute.part[p], hn::Abs(v));
    power1.part[p] = hn::Add(power1.part[p], v);
    power2.part[p] = hn::Add(power2.part[p], square);
    // Not MulAdd: these products are rounded, and not every target can fuse.
    power3.part[p] = hn::Add(power3.part[p], hn::Mul(square, v));
    power4.part[p] = hn::Add(power4.part[p], hn::Mul(square, square));
  }
};

MomentSums MomentSumsTarget(const float* x, std::size_t n) {
  Moments m;
  std::size_t i = 0;
  for (; i + sum_lanes <= n; i += sum_lanes) m.add16(x + i);
  std::uint64_t padding = 0;
  if (i < n) {
    float end[sum_lanes] = {};
    std::memcpy(end, x + i, (n - i) * sizeof(float));
    m.add16(end);
    padding = sum_lanes - (n - i);
  }
  MomentSums sums;
  sums.absolute = m.absolute.total();
  sums.power1 = m.power1.total();
  sums.power2 = m.power2.total();
  sums.power3 = m.power3.total();
  sums.power4 = m.power4.total();
  sums.finite = m.finite - padding;
  sums.zeros = sums.finite - m.nonzero;
  sums.nans = m.nans;
  sums.infs = n - sums.finite - sums.nans;
  sums.smallest = float_bits(hn::GetLane(hn::MinOfLanes(F(), m.smallest)));
  return sums;
}

double BulkPowerTarget(const float* x, std::size_t n, float bulk) {
  const F f;
  const VF limit = hn::Set(f, bulk);
  LaneSum power;
  const auto add16 = [&](const float* at) HWY_ATTR {
    for (std::size_t k = 0; k < groups; ++k) {
      const VF v = hn::LoadU(f, at + k * width);
      const Pair wide = widen(hn::IfThenElseZero(hn::Le(hn::Abs(v), limit), v));
      power.part[2 * k] = hn::MulAdd(wide.low, wide.low, power.part[2 * k]);
      power.part[2 * k + 1] = hn::MulAdd(wide.high, wide.high, power.part[2 * k + 1]);
    }
  };
  std::size_t i = 0;
  for (; i + sum_lanes <= n; i += sum_lanes) add16(x + i);
  if (i < n) {
    float end[sum_lanes] = {};
    std::memcpy(end, x + i, (n - i) * sizeof(float));
    add16(end);
  }
  return power.total();
}

#endif

}  // namespace HWY_NAMESPACE
}  // namespace fp8scope
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace fp8scope {

HWY_EXPORT(ErrorSumsTarget);
HWY_EXPORT(MomentSumsTarget);
HWY_EXPORT(BulkPowerTarget);

ErrorSums error_sums(const CastLimits& limits, const CastRow& row) {
  if (isa() == Isa::scalar) return error_sums_scalar(limits, row);
  return HWY_DYNAMIC_DISPATCH(ErrorSumsTarget)(limits, row);
}

MomentSums moment_sums(std::span<const float> x) {
  if (isa() == Isa::scalar) return moment_sums_scalar(x);
  return HWY_DYNAMIC_DISPATCH(MomentSumsTarget)(x.data(), x.size());
}

double bulk_power(std::span<const float> x, float bulk) {
  if (isa() == Isa::scalar) return bulk_power_scalar(x, bulk);
  return HWY_DYNAMIC_DISPATCH(BulkPowerTarget)(x.data(), x.size(), bulk);
}

}  // namespace fp8scope
#endif
