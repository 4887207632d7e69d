#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "sim/names.hpp"
#include "src/bench.hpp"
#include "src/command.hpp"
#include "src/errors.hpp"
#include "src/options.hpp"
#include "src/run_options.hpp"

namespace fp8scope {
namespace {

struct Suite {
  std::string_view name;
  std::vector<BenchResult> (*run)(const BenchOptions&);
  std::uint64_t bytes;  ///< of input, unless asked for otherwise
};

constexpr Suite suites[] = {
    {"cast", bench_cast, 64u << 20},
    {"tile", bench_tile, 64u << 20},
    {"replay", bench_replay, 1u << 30},
};

void print_json(const std::vector<BenchResult>& results, Isa isa) {
  nlohmann::ordered_json list = nlohmann::ordered_json::array();
  for (const BenchResult& r : results) {
    nlohmann::ordered_json one{{"name", r.name}, {"threads", r.threads}, {"gbps", r.gbps},
                               {"ceiling_gbps", r.ceiling_gbps}, {"ratio", r.gbps / r.ceiling_gbps}};
    for (const auto& extra : r.extra) one[extra.name] = extra.value;
    list.push_back(std::move(one));
  }
  const nlohmann::ordered_json all{{"schema", "fp8scope-bench-1"}, {"machine", machine_name()},
                                   {"isa", isa_name(isa)}, {"results", list}};
  fmt::print("{}\n", all.dump(2));
}

void print_text(const std::vector<BenchResult>& results, Isa isa) {
  fmt::print("{}, {}\n{:24} {:>7} {:>8} {:>8} {:>6}\n", machine_name(), isa_name(isa), "name", "threads", "GB/s",
             "ceiling", "ratio");
  for (const BenchResult& r : results) {
    fmt::print("{:24} {:>7} {:>8.2f} {:>8.2f} {:>6.3f}", r.name, r.threads, r.gbps, r.ceiling_gbps,
               r.gbps / r.ceiling_gbps);
    for (const auto& extra : r.extra) fmt::print("  {} {:.3g}", extra.name, extra.value);
    fmt::print("\n");
  }
}

}  // namespace

int run_bench(const Args& args) {
  Options options("bench", "SUITE");
  options.add("threads,j", "A,B,...", "thread counts, default 1,2");
  options.add("isa", "NAME", "vector instructions: auto (default), scalar, sse4, avx2, avx512");
  options.add("mib", "N", "MiB of input; default 64, for replay 1024 of the trace's own bytes");
  options.add("rounds", "N", "rounds of which the median counts, default 15");
  options.add("trace", "FILE", "trace of the suite replay, default notebooks-data/traces/smollm2.h5");
  options.flag("json", "one JSON object, schema fp8scope-bench-1");
  if (!options.parse(args)) return 0;
  const Suite& suite = by_name(suites, options.words()[0], "suite");
  BenchOptions bench;
  bench.bytes = options.number_or("mib", suite.bytes >> 20) << 20;
  bench.rounds = static_cast<int>(options.number_or("rounds", 15));
  bench.trace = options.text_or("trace", bench.trace);
  if (bench.bytes == 0 || bench.rounds == 0) throw UsageError("bench: --mib and --rounds must be at least 1");
  if (options.has("threads")) {
    bench.threads.clear();
    for (const std::string& word : options.list("threads"))
      bench.threads.push_back(static_cast<int>(std::max<std::uint64_t>(1, parse_number(word, "--threads"))));
  }
  const Isa isa = use_isa(options);
  const auto results = suite.run(bench);
  options.has("json") ? print_json(results, isa) : print_text(results, isa);
  return 0;
}

}  // namespace fp8scope
