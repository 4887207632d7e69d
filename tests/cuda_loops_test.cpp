// The loops of the CUDA kernels, run by the CPU: their indexing, their reductions, their edges. What
// only a GPU can show (its conversions, its memory model) is in 'fp8scope validate --gpu'.
#include <gtest/gtest.h>

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

TEST(CudaLoops, Recipes) { expect_equal(kernel_checks()[0]); }
TEST(CudaLoops, Casts) { expect_equal(kernel_checks()[1]); }
TEST(CudaLoops, Dequantize) { expect_equal(kernel_checks()[2]); }
TEST(CudaLoops, Statistics) { expect_equal(kernel_checks()[3]); }

}  // namespace
}  // namespace fp8scope
