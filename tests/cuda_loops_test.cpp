// The loops of the CUDA kernels, run by the CPU: their indexing, their reductions, their edges. What
// only a GPU can show (its conversions, its memory model) is in 'fp8scope validate --gpu'.
#include <gtest/gtest.h>

#include <map>

#include "sim/names.hpp"
#include "src/kernel_checks.hpp"

namespace fp8scope {
namespace {

void expect_equal(const KernelCheck& check) {
  const auto engine = cuda::loops_on_cpu();
  const std::vector<CheckTensor> tensors = check_tensors();
  std::uint64_t words = 0;
  int shown = 0;
  check.run(*engine, tensors, [&](const CheckResult& result) {
    words += result.words;
    if (result.differ > 0 && shown++ < 20)
      ADD_FAILURE() << result.kernel << ", " << result.cast << ": " << result.differ << " of " << result.words
                    << " words differ; " << result.first;
  });
  EXPECT_GT(words, 100000u);
  testing::Test::RecordProperty("words", static_cast<std::int64_t>(words));
  std::printf("%llu words\n", static_cast<unsigned long long>(words));
}

const KernelCheck& check_of(std::string_view name) { return by_name(kernel_checks(), name, "check"); }

TEST(CudaLoops, Conversions) { expect_equal(check_of("conversions")); }
TEST(CudaLoops, Recipes) { expect_equal(check_of("recipes")); }
TEST(CudaLoops, Casts) { expect_equal(check_of("casts")); }
TEST(CudaLoops, Dequantize) { expect_equal(check_of("dequantize")); }
TEST(CudaLoops, Statistics) { expect_equal(check_of("statistics")); }

// The control: whichever kernel casts another tensor than the emulator is found out.
TEST(CudaLoops, OneWrongElementIsFound) {
  const auto engine = cuda::loops_on_cpu();
  std::vector<CheckTensor> tensors = check_tensors();
  tensors.resize(1);
  ASSERT_EQ(tensors[0].name, "random 256x512");
  tensors[0].stored[77777] ^= 0x40u;
  for (const char* name : {"recipes", "casts", "statistics"}) {
    std::map<std::string, std::uint64_t> differ;
    check_of(name).run(*engine, tensors, [&](const CheckResult& result) {
      if (result.words > 0) differ[result.kernel] += result.differ;
    });
    for (const auto& [kernel, words] : differ) EXPECT_GT(words, 0u) << kernel;
  }
}

}  // namespace
}  // namespace fp8scope
