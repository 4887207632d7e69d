// RowMath for every set of instructions: Highway compiles the first part once for each.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "sim/simd/row_math.cpp"
#define HWY_DISABLED_TARGETS HWY_SSSE3
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include <cmath>
#include <cstdint>

#include "sim/convert.hpp"
#include "sim/simd/isa.hpp"
#include "sim/simd/row_math.hpp"

#if HWY_TARGET == HWY_SSE4 || HWY_TARGET == HWY_AVX2 || HWY_TARGET == HWY_AVX3
HWY_BEFORE_NAMESPACE();
namespace fp8scope::simd::HWY_NAMESPACE::row {
namespace hn = hwy::HWY_NAMESPACE;
#include "sim/simd/lanes-inl.hpp"
HWY_INLINE Lanes root(Lanes x) {
  for (std::size_t i = 0; i < Lanes::parts; ++i) x.v[i] = hn::Sqrt(x.v[i]);
  return x;
}
HWY_INLINE float square_root(float x) { return hn::GetLane(hn::Sqrt(hn::Set(Lanes::F(), x))); }
#include "sim/simd/row_math-inl.hpp"
extern const RowMath row_math;
const RowMath row_math = functions;
}  // namespace fp8scope::simd::HWY_NAMESPACE::row
HWY_AFTER_NAMESPACE();
#endif

#if HWY_ONCE
namespace fp8scope::simd {
namespace plain {
#define FP8SCOPE_PLAIN_LANES
#include "sim/simd/lanes-inl.hpp"
inline Lanes root(Lanes x) {
  for (float& v : x.v) v = std::sqrt(v);
  return x;
}
inline float square_root(float x) { return std::sqrt(x); }
#include "sim/simd/row_math-inl.hpp"
#undef FP8SCOPE_PLAIN_LANES
}  // namespace plain

bool has_value_plan(const Format& f, const CastRule& rule) {
  const bool range = f.is_signed() && f.bits() <= 16 && f.max_code() >> f.mantissa_bits > 0 &&
                     f.min_exponent() > -100 && f.max_exponent() < 100;
  return range && f.has_negative_zero() && f.has_nan() && rule.rounding == Rounding::nearest_even &&
         rule.overflow == Overflow::saturate && rule.inf == InfRule::max && rule.nan == NanRule::all_ones;
}

ValuePlan value_plan(const Format& f, const CastRule& rule) {
  return {f, rule, float_bits(f.max_value()), float_bits(pow2(f.min_exponent())),
          static_cast<std::uint32_t>(23 - f.mantissa_bits)};
}

const RowMath& row_math() {
  switch (isa()) {
#if HWY_TARGETS & HWY_SSE4
    case Isa::sse4: return N_SSE4::row::row_math;
#endif
#if HWY_TARGETS & HWY_AVX2
    case Isa::avx2: return N_AVX2::row::row_math;
#endif
#if HWY_TARGETS & HWY_AVX3
    case Isa::avx512: return N_AVX3::row::row_math;
#endif
    default: return plain::functions;
  }
}

}  // namespace fp8scope::simd
#endif
