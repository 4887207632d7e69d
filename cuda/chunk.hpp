#pragma once
// Sixteen neighbouring elements: what one thread loads, casts and stores at a time. 16 codes are one
// 16-byte store; 16 elements of two bytes are two 16-byte loads.

#include <cstdint>
#include <cstring>

#include "cuda/team.hpp"
#include "sim/amax.hpp"
#include "sim/cast_plan.hpp"
#include "sim/narrow.hpp"
#include "sim/philox.hpp"

namespace fp8scope::cuda {

/// How the codes of a cast are found.
struct Coding {
  CastPlan plan;           ///< plan.vectorised or plan.stochastic
  std::uint64_t seed = 0;  ///< of a stochastic cast
  std::uint64_t first = 0; ///< number of the tensor's element 0 in the stream of random bits
  int hardware = 0;        ///< 1, 2: cvt.rn.satfinite to E4M3, E5M2 gives these codes; 0: it does not
};

/// Coding of a cast; needs a plan that knows it.
inline Coding make_coding(const CastPlan& plan, std::uint64_t seed, std::uint64_t first) {
  const CastRule& rule = plan.rule;
  const bool satfinite = rule.rounding == Rounding::nearest_even &&
                         rule.overflow == Overflow::saturate && rule.inf == InfRule::max;
  return {plan, seed, first, !satfinite ? 0 : plan.format == e4m3 ? 1 : plan.format == e5m2 ? 2 : 0};
}

inline constexpr int chunk = 16;  ///< elements

inline namespace FP8_LOOPS {

/// The larger of two pairs of 16-bit numbers, each on its own.
FP8_KERNEL std::uint32_t max_of_pairs(std::uint32_t a, std::uint32_t b) {
#if defined(__CUDACC__)
  return __vmaxu2(a, b);
#else
  return std::max(a & 0xffffu, b & 0xffffu) | std::max(a >> 16, b >> 16) << 16;
#endif
}

template <class In>
struct Chunk;

/// Elements of two bytes.
template <class In>
struct NarrowChunk {
  std::uint32_t word[8];

  FP8_KERNEL float value(int i) const {
    return In::decode(i % 2 == 0 ? word[i / 2] & 0xffffu : word[i / 2] >> 16);
  }
  /// Pattern of the largest magnitude as binary32. Narrow patterns order as their values do.
  FP8_KERNEL std::uint32_t top() const {
    std::uint32_t pair = 0;
    FP8_UNROLL
    for (int i = 0; i < 8; ++i) pair = max_of_pairs(pair, word[i] & 0x7fff7fffu);
    const std::uint32_t low = pair & 0xffffu, high = pair >> 16;
    return float_bits(In::decode(low > high ? low : high));
  }
};

struct Bf16 {
  using Stored = std::uint16_t;
  static FP8_KERNEL float decode(std::uint32_t bits) { return bf16_value(bits); }
};
struct Fp16 {
  using Stored = std::uint16_t;
  static FP8_KERNEL float decode(std::uint32_t bits) { return fp16_value(bits); }
};
struct Fp32 {
  using Stored = std::uint32_t;
  static FP8_KERNEL float decode(std::uint32_t bits) { return bits_float(bits); }
};

template <>
struct Chunk<Bf16> : NarrowChunk<Bf16> {};
template <>
struct Chunk<Fp16> : NarrowChunk<Fp16> {};
template <>
struct Chunk<Fp32> {
  std::uint32_t word[16];

  FP8_KERNEL float value(int i) const { return bits_float(word[i]); }
  FP8_KERNEL std::uint32_t top() const {
    std::uint32_t largest = 0;
    FP8_UNROLL
    for (int i = 0; i < 16; ++i) {
      const std::uint32_t magnitude = word[i] & magnitude_bits;
      largest = magnitude > largest ? magnitude : largest;
    }
    return largest;
  }
};

/// Element `i` of an array of In::Stored, as a number.
template <class In>
FP8_KERNEL float load_value(const void* x, std::int64_t i) {
  return In::decode(static_cast<const typename In::Stored*>(x)[i]);
}

/// Elements [at, at + count) of x, count <= 16; the rest are zeros. `aligned`: count is 16 and the
/// address a multiple of 16 bytes.
template <class In>
FP8_KERNEL Chunk<In> load_chunk(const void* x, std::int64_t at, int count, bool aligned) {
  Chunk<In> out;
  constexpr int words = sizeof(out.word) / 4, each = 16 / words * 1;
  const auto* elements = static_cast<const typename In::Stored*>(x) + at;
  if (aligned) {
#if defined(__CUDACC__)
    const uint4* from = reinterpret_cast<const uint4*>(elements);
    FP8_UNROLL
    for (int i = 0; i < words / 4; ++i) {
      const uint4 four = __ldg(from + i);
      out.word[4 * i] = four.x, out.word[4 * i + 1] = four.y;
      out.word[4 * i + 2] = four.z, out.word[4 * i + 3] = four.w;
    }
#else
    std::memcpy(out.word, elements, sizeof(out.word));
#endif
    return out;
  }
  FP8_UNROLL
  for (int i = 0; i < words; ++i) {
    out.word[i] = each * i < count ? elements[each * i] : 0u;
    if (each == 2 && each * i + 1 < count) out.word[i] |= static_cast<std::uint32_t>(elements[each * i + 1]) << 16;
  }
  return out;
}

/// Pattern of the largest magnitude of a chunk as `rule` counts NaN; `raw` is chunk.top().
template <class In>
FP8_KERNEL std::uint32_t counted_top(const Chunk<In>& x, std::uint32_t raw, AmaxRule rule) {
  if (raw <= inf_bits || rule == AmaxRule::propagate_nan) return raw;
  std::uint32_t largest = 0;
  FP8_UNROLL
  for (int i = 0; i < chunk; ++i) largest = larger_magnitude(rule, largest, x.value(i));
  return largest;
}

/// The amax that a pattern of counted_top() stands for.
FP8_KERNEL float amax_of(std::uint32_t pattern) {
  return bits_float(pattern > inf_bits ? 0x7fc00000u : pattern);
}

/// 16 codes.
struct Codes {
  std::uint32_t word[4];
};

/// Codes of the products x[i] * scale(i), by the instruction that two of them take. Requires finite
/// x and scales, so that no product is NaN.
template <class In, class Scale>
FP8_KERNEL Codes encode_by_hardware(int format, const Chunk<In>& x, const Scale& scale) {
  Codes out{};
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 890
  FP8_UNROLL
  for (int w = 0; w < 4; ++w) {
    std::uint16_t pair[2];
    FP8_UNROLL
    for (int p = 0; p < 2; ++p) {
      const int i = 4 * w + 2 * p;
      const float low = x.value(i) * scale(i), high = x.value(i + 1) * scale(i + 1);
      if (format == 1)
        asm("cvt.rn.satfinite.e4m3x2.f32 %0, %1, %2;" : "=h"(pair[p]) : "f"(high), "f"(low));
      else
        asm("cvt.rn.satfinite.e5m2x2.f32 %0, %1, %2;" : "=h"(pair[p]) : "f"(high), "f"(low));
    }
    out.word[w] = pair[0] | static_cast<std::uint32_t>(pair[1]) << 16;
  }
#else
  (void)format, (void)x, (void)scale;
#endif
  return out;
}

/// True where encode_by_hardware() exists.
inline constexpr bool have_hardware_cast =
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 890
    true;
#else
    false;
#endif

/// How a kernel rounds: kernels are compiled for each, so that the ones without random bits stay small.
struct Nearest {
  static constexpr bool stochastic = false;
  static constexpr int held = 4;  ///< chunks that a thread keeps in registers
};
struct Stochastic {
  static constexpr bool stochastic = true;
  static constexpr int held = 1;
};

/// The random words of four neighbouring elements.
struct RandomWords {
  PhiloxWords words;
  FP8_KERNEL void draw(std::uint64_t seed, std::uint64_t number) {
    const std::uint64_t group = number / 4;
    words = philox4x32({{static_cast<std::uint32_t>(group), static_cast<std::uint32_t>(group >> 32), 0u, 0u}}, seed);
  }
  /// Not words.word[at]: an index that is not known would move the words to memory.
  FP8_KERNEL std::uint32_t at(int i) const {
    const std::uint32_t low = i % 2 == 0 ? words.word[0] : words.word[1];
    const std::uint32_t high = i % 2 == 0 ? words.word[2] : words.word[3];
    return i < 2 ? low : high;
  }
};

/// codes[i] = encode(x[i] * scale(i)).
///
/// raw_top  x.top()
/// finite   every scale(i) is finite
/// index    number of the chunk's first element in the tensor
template <class Mode, class In, class Scale>
FP8_KERNEL Codes encode_chunk(const Coding& coding, const Chunk<In>& x, std::uint32_t raw_top,
                              const Scale& scale, bool finite, std::uint64_t index) {
  Codes out{};
  if constexpr (Mode::stochastic) {
    const std::uint64_t number = coding.first + index;
    const auto phase = static_cast<int>(number % 4);
    RandomWords random;
    random.draw(coding.seed, number);
    FP8_UNROLL
    for (int i = 0; i < chunk; ++i) {
      const int at = (phase + i) % 4;
      if (i > 0 && at == 0) random.draw(coding.seed, number + static_cast<std::uint64_t>(i));
      out.word[i / 4] |= encode_stochastic(coding.plan, x.value(i) * scale(i), random.at(at)) << (i % 4 * 8);
    }
  } else {
    if (have_hardware_cast && coding.hardware != 0 && raw_top < inf_bits && finite)
      return coding.hardware == 1 ? encode_by_hardware(1, x, scale) : encode_by_hardware(2, x, scale);
    FP8_UNROLL
    for (int i = 0; i < chunk; ++i)
      out.word[i / 4] |= encode_nearest(coding.plan, x.value(i) * scale(i)) << (i % 4 * 8);
  }
  return out;
}

/// Writes the first `count` codes; `aligned` as for load_chunk().
FP8_KERNEL void store_codes(std::uint8_t* codes, std::int64_t at, int count, bool aligned, const Codes& value) {
  if (aligned) {
#if defined(__CUDACC__)
    *reinterpret_cast<uint4*>(codes + at) = make_uint4(value.word[0], value.word[1], value.word[2], value.word[3]);
#else
    std::memcpy(codes + at, value.word, sizeof(value.word));
#endif
    return;
  }
  FP8_UNROLL
  for (int i = 0; i < chunk; ++i)
    if (i < count) codes[at + i] = static_cast<std::uint8_t>(value.word[i / 4] >> (i % 4 * 8));
}

}  // namespace FP8_LOOPS
}  // namespace fp8scope::cuda
