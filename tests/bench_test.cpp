#include <gtest/gtest.h>

#include <atomic>

#include "sim/names.hpp"
#include "src/bench.hpp"

namespace fp8scope {
namespace {

TEST(Bench, EverySuiteMeasuresEveryThreadCountAndGivesPositiveFigures) {
  for (const BenchSuite& suite : bench_suites()) {
    if (suite.name != "cast" && suite.name != "tile") continue;
    for (const BenchResult& r : suite.run({{1, 2}, 1 << 20, 2, FP8SCOPE_SOURCE "/notebooks-data/traces/smollm2.h5"})) {
      EXPECT_TRUE(r.threads == 1 || r.threads == 2) << r.name;
      EXPECT_GT(r.gbps, 0) << r.name;
      EXPECT_GT(r.ceiling_gbps, 0) << r.name;
      EXPECT_GT(r.ratio, 0) << r.name;
    }
  }
}

/// Without a GPU the same casts run by the CPU, and no rate is claimed.
TEST(Bench, EveryCastOfTheGpuSuiteRunsAndCountsItsBytes) {
  const auto loops = cuda::loops_on_cpu();
  const std::vector<BenchResult> results = bench_quantizers(*loops, 256, 512, 1);
  ASSERT_GT(results.size(), 10u);
  for (const BenchResult& r : results) {
    EXPECT_EQ(r.gbps, 0.0) << r.name;
    EXPECT_EQ(r.ratio, 0.0) << r.name;
    ASSERT_EQ(r.extras[1].name, "bytes_per_element");
    EXPECT_GE(r.extras[1].value, 3.0) << r.name;
    EXPECT_LE(r.extras[1].value, 5.01) << r.name;
  }
  EXPECT_NEAR(find_by_name(results, "1x128_256x512")->extras[1].value, 3.03125, 1e-9);
  EXPECT_NEAR(find_by_name(results, "mxfp8_256x512")->extras[1].value, 3.03125, 1e-9);
  EXPECT_NEAR(find_by_name(results, "128x1_both_256x512")->extras[1].value, 4.03125, 1e-9);
  EXPECT_NEAR(find_by_name(results, "delayed_256x512")->extras[1].value, 3.0, 1e-4);
  EXPECT_NEAR(find_by_name(results, "current_256x512")->extras[1].value, 5.0, 1e-4);
}

TEST(Bench, ARaceRunsEveryElementOncePerRoundWhateverTheThreads) {
  for (const int threads : {1, 2, 3}) {
    std::atomic<std::size_t> elements = 0;
    const auto count = [&](std::size_t begin, std::size_t end) { elements += end - begin; };
    const Contender all{count, 10000};
    const auto times = race({all, all}, threads, 3);
    EXPECT_EQ(elements, 2u * 4u * 10000u) << threads;  // one more round than is counted
    ASSERT_EQ(times.size(), 2u);
    EXPECT_EQ(times[0].size(), 3u);
  }
}

TEST(Bench, ResultsAreMediansAgainstTheFastestCeilingOfTheSameRound) {
  const std::vector<std::vector<double>> ceilings = {{4e-9, 8e-9, 4e-9}, {1e-9, 2e-9, 1e-9}};
  const BenchResult r = result_of("x", 1, {2e-9, 2e-9, 4e-9}, ceilings);
  EXPECT_DOUBLE_EQ(r.gbps, 2.0);
  EXPECT_DOUBLE_EQ(r.ceiling_gbps, 4.0);
  EXPECT_DOUBLE_EQ(r.ratio, 0.5);  // of 0.5, 1 and 0.25
  EXPECT_DOUBLE_EQ(median({1, 9, 3, 5}), 4.0);
}

}  // namespace
}  // namespace fp8scope
