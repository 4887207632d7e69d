// All 2^32 floats: the plain code and every vector target against the CUDA header's host conversion.
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <string>
#include <thread>
#include <vector>

#include "sim/simd/cast.hpp"

#if __has_include(<cuda_fp8.h>)
#include <cuda_fp8.h>
#define FP8SCOPE_CUDA_HEADER 1
#endif

namespace fp8scope {
namespace {

#if defined(FP8SCOPE_CUDA_HEADER)

constexpr std::uint64_t chunk = 1u << 16;  // patterns converted at a time: they stay in the cache
constexpr std::uint64_t chunks = (std::uint64_t{1} << 32) / chunk;

struct Case {
  const char* name;
  Format format;
  __nv_fp8_interpretation_t kind;
};

constexpr Case cases[] = {{"E4m3", e4m3, __NV_E4M3}, {"E5m2", e5m2, __NV_E5M2}};

/// Mismatches of one chunk, saturating and not, over all targets. A NaN loses its sign in the
/// header, as NanRule::all_ones; an overflow keeps it.
std::uint64_t mismatches(const Case& c, std::uint64_t first, const std::vector<Isa>& targets,
                         std::vector<float>& x, std::vector<std::uint8_t>& codes) {
  for (std::uint64_t i = 0; i < chunk; ++i)
    x[i] = bits_float(static_cast<std::uint32_t>(first + i));
  std::uint64_t wrong = 0;
  for (const auto& [overflow, saturation] :
       {std::pair{Overflow::saturate, __NV_SATFINITE}, {Overflow::special, __NV_NOSAT}}) {
    std::vector<std::uint8_t> header(chunk);
    for (std::uint64_t i = 0; i < chunk; ++i)
      header[i] = __nv_cvt_float_to_fp8(x[i], saturation, c.kind);
    for (const Isa isa : targets) {
      encode_span(c.format, {Rounding::nearest_even, overflow}, x, codes, {isa, Stores::cached});
      if (codes == header) continue;
      for (std::uint64_t i = 0; i < chunk; ++i) wrong += codes[i] != header[i] ? 1 : 0;
    }
  }
  return wrong;
}

std::uint64_t all_mismatches(const Case& c) {
  const std::vector<Isa> targets = supported_isas();
  std::atomic<std::uint64_t> next = 0, wrong = 0;
  {
    std::vector<std::jthread> workers;
    for (unsigned w = 0; w < std::max(1u, std::thread::hardware_concurrency()); ++w)
      workers.emplace_back([&] {
        std::vector<float> x(chunk);
        std::vector<std::uint8_t> codes(chunk);
        for (std::uint64_t k; (k = next++) < chunks;)
          wrong += mismatches(c, k * chunk, targets, x, codes);
      });
  }
  return wrong;
}

TEST(AllFloats, E4m3OfEveryTargetEqualsTheCudaHeader) { EXPECT_EQ(all_mismatches(cases[0]), 0u); }
TEST(AllFloats, E5m2OfEveryTargetEqualsTheCudaHeader) { EXPECT_EQ(all_mismatches(cases[1]), 0u); }

#else

TEST(AllFloats, EveryTargetEqualsTheCudaHeader) {
  GTEST_SKIP() << "built without cuda_fp8.h: the CUDA toolkit's headers were not found";
}

#endif

}  // namespace
}  // namespace fp8scope
