#include "sim/scale_primitives.hpp"
#include "src/bench.hpp"
#include "src/bench_data.hpp"

namespace fp8scope {

namespace {

// scale = 448 / max(amax, 1e-4), the rule of DeepSeek-V3's activations.
void scales_of(std::span<const float> amax, std::span<float> scale, std::span<float> scale_inv) {
  for (std::size_t t = 0; t < amax.size(); ++t) {
    const float bounded = amax[t] > 1e-4f ? amax[t] : 1e-4f;
    scale[t] = 448.0f / bounded;
    scale_inv[t] = bounded / 448.0f;
  }
}

// E8M0 rounded up, the rule of Transformer Engine's MXFP8.
void mx_scales_of(std::span<const float> amax, std::span<float> scale, std::span<float> scale_inv) {
  for (std::size_t t = 0; t < amax.size(); ++t) {
    const std::uint32_t code = e8m0_ceil(amax[t] * (1.0f / 448.0f), 254);
    scale[t] = e8m0_reciprocal(code);
    scale_inv[t] = pow2(static_cast<int>(code) - 127);
  }
}

/// A fused cast. To add one, add a row.
struct FusedTile {
  const char* name;
  std::int64_t tile;
  void (*scales)(std::span<const float> amax, std::span<float> scale, std::span<float> scale_inv);
};
constexpr FusedTile fused_tiles[] = {
    {"tile_1x128_e4m3", 128, scales_of},
    {"tile_1x32_mxfp8", 32, mx_scales_of},
};

}  // namespace

std::vector<BenchResult> bench_tile(const BenchOptions& options) {
  const BenchData data(options.bytes);
  std::vector<float> scale(data.size() / 32), scale_inv(scale.size());
  std::vector<Contender> contenders = data.ceilings();
  for (const FusedTile& fused : fused_tiles) {
    const TileScales rule = fused.scales;
    contenders.push_back({[&, rule, tile = fused.tile](std::size_t begin, std::size_t end) {
                            const std::size_t first = begin / tile, count = (end - begin) / tile;
                            quantize_tiles(e4m3, {}, data.x(begin, end), tile, AmaxRule::ignore_nan, rule,
                                           std::span(scale).subspan(first, count),
                                           std::span(scale_inv).subspan(first, count), data.codes(begin, end),
                                           {Isa::automatic, Stores::streaming});
                          },
                          data.size()});
  }
  std::vector<BenchResult> results;
  for (const int threads : options.threads) {
    const auto times = race(contenders, threads, options.rounds);
    for (std::size_t i = 0; i < std::size(fused_tiles); ++i)
      results.push_back(result_of(fused_tiles[i].name, threads, times[2 + i], std::span(times).first(2)));
  }
  return results;
}

}  // namespace fp8scope
