#pragma once
// Inside of sim/simd: what one instruction set offers, and what it is told.

#include <cstddef>
#include <cstdint>

#include "sim/convert.hpp"
#include "sim/simd/cast.hpp"

namespace fp8scope::simd {

/// A format and a rule as the constants of the vector code. The code of a finite x is taken from
/// one addition: t = min(|x|, max) + M with M = 2^(e + 23 - m), e the exponent of |x| but at least
/// the smallest normal one. The last place of M is that of the format at x, so the hardware rounds
/// to nearest even, subnormals included, and the low bits of t are the significand. M also holds,
/// in units of its last place, what makes the low byte of t + (M >> shift) the code; an even
/// number, so ties are not disturbed.
struct CastPlan {
  Format format;
  CastRule rule;
  bool vectorised;  ///< false: only the scalar code knows this format or rule
  bool plain;       ///< saturates all, one NaN code, has -0: none of the fields below `nan` matter

  std::uint32_t max_bits;         ///< pattern of the largest finite value
  std::uint32_t min_normal_bits;  ///< pattern of the smallest normal value
  std::uint32_t to_magic;         ///< added to the exponent of x, the pattern of M
  int shift;                      ///< 23 - mantissa bits
  int sign_shift;                 ///< from the sign of binary32 to that of the format
  std::uint32_t nan;              ///< code of a positive NaN
  std::uint32_t negative_nan;
  std::uint32_t overflow_above;   ///< magnitudes beyond this pattern, but NaN, get `overflow`
  std::uint32_t overflow;         ///< code of +infinity
  bool negative_zero;
};

CastPlan make_plan(const Format& f, const CastRule& rule);

/// Functions of one instruction set; n elements in tiles of `tile`, of which the last may be short.
struct Kernels {
  /// codes[i] = code of x[i] * scale[i / tile]. With `stream`, `codes` is 64-byte aligned.
  void (*cast)(const CastPlan&, const float* x, std::size_t n, std::size_t tile,
               const float* scale, std::uint8_t* codes, bool stream);
  /// Makes streamed codes visible to other threads; a drain of the store buffers, so once a call.
  void (*flush)();
  /// amax[t] = largest |x| of tile t.
  void (*amax)(const float* x, std::size_t n, std::size_t tile, AmaxRule rule, float* amax);
  /// out[i] = table[codes[i]].
  void (*decode)(const float* table, const std::uint8_t* codes, std::size_t n, float* out);
  /// codes[i] = low byte of x[i]: the memory traffic of a cast and nothing else.
  void (*read4_write1)(const float* x, std::size_t n, std::uint8_t* codes, bool prefetch);
};

/// The kernels of `isa`, or nullptr where this build or this CPU has none.
const Kernels* find_kernels(Isa isa);

const Kernels& scalar_kernels();
/// nullptr for what Highway cannot run here.
const Kernels* vector_kernels(Isa isa);

}  // namespace fp8scope::simd
