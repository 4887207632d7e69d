#include <fmt/format.h>

#include <fstream>
#include <nlohmann/json.hpp>
#include <thread>

#include "sim/names.hpp"
#include "sim/simd/isa.hpp"
#include "src/bench.hpp"
#include "src/errors.hpp"
#include "src/options.hpp"
#include "src/run_options.hpp"
#include "src/version.hpp"

namespace fp8scope {

namespace {

using nlohmann::ordered_json;

std::string cpu_model() {
  std::ifstream file("/proc/cpuinfo");
  for (std::string line; std::getline(file, line);)
    if (line.starts_with("model name")) return line.substr(line.find(':') + 2);
  return "unknown";
}

std::vector<int> thread_counts(const Options& options) {
  if (!options.has("threads")) return {1, 2};
  std::vector<int> counts;
  for (const std::string& word : options.list("threads")) {
    const std::uint64_t count = parse_number(word, "--threads");
    if (count < 1 || count > 1024)
      throw UsageError(fmt::format("--threads {}: a bench runs on 1 to 1024 threads", count));
    counts.push_back(static_cast<int>(count));
  }
  return counts;
}

BenchOptions bench_options(const Options& options) {
  // A replay is long: its speed needs a gigabyte of trace, not many rounds.
  const bool replay = options.words().front() == "replay", gemm = options.words().front() == "gemm";
  const std::uint64_t mib = options.number_or("mib", replay ? 1024 : gemm ? 16 : 64);
  const std::uint64_t rounds = options.number_or("rounds", replay ? 3 : 31);
  if (mib < 1 || mib > 1u << 16) throw UsageError("--mib: between 1 and 65536");
  if (rounds < 1 || rounds > 10000) throw UsageError("--rounds: between 1 and 10000");
  return {thread_counts(options), mib << 20, static_cast<int>(rounds),
          options.text_or("trace", "notebooks-data/traces/smollm2.h5")};
}

ordered_json json_of(const BenchResult& r) {
  ordered_json row{{"name", r.name},   {"threads", r.threads},           {"gbps", r.gbps},
                   {"ceiling_gbps", r.ceiling_gbps}, {"ratio", r.ratio}};
  for (const BenchExtra& extra : r.extras) row[extra.name] = extra.value;
  return row;
}

void print_json(const BenchSuite& suite, const std::vector<BenchResult>& results,
                const BenchOptions& options) {
  ordered_json machine{{"cpu", cpu_model()},
                       {"processors", std::thread::hardware_concurrency()},
                       {"isa", isa_name(isa())},
                       {"compiler", compiler},
                       {"version", version},
                       {"commit", git_commit}};
  ordered_json rows = ordered_json::array();
  for (const BenchResult& r : results) rows.push_back(json_of(r));
  const ordered_json out{{"schema", "fp8scope-bench-1"},
                         {"machine", machine},
                         {"unit", suite.unit},
                         {"input_bytes", options.bytes},
                         {"rounds", options.rounds},
                         {"results", rows}};
  fmt::print("{}\n", out.dump(2));
}

void print_table(const BenchSuite& suite, const std::vector<BenchResult>& results) {
  fmt::print("{} with {}\n", cpu_model(), isa_name(isa()));
  fmt::print("{:24} {:>7} {:>8} {:>8} {:>6}\n", "bench", "threads", suite.unit, "ceiling", "ratio");
  for (const BenchResult& r : results) {
    fmt::print("{:24} {:>7} {:>8.1f} {:>8.1f} {:>6.2f}", r.name, r.threads, r.gbps, r.ceiling_gbps,
               r.ratio);
    for (const BenchExtra& extra : r.extras) fmt::print("  {} {:.1f}", extra.name, extra.value);
    fmt::print("\n");
  }
}

}  // namespace

int run_bench(const Args& args) {
  Options options("bench", "SUITE");
  options.add("threads,j", "LIST", "thread counts, each measured on its own (default 1,2)");
  options.add("mib", "N", "MiB of binary32 input (default 64)");
  options.add("rounds", "N", "times every function is timed (default 31)");
  options.add("isa", "NAME", "vector instructions: auto (default), scalar, sse4, avx2, avx512");
  options.add("trace", "FILE", "trace that the suite replay repeats (default: the bundled one)");
  options.flag("json", "print one JSON object");
  if (!options.parse(args)) return 0;

  const BenchSuite& suite = by_name(bench_suites(), options.words().front(), "bench");
  const BenchOptions wanted = bench_options(options);
  use_isa(options);
  const std::vector<BenchResult> results = suite.run(wanted);
  if (options.has("json")) print_json(suite, results, wanted);
  else print_table(suite, results);
  return 0;
}

}  // namespace fp8scope
