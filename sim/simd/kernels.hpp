#pragma once
// Inside of sim/simd: what one instruction set offers, and what it is told.

#include <cstddef>
#include <cstdint>

#include "sim/cast_plan.hpp"
#include "sim/simd/cast.hpp"

namespace fp8scope::simd {

/// Functions of one instruction set; n elements in tiles of `tile`, of which the last may be short.
struct Kernels {
  /// codes[i] = code of x[i] * scale[i / tile]. With `stream`, `codes` is 64-byte aligned. `tame`
  /// promises that no product is NaN or rounds beyond the largest value: neither is looked for.
  void (*cast)(const CastPlan&, const float* x, std::size_t n, std::size_t tile,
               const float* scale, std::uint8_t* codes, bool stream, bool tame);
  /// Makes streamed codes visible to other threads; a drain of the store buffers, so once a call.
  void (*flush)();
  /// amax[t] = largest |x| of tile t. Returns whether any x is NaN.
  bool (*amax)(const float* x, std::size_t n, std::size_t tile, AmaxRule rule, float* amax);
  /// The largest pattern of |a[i] * b[i]|.
  std::uint32_t (*largest_product)(const float* a, const float* b, std::size_t n);
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
