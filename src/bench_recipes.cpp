#include <algorithm>
#include <cmath>
#include <ctime>

#include "sim/hadamard.hpp"
#include "sim/recipes/record.hpp"
#include "src/bench.hpp"
#include "src/replay.hpp"

namespace fp8scope {
namespace {

/// Processor time of this program: what other programs take is not counted.
double processor_seconds() {
  timespec t{};
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
  return static_cast<double>(t.tv_sec) + 1e-9 * static_cast<double>(t.tv_nsec);
}

/// One activation in memory, used by fprop along its columns and by wgrad along its rows.
struct OneTensor {
  explicit OneTensor(std::int64_t rows) {
    info.layer = "L0", info.operand = "x", info.format = bf16, info.dtype = "bfloat16";
    info.steps = 1, info.rows = info.rows_total = rows, info.cols = 4096;
    info.gemms = {{"fprop", 2}, {"wgrad", 1}};
    std::uint32_t state = 1;
    x.resize(static_cast<std::size_t>(rows * info.cols));
    for (float& v : x) {  // a sum of four uniform numbers, in octaves that differ from row to row
      float sum = -2.0f;
      for (int i = 0; i < 4; ++i) state = state * 1664525u + 1013904223u, sum += static_cast<float>(state >> 8) * 0x1p-24f;
      v = to_bf16(std::ldexp(sum, static_cast<int>(&v - x.data()) / 4096 % 7));
    }
  }
  ReplayInput input() const {
    return {"bench", {&info, 1}, {&step, 1}, nullptr,
            [this](std::size_t, std::size_t, std::int64_t first, std::int64_t count, float* out) {
              std::copy_n(x.data() + first * info.cols, count * info.cols, out);
            }};
  }

  TensorInfo info;
  std::int64_t step = 0;
  std::vector<float> x;
};

/// Every row of recipes(), and some of their options: forty.
std::vector<std::string> forty_recipes() {
  std::vector<std::string> specs;
  for (const NamedRecipe& row : recipes()) specs.emplace_back(row.name);
  for (const char* more : {"dsv3:scales=ue8m0", "te_block:scales=fp32", "mxfp8:scale=floor", "te_current:pow2=1",
                           "torchao_mx:scale=even", "te_delayed:amax_history_len=16", "tilekernels:scales=round_sf"})
    if (specs.size() < 40) specs.emplace_back(more);
  specs.resize(40);
  return specs;
}

std::int64_t tensor_rows(const BenchOptions& options) {
  return static_cast<std::int64_t>(std::max<std::uint64_t>(16, options.bytes / 4 / 4096 / 16 * 16));
}

double replay_seconds(const ReplayInput& input, const ReplayOptions& options) {
  const double start = processor_seconds();
  replay(input, options, [](const ReplayItem&) {});
  return (processor_seconds() - start) / options.threads;
}

}  // namespace

std::vector<BenchResult> bench_recipes(const BenchOptions& options) {
  const OneTensor tensor(tensor_rows(options));
  const ReplayInput input = tensor.input();
  const double elements = static_cast<double>(tensor.x.size());
  const std::vector<std::string> all = forty_recipes();
  std::vector<BenchResult> results;
  for (const int threads : options.threads) {
    ReplayOptions together;
    together.threads = threads;
    together.recipes = all;
    // In every round each recipe alone, then all at once: the ratio is of neighbours in time.
    std::vector<double> alone, at_once;
    for (int round = 0; round < options.rounds; ++round) {
      double sum = 0.0;
      for (const std::string& spec : all) {
        ReplayOptions one = together;
        one.recipes = {spec};
        sum += replay_seconds(input, one);
      }
      alone.push_back(sum / elements / 40.0);
      at_once.push_back(replay_seconds(input, together) / elements / 40.0);
    }
    BenchResult shared = result_of("replay_40_recipes", threads, at_once, {&alone, 1});
    std::vector<double> ratios;
    for (std::size_t i = 0; i < alone.size(); ++i) ratios.push_back(at_once[i] / alone[i]);
    shared.extras = {{"percent_of_40_replays", 100.0 * median(ratios)},
                     {"gelement_recipes_per_s", 1e-9 / median(at_once)}};
    results.push_back(std::move(shared));
  }
  return results;
}

std::vector<BenchResult> bench_families(const BenchOptions& options) {
  struct Row {
    const char *name, *recipe, *gemm;
  };
  // wgrad is where NVFP4 transforms: blocks of 16 rows there, so each scale belongs to one column.
  static constexpr Row rows[] = {{"tensor_wise", "te_current", "fprop"},
                                 {"tile_1x128", "dsv3", "fprop"},
                                 {"mx_1x32", "mxfp8", "fprop"},
                                 {"nvfp4_hadamard", "te_nvfp4", "wgrad"}};
  const OneTensor tensor(tensor_rows(options));
  const ReplayInput input = tensor.input();
  const double elements = static_cast<double>(tensor.x.size());
  std::vector<BenchResult> results;
  for (const int threads : options.threads) {
    std::vector<std::vector<double>> seconds(std::size(rows));
    for (int round = 0; round < options.rounds; ++round)
      for (std::size_t i = 0; i < std::size(rows); ++i) {
        ReplayOptions one;
        one.threads = threads, one.recipes = {rows[i].recipe}, one.gemms = rows[i].gemm;
        seconds[i].push_back(replay_seconds(input, one) / elements);
      }
    for (std::size_t i = 0; i < std::size(rows); ++i) {
      BenchResult result = result_of(rows[i].name, threads, seconds[i], {&seconds[0], 1});
      result.extras = {{"melements_per_s_per_core", 1e-6 / median(seconds[i]) / threads}};
      results.push_back(std::move(result));
    }
  }
  return results;
}

}  // namespace fp8scope
