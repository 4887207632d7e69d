#include "src/bench.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <fstream>
#include <thread>

namespace fp8scope {

std::vector<double> median_seconds(int rounds, const std::vector<std::function<void()>>& works) {
  using Clock = std::chrono::steady_clock;
  std::vector<std::vector<double>> seconds(works.size());
  for (const auto& work : works) work();  // pages, caches, clocks
  for (int round = 0; round < rounds; ++round)
    for (std::size_t i = 0; i < works.size(); ++i) {
      const auto start = Clock::now();
      works[i]();
      seconds[i].push_back(std::chrono::duration<double>(Clock::now() - start).count());
    }
  std::vector<double> medians;
  for (auto& times : seconds) {
    const auto middle = times.begin() + times.size() / 2;
    std::nth_element(times.begin(), middle, times.end());
    medians.push_back(*middle);
  }
  return medians;
}

void in_parts(int threads, std::size_t n, std::size_t grain,
              const std::function<void(std::size_t, std::size_t)>& work) {
  const std::size_t grains = n / grain;
  const auto part = [&](int t) {
    const std::size_t first = grains * t / threads * grain;
    const std::size_t last = t + 1 == threads ? n : grains * (t + 1) / threads * grain;
    work(first, last - first);
  };
  std::vector<std::thread> others;
  for (int t = 1; t < threads; ++t) others.emplace_back(part, t);
  part(0);
  for (std::thread& other : others) other.join();
}

std::string machine_name() {
  std::ifstream file("/proc/cpuinfo");
  std::string line, model = "unknown processor";
  while (std::getline(file, line))
    if (line.starts_with("model name")) {
      model = line.substr(line.find(':') + 2);
      break;
    }
  return fmt::format("{}, {} processors", model, std::thread::hardware_concurrency());
}

}  // namespace fp8scope
