// Sixteen binary32 numbers at a time, whatever the width of the registers, so that sums have the same
// order everywhere. Included once for each set of instructions, and once without any; no include guard
// by intent. No fused multiply-add here: not every processor has one.

#if defined(HWY_TARGET) && !defined(FP8SCOPE_PLAIN_LANES)

struct Lanes {
  using F = hn::ScalableTag<float>;
  using U = hn::RebindToUnsigned<F>;
  static constexpr std::size_t width = HWY_MAX_BYTES / 4, parts = 16 / width;
  hn::Vec<F> v[parts];

  static HWY_INLINE Lanes load(const float* p) {
    Lanes r;
    for (std::size_t i = 0; i < parts; ++i) r.v[i] = hn::LoadU(F(), p + i * width);
    return r;
  }
  static HWY_INLINE Lanes set(float x) {
    Lanes r;
    for (std::size_t i = 0; i < parts; ++i) r.v[i] = hn::Set(F(), x);
    return r;
  }
  HWY_INLINE void store(float* p) const {
    for (std::size_t i = 0; i < parts; ++i) hn::StoreU(v[i], F(), p + i * width);
  }
};

#define FP8SCOPE_LANES_BINARY(name, op)                                             \
  HWY_INLINE Lanes name(Lanes a, Lanes b) {                                         \
    for (std::size_t i = 0; i < Lanes::parts; ++i) a.v[i] = hn::op(a.v[i], b.v[i]); \
    return a;                                                                       \
  }
FP8SCOPE_LANES_BINARY(operator+, Add)
FP8SCOPE_LANES_BINARY(operator-, Sub)
FP8SCOPE_LANES_BINARY(operator*, Mul)
FP8SCOPE_LANES_BINARY(operator/, Div)
#undef FP8SCOPE_LANES_BINARY

/// The larger; the second where they do not compare.
HWY_INLINE Lanes larger(Lanes a, Lanes b) {
  for (std::size_t i = 0; i < Lanes::parts; ++i) a.v[i] = hn::IfThenElse(hn::Gt(a.v[i], b.v[i]), a.v[i], b.v[i]);
  return a;
}
HWY_INLINE Lanes smaller(Lanes a, Lanes b) {
  for (std::size_t i = 0; i < Lanes::parts; ++i) a.v[i] = hn::IfThenElse(hn::Lt(a.v[i], b.v[i]), a.v[i], b.v[i]);
  return a;
}
/// 2^n of t = 1.5 * 2^23 + n, n an integer in [-126, 127].
HWY_INLINE Lanes pow2_of_magic(Lanes t) {
  const Lanes::U u;
  for (std::size_t i = 0; i < Lanes::parts; ++i)
    t.v[i] = hn::BitCast(Lanes::F(), hn::ShiftLeft<23>(hn::Add(hn::BitCast(u, t.v[i]), hn::Set(u, 127u))));
  return t;
}
/// Whether magnitudes are NaNs: Highway's comparison of a NaN with itself differs between targets.
HWY_INLINE hn::Mask<Lanes::U> is_nan_word(hn::Vec<Lanes::U> magnitude) {
  const hn::RebindToSigned<Lanes::F> i;
  return hn::RebindMask(Lanes::U(), hn::Gt(hn::BitCast(i, magnitude), hn::Set(i, 0x7f800000)));
}
/// To bfloat16, nearest even; overflow gives infinity, NaN the quiet NaN 0x7fc00000.
HWY_INLINE Lanes to_bf16(Lanes x) {
  const Lanes::U u;
  for (std::size_t i = 0; i < Lanes::parts; ++i) {
    const auto word = hn::BitCast(u, x.v[i]);
    const auto odd = hn::And(hn::ShiftRight<16>(word), hn::Set(u, 1u));
    const auto rounded = hn::And(hn::Add(word, hn::Add(odd, hn::Set(u, 0x7fffu))), hn::Set(u, 0xffff0000u));
    x.v[i] = hn::BitCast(Lanes::F(), hn::IfThenElse(is_nan_word(hn::And(word, hn::Set(u, 0x7fffffffu))), hn::Set(u, 0x7fc00000u), rounded));
  }
  return x;
}
/// The value of the code of x, as ValuePlan describes.
HWY_INLINE Lanes cast_value(const ValuePlan& plan, Lanes x) {
  const Lanes::U u;
  const Lanes::F f;
  for (std::size_t i = 0; i < Lanes::parts; ++i) {
    const auto word = hn::BitCast(u, x.v[i]);
    const auto magnitude = hn::And(word, hn::Set(u, 0x7fffffffu));
    const auto bounded = hn::Min(magnitude, hn::Set(u, plan.max_bits));
    const auto exponent = hn::And(hn::Max(bounded, hn::Set(u, plan.min_normal_bits)), hn::Set(u, 0x7f800000u));
    const auto magic = hn::BitCast(f, hn::Add(exponent, hn::Set(u, plan.places << 23)));
    const auto value = hn::Sub(hn::Add(hn::BitCast(f, bounded), magic), magic);
    const auto with_sign = hn::Or(hn::BitCast(u, value), hn::And(word, hn::Set(u, 0x80000000u)));
    x.v[i] = hn::BitCast(f, hn::IfThenElse(is_nan_word(magnitude), hn::Set(u, 0x7fc00000u), with_sign));
  }
  return x;
}

#else

struct Lanes {
  float v[16];
  static Lanes load(const float* p) {
    Lanes r;
    for (int i = 0; i < 16; ++i) r.v[i] = p[i];
    return r;
  }
  static Lanes set(float x) {
    Lanes r;
    for (int i = 0; i < 16; ++i) r.v[i] = x;
    return r;
  }
  void store(float* p) const {
    for (int i = 0; i < 16; ++i) p[i] = v[i];
  }
};

#define FP8SCOPE_LANES_BINARY(name, op)                       \
  inline Lanes name(Lanes a, const Lanes& b) {                \
    for (int i = 0; i < 16; ++i) a.v[i] = a.v[i] op b.v[i];   \
    return a;                                                 \
  }
FP8SCOPE_LANES_BINARY(operator+, +)
FP8SCOPE_LANES_BINARY(operator-, -)
FP8SCOPE_LANES_BINARY(operator*, *)
FP8SCOPE_LANES_BINARY(operator/, /)
#undef FP8SCOPE_LANES_BINARY

inline Lanes larger(Lanes a, const Lanes& b) {
  for (int i = 0; i < 16; ++i) a.v[i] = a.v[i] > b.v[i] ? a.v[i] : b.v[i];
  return a;
}
inline Lanes smaller(Lanes a, const Lanes& b) {
  for (int i = 0; i < 16; ++i) a.v[i] = a.v[i] < b.v[i] ? a.v[i] : b.v[i];
  return a;
}
inline Lanes pow2_of_magic(Lanes t) {
  for (float& x : t.v) x = bits_float((float_bits(x) + 127u) << 23);
  return t;
}
inline Lanes to_bf16(Lanes x) {
  for (float& v : x.v) v = decode(bf16, encode(bf16, v, {.overflow = Overflow::special}));
  return x;
}
inline Lanes cast_value(const ValuePlan& plan, Lanes x) {
  for (float& v : x.v) v = decode(plan.format, encode(plan.format, v, plan.rule));
  return x;
}

#endif
