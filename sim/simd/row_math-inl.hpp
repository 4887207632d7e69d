// The bodies of RowMath over Lanes; included once for each set of instructions, no include guard by
// intent.

/// The first n < 16 numbers, the rest `fill`.
HWY_INLINE Lanes load_part(const float* p, std::size_t n, float fill) {
  float block[16];
  for (std::size_t i = 0; i < 16; ++i) block[i] = i < n ? p[i] : fill;
  return Lanes::load(block);
}
HWY_INLINE void store_part(const Lanes& x, float* p, std::size_t n) {
  float block[16];
  x.store(block);
  for (std::size_t i = 0; i < n; ++i) p[i] = block[i];
}

/// f(load, store, i) over whole packs and the part at the end.
template <class Body>
HWY_INLINE void for_lanes(std::size_t n, const Body& body) {
  std::size_t i = 0;
  for (; i + 16 <= n; i += 16)
    body([i](const float* p) { return Lanes::load(p + i); }, [i](const Lanes& x, float* p) { x.store(p + i); });
  if (i < n)
    body([i, n](const float* p) { return load_part(p + i, n - i, 0.0f); },
         [i, n](const Lanes& x, float* p) { store_part(x, p + i, n - i); });
}

HWY_INLINE float sum_lanes(const Lanes& x) {
  float v[16];
  x.store(v);
  for (int half = 8; half > 0; half /= 2)
    for (int i = 0; i < half; ++i) v[i] = v[i] + v[i + half];
  return v[0];
}
HWY_INLINE float largest_lane(const Lanes& x) {
  float v[16];
  x.store(v);
  for (int half = 8; half > 0; half /= 2)
    for (int i = 0; i < half; ++i) v[i] = v[i] > v[i + half] ? v[i] : v[i + half];
  return v[0];
}
HWY_INLINE Lanes blank() { return Lanes::set(0.0f); }
HWY_INLINE Lanes one() { return Lanes::set(1.0f); }

/// e^x within 2 units in the last place; from -87.3 downwards 1.2e-38, from 88 on e^88.
HWY_INLINE Lanes exponential(Lanes x) {
  x = smaller(larger(x, Lanes::set(-87.3f)), Lanes::set(88.0f));
  const Lanes magic = Lanes::set(12582912.0f);
  const Lanes t = x * Lanes::set(1.44269504f) + magic;
  const Lanes n = t - magic;
  const Lanes r = x - n * Lanes::set(0.693145752f) - n * Lanes::set(1.42860677e-6f);
  Lanes p = Lanes::set(1.0f / 5040);
  p = p * r + Lanes::set(1.0f / 720);
  p = p * r + Lanes::set(1.0f / 120);
  p = p * r + Lanes::set(1.0f / 24);
  p = p * r + Lanes::set(1.0f / 6);
  p = p * r + Lanes::set(0.5f);
  p = p * r * r + r + one();
  return p * pow2_of_magic(t);
}

inline void RoundBf16(const float* x, std::size_t n, float* y) {
  for_lanes(n, [=](auto load, auto store) { store(to_bf16(load(x)), y); });
}

inline void CastValues(const ValuePlan& plan, const float* x, std::size_t n, std::size_t tile, const float* scale,
                       float* y) {
  for (std::size_t first = 0, t = 0; first < n; first += tile, ++t) {
    const Lanes s = Lanes::set(scale[t]);
    const float* from = x + first;
    float* to = y + first;
    for_lanes(n - first < tile ? n - first : tile,
              [&](auto load, auto store) { store(cast_value(plan, load(from) * s), to); });
  }
}

inline void AddRow(const float* x, std::size_t n, float* y) {
  for_lanes(n, [=](auto load, auto store) { store(load(y) + load(x), y); });
}
inline void ScaleRow(const float* x, std::size_t n, float factor, float* y) {
  const Lanes f = Lanes::set(factor);
  for_lanes(n, [&](auto load, auto store) { store(load(x) * f, y); });
}
inline void AddScaled(const float* x, std::size_t n, float factor, float* y) {
  const Lanes f = Lanes::set(factor);
  for_lanes(n, [&](auto load, auto store) { store(load(y) + load(x) * f, y); });
}

inline float Dot(const float* x, const float* y, std::size_t n) {
  Lanes sum = blank();
  for_lanes(n, [&](auto load, auto) { sum = sum + load(x) * load(y); });
  return sum_lanes(sum);
}

inline float RmsNorm(const float* x, const float* gain, std::size_t n, float* y) {
  const float mean = Dot(x, x, n) / static_cast<float>(n);
  const float r = 1.0f / square_root(mean + 1e-5f);
  const Lanes factor = Lanes::set(r);
  for_lanes(n, [&](auto load, auto store) { store(load(x) * factor * load(gain), y); });
  return r;
}

inline void RmsNormBackward(const float* x, const float* gain, const float* dy, float r, std::size_t n, float* dx) {
  Lanes sum = blank();
  for_lanes(n, [&](auto load, auto) { sum = sum + load(x) * load(dy) * load(gain); });
  const Lanes factor = Lanes::set(r);
  const Lanes back = Lanes::set(sum_lanes(sum) * r * r * r / static_cast<float>(n));
  for_lanes(n, [&](auto load, auto store) {
    store(load(dx) + (load(dy) * load(gain) * factor - load(x) * back), dx);
  });
}

