// Casts on the GPU, by the device's own clock, against a copy inside its memory.
#include <fmt/format.h>

#include "cuda/device.hpp"
#include "sim/narrow.hpp"
#include "sim/philox.hpp"
#include "sim/recipe.hpp"
#include "src/bench.hpp"
#include "src/device_pass.hpp"
#include "src/errors.hpp"

namespace fp8scope {
namespace {

using cuda::BlockCast;

/// A cast, as a recipe says it or with changes.
struct Row {
  const char* name;
  const char* recipe;
  BlockShape block;             ///< in place of the recipe's, where it is not {-1, -1}
  bool transposed = false, stochastic = false, delayed = false;
};
constexpr BlockShape own{-1, -1};

// To time another kernel or recipe, add a row.
constexpr Row rows[] = {
    {"delayed", "te_delayed", own, false, false, true},
    {"current", "te_current", own},
    {"rowwise", "torchao_rowwise", own},
    {"1x128", "dsv3", own},
    {"1x128_te_pow2", "te_block", own},
    {"1x128_divide", "vllm_group", own},
    {"1x128_e5m2", "dsv3:format=e5m2", own},
    {"1x128_stochastic", "dsv3", own, false, true},
    {"128x1", "dsv3", {128, 1}},
    {"128x1_both", "dsv3", {128, 1}, true},
    {"128x128", "dsv3", {128, 128}},
    {"mxfp8", "mxfp8", own},
    {"mxfp8_stochastic", "mxfp8", own, false, true},
};

/// About N(0, 1) in BF16, with a power of two for each row of a panel.  [panel, cols]
std::vector<std::uint16_t> random_panel(std::int64_t panel, std::int64_t cols) {
  std::vector<std::uint16_t> x;
  x.reserve(static_cast<std::size_t>(panel * cols));
  for (std::int64_t i = 0; i < panel * cols; ++i) {
    const std::uint32_t word = random_bits(1, static_cast<std::uint64_t>(i)).value;
    float sum = -2.0f;
    for (int byte = 0; byte < 4; ++byte) sum += static_cast<float>(word >> (8 * byte) & 0xffu) * 0x1p-8f;
    x.push_back(static_cast<std::uint16_t>(encode(bf16, 1.7f * sum * pow2(static_cast<int>(i / cols % 13) - 6))));
  }
  return x;
}

BlockCast cast_of(const Row& row, const Recipe& recipe) {
  const Plan& plan = recipe.plan();
  BlockCast cast = block_cast(plan, row.block == own ? plan.block : row.block, recipe.block_rule(), 0.0f);
  if (row.stochastic) cast.rule.rounding = Rounding::stochastic;
  cast.transposed = row.transposed;
  return cast;
}

/// What the kernel must read and write: x in BF16, codes, scales as stored. A scale of this step's own tensor needs x twice.
double traffic(const Row& row, const BlockCast& cast, const BlockGrid& grid) {
  const double elements = static_cast<double>(grid.size());
  const double scale = cast.storage == ScaleStorage::e8m0 ? 1.0 : 4.0;
  const double reads = cast.block == BlockShape{} && !row.delayed ? 4.0 : 2.0;
  return elements * (reads + (row.transposed ? 2.0 : 1.0)) + scale * static_cast<double>(grid.blocks());
}

}  // namespace

std::vector<BenchResult> bench_quantizers(cuda::Engine& engine, std::int64_t tensor_rows, std::int64_t cols, int rounds) {
  const std::int64_t panel = std::min<std::int64_t>(tensor_rows, 1024);
  const std::vector<std::uint16_t> x = random_panel(panel, cols);
  const auto tensor = engine.tensor(cuda::Element::bf16, tensor_rows, cols);
  for (std::int64_t first = 0; first < tensor_rows; first += panel) tensor->upload(first, std::min(panel, tensor_rows - first), x.data());
  const double ceiling = engine.copy_rate(static_cast<std::size_t>(tensor_rows * cols) * 2, rounds);
  std::vector<BenchResult> results;
  for (const Row& row : rows) {
    const auto recipe = make_recipe(row.recipe, {Role::activation, bf16});
    const BlockCast cast = cast_of(row, *recipe);
    const BlockGrid grid(tensor_rows, cols, cast.block);
    const auto state = engine.delayed({});
    const double seconds = row.delayed ? tensor->seconds_delayed(cast, *state, rounds) : tensor->seconds(cast, rounds);
    const double rate = seconds > 0.0 ? traffic(row, cast, grid) / seconds : 0.0;
    results.push_back({fmt::format("{}_{}x{}", row.name, tensor_rows, cols), 0, 1e-9 * rate, 1e-9 * ceiling, ceiling > 0.0 ? rate / ceiling : 0.0,
                       {{"microseconds", 1e6 * seconds}, {"bytes_per_element", traffic(row, cast, grid) / static_cast<double>(grid.size())}}});
  }
  return results;
}

std::vector<BenchResult> bench_gpu_quantize(const BenchOptions& bench) {
  if (cuda::device_count() == 0) throw SkippedError(fmt::format("bench gpu_quantize: skipped, no GPU: {}", cuda::why_none()));
  const auto engine = cuda::gpu_engine();
  std::vector<BenchResult> results;
  for (const std::int64_t tensor_rows : {131072, 32768})
    for (BenchResult& result : bench_quantizers(*engine, tensor_rows, 4096, bench.rounds)) results.push_back(std::move(result));
  return results;
}

}  // namespace fp8scope
