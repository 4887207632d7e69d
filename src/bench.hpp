#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "cuda/engine.hpp"
#include "src/command.hpp"

namespace fp8scope {

/// What a bench is asked to do.
struct BenchOptions {
  std::vector<int> threads;  ///< thread counts, each measured on its own
  std::uint64_t bytes;       ///< of binary32 input
  int rounds;                ///< each times every contender once
  std::string trace;         ///< file that the suite replay repeats
};

/// A figure beyond those every result has.
struct BenchExtra {
  std::string name;
  double value;
};

/// One measured function. Bytes are those of the binary32 input; of a matrix product, where the unit
/// of the suite says so, products take the place of bytes.
struct BenchResult {
  std::string name;
  int threads;
  double gbps;          ///< median over the rounds, 1e9 bytes per second
  double ceiling_gbps;  ///< of the same rounds
  double ratio;         ///< median over the rounds of ceiling time / own time
  std::vector<BenchExtra> extras;
};

/// A group of results under one name on the command line.
struct BenchSuite {
  std::string_view name;
  std::string_view summary;
  std::string_view unit;  ///< of the rates: "GB/s", "GMAC/s" (1e9 products per second), "ktok/s"
  std::vector<BenchResult> (*run)(const BenchOptions&);
};

/// All of them. To add one: its own bench_NAME.cpp, a declaration below, and a row in bench.cpp.
std::span<const BenchSuite> bench_suites();

std::vector<BenchResult> bench_cast(const BenchOptions&);
std::vector<BenchResult> bench_tile(const BenchOptions&);
std::vector<BenchResult> bench_replay(const BenchOptions&);
std::vector<BenchResult> bench_recipes(const BenchOptions&);
std::vector<BenchResult> bench_families(const BenchOptions&);
std::vector<BenchResult> bench_gemm(const BenchOptions&);
std::vector<BenchResult> bench_gpu_gemm(const BenchOptions&);
std::vector<BenchResult> bench_gpu_quantize(const BenchOptions&);
std::vector<BenchResult> bench_train(const BenchOptions&);

/// Every cast of bench_gpu_quantize() on one size of tensor. Rates count the bytes that a kernel must read and write; the ceiling is
/// a copy inside the device's memory. 0 where the engine has no clock.
std::vector<BenchResult> bench_quantizers(cuda::Engine& engine, std::int64_t tensor_rows, std::int64_t cols, int rounds);

/// A function that takes part in a bench: processes elements [begin, end) of its data. Several
/// threads call it at once, on parts that begin at multiples of 4096.
struct Contender {
  std::function<void(std::size_t begin, std::size_t end)> run;
  std::size_t elements;  ///< in a round
};

/// Seconds per element of every contender in every round, [contenders][rounds]. A round times each
/// contender once, in order, after one round that is not counted. The time of several threads is
/// the processor time of the one that used most: what other programs take is not counted.
std::vector<std::vector<double>> race(const std::vector<Contender>& contenders, int threads,
                                      int rounds);

/// Middle value; of an even number, the mean of both. Requires at least one.
double median(std::vector<double> values);

/// median of (other[i] / own[i]): how many times faster `own` is.
double median_speedup(const std::vector<double>& own, const std::vector<double>& other);

/// A result of `times` against the fastest of the ceilings, all in seconds per binary32 element.
BenchResult result_of(std::string name, int threads, const std::vector<double>& times,
                      std::span<const std::vector<double>> ceilings);

}  // namespace fp8scope
