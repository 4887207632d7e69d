#pragma once

#include <cstdint>

#include "sim/promotion.hpp"

namespace fp8scope::avx512 {

// Plain arguments only: what this header defined inline would be compiled for AVX-512 where the kernel
// is, and the linker might keep that copy for the whole program.

constexpr int fraction_bits = 13;
constexpr std::int64_t group = 32;    ///< products of a step
constexpr std::int64_t columns = 64;  ///< rows of B in a block
constexpr std::int64_t most_rows = 32;

/// What one step reads, at its row of A and its block of B. An exponent is kept as a byte: 64 above the
/// format's smallest, 0 for a zero, so that the sum of two bytes reaches 128 only where both factors are
/// not zero. Within four k, the 16-bit parts lie as (k, k+2), (k+1, k+3): the even and the odd bytes of
/// a 32-bit lane of exponents.
struct StepOperands {
  const std::uint8_t* exponent_a;                ///< [rows, 32]
  const std::uint16_t *mantissa_a, *flip_a;      ///< [rows, 32]; flip: 0, or 0xfffe to turn +1 into -1
  const std::uint8_t* exponent_b;                ///< [8, 64, 4]
  const std::uint16_t *mantissa_b, *sign_b;      ///< [8, 2, 64, 2]; sign: 1 or -1
  int offset;                                    ///< from the sum of two bytes to a binary32 exponent field
};

/// Whether this build has the kernel.
bool compiled();

/// One step of MatmulKernel::chain(): p = step(p).  p [rows, 64], 64-byte aligned; rows <= 32
void step(const StepOperands& operands, std::int64_t rows, float* p);

/// As MatmulKernel::promote().
void promote(Promotion order, std::int64_t rows, const float* p, const float* sa, const float* sb, float* sum);

}  // namespace fp8scope::avx512
