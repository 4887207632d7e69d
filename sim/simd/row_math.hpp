#pragma once

#include <cstddef>
#include <cstdint>

#include "sim/convert.hpp"

/// Row operations of a transformer in binary32. Every function gives the same bits on every processor:
/// the four operations of IEEE 754, no fused multiply-add, sums in sixteen lanes that are added by
/// halves, lane i + 8 to lane i and so on.
namespace fp8scope::simd {

/// A saturating cast to nearest even as the constants of its vector code: value = (min(|x|, max) + M) - M
/// with M = 2^(e + 23 - m), e the exponent of |x| but at least the smallest normal one. See CastPlan.
struct ValuePlan {
  Format format;
  CastRule rule;
  std::uint32_t max_bits, min_normal_bits;  ///< patterns of the largest and of the smallest normal value
  std::uint32_t places;                     ///< 23 - m
};

/// Whether cast_values() knows the cast: signed formats with -0 and NaN, nearest even, infinity saturates.
bool has_value_plan(const Format& f, const CastRule& rule);
/// Requires has_value_plan().
ValuePlan value_plan(const Format& f, const CastRule& rule);

/// Functions of one instruction set. n is any number of elements; nothing beyond is touched.
struct RowMath {
  /// y[i] = x[i] rounded to bfloat16, nearest even.
  void (*round_bf16)(const float* x, std::size_t n, float* y);
  /// y[i] = decode(encode(x[i] * scale[i / tile])).
  void (*cast_values)(const ValuePlan& plan, const float* x, std::size_t n, std::size_t tile, const float* scale,
                      float* y);
  /// y[i] += x[i].
  void (*add)(const float* x, std::size_t n, float* y);
  /// y[i] = x[i] * factor.
  void (*scale)(const float* x, std::size_t n, float factor, float* y);
  /// y[i] += x[i] * factor, both rounded.
  void (*add_scaled)(const float* x, std::size_t n, float factor, float* y);
  /// sum of x[i] y[i].
  float (*dot)(const float* x, const float* y, std::size_t n);
  /// y[i] = x[i] r gain[i]; returns r = 1 / sqrt(mean(x^2) + 1e-5).
  float (*rms_norm)(const float* x, const float* gain, std::size_t n, float* y);
  /// dx[i] += r (gain[i] dy[i] - x[i] r^2 mean(gain dy x)).
  void (*rms_norm_backward)(const float* x, const float* gain, const float* dy, float r, std::size_t n, float* dx);
  /// dgain[i] += x[i] r dy[i].
  void (*gain_gradient)(const float* x, const float* dy, float r, std::size_t n, float* dgain);
  /// y[i] = g[i] u[i] / (1 + exp(-g[i])).
  void (*silu_mul)(const float* g, const float* u, std::size_t n, float* y);
  /// Gradients of silu_mul.  dg, du [n], written
  void (*silu_mul_backward)(const float* g, const float* u, const float* dy, std::size_t n, float* dg, float* du);
  /// p = softmax(scale p), in place; returns the natural numbers it used: largest scaled p and sum.
  void (*softmax)(float* p, std::size_t n, float scale, float* largest, float* sum);
  /// dp[i] = p[i] (dp[i] - sum(p dp)) scale.
  void (*softmax_backward)(const float* p, std::size_t n, float scale, float* dp);
  /// (p[i], p[i + n]) turned by the angle of (c[i], s[i]); sign -1 turns back.
  void (*rotate)(float* p, std::size_t n, const float* c, const float* s, float sign);
  /// y[c, r] = x[r, c].
  void (*transpose)(const float* x, std::size_t rows, std::size_t cols, std::size_t x_stride, float* y,
                    std::size_t y_stride);
  /// One step of AdamW: m = b1 m + (1-b1) g, v = b2 v + (1-b2) g^2,
  /// w -= rate (m c1 / (sqrt(v c2) + 1e-8) + decay w).
  void (*adamw)(float* w, const float* g, float* m, float* v, std::size_t n, const struct AdamwStep& step);
};

struct AdamwStep {
  float rate, decay, b1, b2, c1, c2;  ///< c = 1 / (1 - b^t)
  float clip;                         ///< g is multiplied by it
};

/// Those of the instructions in use.
const RowMath& row_math();

}  // namespace fp8scope::simd
