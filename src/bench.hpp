#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

namespace fp8scope {

struct BenchOptions {
  std::vector<int> threads{1, 2};
  std::uint64_t bytes = 64u << 20;  ///< of binary32 input
  int rounds = 15;
  std::string trace = "notebooks-data/traces/smollm2.h5";  ///< of bench_replay
};

/// One speed, against a ceiling measured in turns with it.
struct BenchResult {
  std::string name;
  int threads;
  double gbps;          ///< bytes of binary32 input per second, 10^9
  double ceiling_gbps;  ///< the same of what limits it on this machine
  /// Another figure of the same run.
  struct Extra {
    std::string name;
    double value;
  };
  std::vector<Extra> extra;
};

/// Suites of measurements. To add one: its own bench_NAME.cpp, a declaration here, a row in cmd_bench.cpp.
std::vector<BenchResult> bench_cast(const BenchOptions& options);
std::vector<BenchResult> bench_tile(const BenchOptions& options);
std::vector<BenchResult> bench_replay(const BenchOptions& options);

/// Seconds that each of the works takes: medians over rounds in which they take turns, so that a
/// disturbance meets all of them.
std::vector<double> median_seconds(int rounds, const std::vector<std::function<void()>>& works);

/// Runs work(first, count) on `threads` threads over `n` elements in equal parts of whole `grain`s.
void in_parts(int threads, std::size_t n, std::size_t grain,
              const std::function<void(std::size_t first, std::size_t count)>& work);

/// NVIDIA's own host conversion to E4M3 or E5M2, one element after another; false where the program
/// was built without the CUDA headers.
bool cuda_header_encode(bool e5m2, const float* x, std::size_t n, std::uint8_t* codes);

/// "AMD EPYC ..., 2 processors".
std::string machine_name();

}  // namespace fp8scope
