// All 2^32 floats: the vector kernels of every instruction set and the plain code against NVIDIA's
// host conversion (CUDA's cuda_fp8.hpp), which shares no line with them.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <atomic>
#include <thread>

#include "sim/simd/cast.hpp"
#include "sim/simd/isa.hpp"

#if FP8SCOPE_HAS_CUDA_FP8
#include <cuda_fp8.h>
#endif

namespace fp8scope {
namespace {

constexpr std::uint32_t chunk = 1u << 16;
constexpr std::uint64_t slice = std::uint64_t{1} << 28;

/// Calls visit(pattern of x[0], x, room for codes) for every chunk of [begin, begin + slice), on all
/// processors.
template <class Visit>
void for_slice(std::uint64_t begin, Visit visit) {
  std::atomic<std::uint64_t> next{begin};
  const auto work = [&] {
    std::vector<float> x(chunk);
    std::vector<std::uint8_t> codes(chunk);
    for (std::uint64_t first; (first = next.fetch_add(chunk)) < begin + slice;) {
      for (std::uint32_t i = 0; i < chunk; ++i) x[i] = bits_float(static_cast<std::uint32_t>(first) + i);
      visit(first, x, codes);
    }
  };
  std::vector<std::thread> threads;
  for (unsigned t = 1; t < std::thread::hardware_concurrency(); ++t) threads.emplace_back(work);
  work();
  for (std::thread& thread : threads) thread.join();
}

struct Case {
  const char* name;
  Format format;
  Overflow overflow;
};
constexpr Case cases[] = {
    {"e4m3 saturating", e4m3, Overflow::saturate},
    {"e4m3 not saturating", e4m3, Overflow::special},
    {"e5m2 saturating", e5m2, Overflow::saturate},
    {"e5m2 not saturating", e5m2, Overflow::special},
};

/// What differs, and one pattern where it does.
struct Differences {
  std::atomic<std::uint64_t> count{0};
  std::atomic<std::uint32_t> example{0};
  void add(std::uint32_t pattern) {
    ++count;
    example = pattern;
  }
  void expect_none(const std::string& what) const {
    EXPECT_EQ(count, 0u) << what << fmt::format(": for instance 0x{:08x}", example.load());
  }
};

CastRule rule_of(const Case& c) { return {.rounding = Rounding::nearest_even, .overflow = c.overflow}; }

TEST(AllFloats, EveryInstructionSetEncodesAsThePlainCode) {
  std::vector<std::uint8_t> plain(slice);
  for (const Case& c : cases)
    for (std::uint64_t begin = 0; begin < std::uint64_t{1} << 32; begin += slice) {
      for_slice(begin, [&](std::uint64_t first, std::span<const float> x, std::span<std::uint8_t>) {
        for (std::uint32_t i = 0; i < chunk; ++i)
          plain[first - begin + i] = static_cast<std::uint8_t>(encode(c.format, x[i], rule_of(c)));
      });
      for (const NamedIsa& target : isas) {
        if (target.isa == Isa::automatic || target.isa == Isa::scalar || !isa_supported(target.isa)) continue;
        set_isa(target.isa);
        Differences differences;
        for_slice(begin, [&](std::uint64_t first, std::span<const float> x, std::span<std::uint8_t> codes) {
          encode_all(c.format, rule_of(c), x, 1.0f, codes);
          for (std::uint32_t i = 0; i < chunk; ++i)
            if (codes[i] != plain[first - begin + i]) differences.add(static_cast<std::uint32_t>(first) + i);
        });
        differences.expect_none(fmt::format("{} with {}", c.name, target.name));
      }
    }
  set_isa(Isa::automatic);
}

TEST(AllFloats, ThePlainCodeEncodesAsNvidiasHostConversion) {
#if FP8SCOPE_HAS_CUDA_FP8
  for (const Case& c : cases) {
    const auto kind = c.format == e4m3 ? __NV_E4M3 : __NV_E5M2;
    const auto mode = c.overflow == Overflow::saturate ? __NV_SATFINITE : __NV_NOSAT;
    Differences differences;
    for (std::uint64_t begin = 0; begin < std::uint64_t{1} << 32; begin += slice)
      for_slice(begin, [&](std::uint64_t first, std::span<const float> x, std::span<std::uint8_t>) {
        for (std::uint32_t i = 0; i < chunk; ++i)
          if (__nv_cvt_float_to_fp8(x[i], mode, kind) != encode(c.format, x[i], rule_of(c)))
            differences.add(static_cast<std::uint32_t>(first) + i);
      });
    differences.expect_none(c.name);
  }
#else
  GTEST_SKIP() << "cuda_fp8.h of the CUDA Toolkit was not found when this was built";
#endif
}

}  // namespace
}  // namespace fp8scope
