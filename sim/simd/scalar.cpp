#include <algorithm>

#include "sim/simd/kernels.hpp"

namespace fp8scope::simd {

namespace {

void cast(const CastPlan& plan, const float* x, std::size_t n, std::size_t tile, const float* scale,
          std::uint8_t* codes, bool, bool) {
  for (std::size_t begin = 0, t = 0; begin < n; begin += tile, ++t)
    for (std::size_t i = begin; i < std::min(n, begin + tile); ++i)
      codes[i] = static_cast<std::uint8_t>(encode(plan.format, x[i] * scale[t], plan.rule));
}

void flush() {}

bool amax(const float* x, std::size_t n, std::size_t tile, AmaxRule rule, float* amax) {
  bool any_nan = false;
  for (std::size_t begin = 0, t = 0; begin < n; begin += tile, ++t) {
    std::uint32_t largest = 0;
    for (std::size_t i = begin; i < std::min(n, begin + tile); ++i) {
      any_nan |= is_nan(x[i]);
      if (rule == AmaxRule::propagate_nan || !is_nan(x[i]))
        largest = std::max(largest, float_bits(x[i]) & magnitude_bits);
    }
    amax[t] = bits_float(largest > inf_bits ? 0x7fc00000u : largest);
  }
  return any_nan;
}

std::uint32_t largest_product(const float* a, const float* b, std::size_t n) {
  std::uint32_t largest = 0;
  for (std::size_t i = 0; i < n; ++i) largest = std::max(largest, float_bits(a[i] * b[i]) & magnitude_bits);
  return largest;
}

void decode(const float* table, const std::uint8_t* codes, std::size_t n, float* out) {
  for (std::size_t i = 0; i < n; ++i) out[i] = table[codes[i]];
}

void read4_write1(const float* x, std::size_t n, std::uint8_t* codes, bool) {
  for (std::size_t i = 0; i < n; ++i) codes[i] = static_cast<std::uint8_t>(float_bits(x[i]));
}

}  // namespace

const Kernels& scalar_kernels() {
  static constexpr Kernels kernels{cast, flush, amax, largest_product, decode, read4_write1};
  return kernels;
}

}  // namespace fp8scope::simd