inline void GainGradient(const float* x, const float* dy, float r, std::size_t n, float* dgain) {
  const Lanes factor = Lanes::set(r);
  for_lanes(n, [&](auto load, auto store) { store(load(dgain) + load(x) * factor * load(dy), dgain); });
}

inline void SiluMul(const float* g, const float* u, std::size_t n, float* y) {
  for_lanes(n, [=](auto load, auto store) {
    const Lanes gate = load(g);
    store(gate / (one() + exponential(blank() - gate)) * load(u), y);
  });
}

inline void SiluMulBackward(const float* g, const float* u, const float* dy, std::size_t n, float* dg, float* du) {
  for_lanes(n, [=](auto load, auto store) {
    const Lanes gate = load(g), back = load(dy), up = load(u);
    const Lanes sigmoid = one() / (one() + exponential(blank() - gate));
    store(back * up * sigmoid * (one() + gate * (one() - sigmoid)), dg);
    store(back * gate * sigmoid, du);
  });
}

inline void Softmax(float* p, std::size_t n, float scale, float* largest, float* total) {
  const Lanes factor = Lanes::set(scale);
  Lanes most = Lanes::set(-3.0e38f);
  std::size_t i = 0;
  for (; i + 16 <= n; i += 16) {
    const Lanes x = Lanes::load(p + i) * factor;
    x.store(p + i);
    most = larger(most, x);
  }
  for (; i < n; ++i) {
    p[i] = p[i] * scale;
    most = larger(most, Lanes::set(p[i]));
  }
  const float m = largest_lane(most);
  const Lanes shift = Lanes::set(m);
  Lanes sum = blank();
  for (i = 0; i + 16 <= n; i += 16) {
    const Lanes e = exponential(Lanes::load(p + i) - shift);
    e.store(p + i);
    sum = sum + e;
  }
  if (i < n) {
    store_part(exponential(load_part(p + i, n - i, m) - shift), p + i, n - i);
    sum = sum + load_part(p + i, n - i, 0.0f);
  }
  const float s = sum_lanes(sum);
  ScaleRow(p, n, 1.0f / s, p);
  *largest = m, *total = s;
}

inline void SoftmaxBackward(const float* p, std::size_t n, float scale, float* dp) {
  const Lanes dot = Lanes::set(Dot(p, dp, n)), factor = Lanes::set(scale);
  for_lanes(n, [&](auto load, auto store) { store(load(p) * (load(dp) - dot) * factor, dp); });
}

inline void Rotate(float* p, std::size_t n, const float* c, const float* s, float sign) {
  float* q = p + n;
  const Lanes direction = Lanes::set(sign);
  for_lanes(n, [&](auto load, auto store) {
    const Lanes a = load(p), b = load(q), cosine = load(c), sine = load(s) * direction;
    store(a * cosine - b * sine, p);
    store(a * sine + b * cosine, q);
  });
}

/// Tiles of 16 x 16, so that both sides stay in the first cache.
inline void Transpose(const float* x, std::size_t rows, std::size_t cols, std::size_t x_stride, float* y,
                      std::size_t y_stride) {
  for (std::size_t r0 = 0; r0 < rows; r0 += 16)
    for (std::size_t c0 = 0; c0 < cols; c0 += 16) {
      const std::size_t r1 = r0 + 16 < rows ? r0 + 16 : rows, c1 = c0 + 16 < cols ? c0 + 16 : cols;
      if (r1 - r0 == 16 && c1 - c0 == 16) {
        float block[16][16];
        for (std::size_t r = 0; r < 16; ++r)
          for (std::size_t c = 0; c < 16; ++c) block[c][r] = x[(r0 + r) * x_stride + c0 + c];
        for (std::size_t c = 0; c < 16; ++c) Lanes::load(block[c]).store(y + (c0 + c) * y_stride + r0);
        continue;
      }
      for (std::size_t r = r0; r < r1; ++r)
        for (std::size_t c = c0; c < c1; ++c) y[c * y_stride + r] = x[r * x_stride + c];
    }
}

inline void Adamw(float* w, const float* g, float* m, float* v, std::size_t n, const AdamwStep& step) {
  const Lanes rate = Lanes::set(step.rate), decay = Lanes::set(step.decay), clip = Lanes::set(step.clip);
  const Lanes b1 = Lanes::set(step.b1), b2 = Lanes::set(step.b2), c1 = Lanes::set(step.c1), c2 = Lanes::set(step.c2);
  const Lanes n1 = Lanes::set(1.0f - step.b1), n2 = Lanes::set(1.0f - step.b2), tiny = Lanes::set(1e-8f);
  for_lanes(n, [&](auto load, auto store) {
    const Lanes gradient = load(g) * clip;
    const Lanes mean = b1 * load(m) + n1 * gradient;
    const Lanes square = b2 * load(v) + n2 * gradient * gradient;
    store(mean, m);
    store(square, v);
    const Lanes weight = load(w);
    store(weight - rate * (mean * c1 / (root(square * c2) + tiny) + decay * weight), w);
  });
}

inline constexpr RowMath functions{RoundBf16,    CastValues,      AddRow,  ScaleRow,        AddScaled, Dot,
                                   RmsNorm,      RmsNormBackward, GainGradient, SiluMul,    SiluMulBackward,
                                   Softmax,      SoftmaxBackward, Rotate,  Transpose,       Adamw};
