#include "src/bench.hpp"

#include <algorithm>
#include <atomic>
#include <ctime>
#include <thread>

namespace fp8scope {

namespace {

// To add a suite: its own bench_NAME.cpp, a declaration in bench.hpp, and a row here.
constexpr BenchSuite table[] = {
    {"cast", "binary32 to E4M3 and E5M2", "GB/s", bench_cast},
    {"tile", "amax, scale and cast of 1x128 tiles in one pass", "GB/s", bench_tile},
    {"replay", "all recipes with all statistics over a trace held in memory", "GB/s", bench_replay},
    {"recipes", "forty recipes over one tensor at once against one after the other", "GB/s", bench_recipes},
    {"families", "replays of one recipe: tensor-wise (the ceiling), 1x128, MX-32, NVFP4 with Hadamard", "GB/s",
     bench_families},
    {"gemm", "matrix products of every kind of unit, against Eigen's SGEMM", "GMAC/s", bench_gemm},
    {"gpu_gemm", "emulated products on the GPU, and Hopper's own against cuBLASLt", "GMAC/s", bench_gpu_gemm},
    {"gpu_quantize", "casts of BF16 tensors on the GPU, against a copy inside its memory; bytes read and written", "GB/s", bench_gpu_quantize},
    {"train", "training steps of the 0.9 M model, every thread a run of its own; BF16 against Eigen's products, the rest against BF16",
     "ktok/s", bench_train},
};

double thread_seconds() {
  timespec t{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
  return static_cast<double>(t.tv_sec) + 1e-9 * static_cast<double>(t.tv_nsec);
}

double time_once(const Contender& contender, int threads) {
  const auto count = static_cast<std::size_t>(threads);
  const std::size_t part = (contender.elements / count + 4095) / 4096 * 4096;
  std::vector<double> seconds(count);
  std::atomic<int> waiting = threads;
  const auto work = [&](std::size_t k) {
    const std::size_t begin = std::min(k * part, contender.elements);
    const std::size_t end = std::min(begin + part, contender.elements);
    // All begin together: they compete for memory from the first byte to the last.
    for (--waiting; waiting > 0;) std::this_thread::yield();
    const double start = thread_seconds();
    contender.run(begin, end);
    seconds[k] = thread_seconds() - start;
  };
  {
    std::vector<std::jthread> others;
    for (std::size_t k = 1; k < count; ++k) others.emplace_back(work, k);
    work(0);
  }
  return *std::ranges::max_element(seconds);
}

}  // namespace

std::span<const BenchSuite> bench_suites() { return table; }

std::vector<std::vector<double>> race(const std::vector<Contender>& contenders, int threads,
                                      int rounds) {
  std::vector<std::vector<double>> times(contenders.size());
  for (int round = -1; round < rounds; ++round)
    for (std::size_t c = 0; c < contenders.size(); ++c) {
      const double seconds = time_once(contenders[c], threads);
      if (round >= 0) times[c].push_back(seconds / static_cast<double>(contenders[c].elements));
    }
  return times;
}

double median(std::vector<double> values) {
  std::ranges::sort(values);
  const std::size_t n = values.size();
  return (values[(n - 1) / 2] + values[n / 2]) / 2;
}

double median_speedup(const std::vector<double>& own, const std::vector<double>& other) {
  std::vector<double> ratios;
  for (std::size_t i = 0; i < own.size(); ++i) ratios.push_back(other[i] / own[i]);
  return median(ratios);
}

BenchResult result_of(std::string name, int threads, const std::vector<double>& times,
                      std::span<const std::vector<double>> ceilings) {
  const auto gbps = [](const std::vector<double>& t) { return 4e-9 / median(t); };
  const auto& ceiling = *std::ranges::max_element(ceilings, {}, gbps);
  return {std::move(name), threads,   gbps(times),
          gbps(ceiling),   median_speedup(times, ceiling), {}};
}

}  // namespace fp8scope
