#include "src/bench.hpp"
#include "src/bench_data.hpp"

namespace fp8scope {

namespace {

constexpr std::int64_t tile = 128;

// scale = 448 / max(amax, 1e-4), the rule of DeepSeek-V3's activations.
void scales_of(std::span<const float> amax, std::span<float> scale, std::span<float> scale_inv) {
  for (std::size_t t = 0; t < amax.size(); ++t) {
    const float bounded = amax[t] > 1e-4f ? amax[t] : 1e-4f;
    scale[t] = 448.0f / bounded;
    scale_inv[t] = bounded / 448.0f;
  }
}

}  // namespace

std::vector<BenchResult> bench_tile(const BenchOptions& options) {
  const BenchData data(options.bytes);
  std::vector<float> scale(data.size() / tile), scale_inv(scale.size());
  const TileScales rule = scales_of;
  std::vector<Contender> contenders = data.ceilings();
  contenders.push_back(
      {[&](std::size_t begin, std::size_t end) {
         const std::size_t first = begin / tile, count = (end - begin) / tile;
         quantize_tiles(e4m3, {}, data.x(begin, end), tile, AmaxRule::ignore_nan, rule,
                        std::span(scale).subspan(first, count),
                        std::span(scale_inv).subspan(first, count), data.codes(begin, end),
                        {Isa::automatic, Stores::streaming});
       },
       data.size()});
  std::vector<BenchResult> results;
  for (const int threads : options.threads) {
    const auto times = race(contenders, threads, options.rounds);
    results.push_back(
        result_of("tile_1x128_e4m3", threads, times[2], std::span(times).first(2)));
  }
  return results;
}

}  // namespace fp8scope
