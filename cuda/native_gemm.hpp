#pragma once

#include <cstdint>
#include <vector>

#include "sim/scaled_gemm.hpp"

/// What the native product prepares on the host.
namespace fp8scope::cuda {

inline constexpr int native_tile = 128;  ///< rows and columns of D, and of K, that a thread block holds

/// FP32 scales in the order in which the kernel fetches them.
struct NativeScales {
  bool scaled;             ///< else one each, applied at the end
  std::vector<float> a;    ///< [k / 128, m]
  std::vector<float> b;    ///< [n / 128, k / 128]

  NativeScales(const ScaledMatrix& a, const ScaledMatrix& b);
};

/// E4M3 codes of about N(0, 1) * 16, for timing.
std::vector<std::uint8_t> random_normal_codes(std::int64_t count, std::uint64_t seed);

}  // namespace fp8scope::cuda
