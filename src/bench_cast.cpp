#include <random>

#include "sim/simd/cast.hpp"
#include "src/bench.hpp"

namespace fp8scope {
namespace {

/// Normally distributed values over a few octaves, as activations are.
std::vector<float> sample(std::size_t n) {
  std::mt19937 random(1);
  std::normal_distribution<float> normal(0.0f, 20.0f);
  std::vector<float> some(1 << 16), x(n);
  for (float& v : some) v = normal(random);
  for (std::size_t i = 0; i < n; ++i) x[i] = some[(i * 7 + (i >> 16)) & 0xffff];
  return x;
}

/// Where the codes go: aligned, as any allocator for large arrays does.
struct Codes {
  explicit Codes(std::size_t n) : storage(n + 64) {
    const auto at = reinterpret_cast<std::uintptr_t>(storage.data());
    codes = std::span(storage).subspan((64 - at % 64) % 64, n);
  }
  std::vector<std::uint8_t> storage;
  std::span<std::uint8_t> codes;
};

double gbps(std::size_t n, double seconds) { return static_cast<double>(n) * 4e-9 / seconds; }

BenchResult cast_speed(const char* name, const Format& f, int threads, const BenchOptions& options) {
  const std::size_t n = options.bytes / 4;
  const std::vector<float> x = sample(n);
  Codes out(n);
  const auto part = [&](auto&& work) {
    return [&, work] {
      in_parts(threads, n, 4096, [&](std::size_t first, std::size_t count) {
        work(std::span(x).subspan(first, count), out.codes.subspan(first, count));
      });
    };
  };
  const std::vector<double> seconds = median_seconds(
      options.rounds, {part([](auto from, auto to) { copy_top_bytes(from, to); }),
                       part([&f](auto from, auto to) { encode_all(f, {}, from, 1.0f, to); })});
  BenchResult result{name, threads, gbps(n, seconds[1]), gbps(n, seconds[0]), {}};
  // NVIDIA's conversion is so much slower that a part of the array is enough.
  const std::size_t few = std::min<std::size_t>(n, 1 << 20);
  if (cuda_header_encode(f == e5m2, x.data(), 1, out.codes.data())) {
    const auto header = median_seconds(3, {[&] {
      in_parts(threads, few, 4096, [&](std::size_t first, std::size_t count) {
        cuda_header_encode(f == e5m2, x.data() + first, count, out.codes.data() + first);
      });
    }});
    result.extra.push_back({"cuda_header_speedup", result.gbps / gbps(few, header[0])});
  }
  return result;
}

BenchResult tile_speed(const char* name, int threads, const BenchOptions& options) {
  constexpr std::int64_t width = 128, cols = 4096;
  const std::size_t rows = options.bytes / 4 / cols, n = rows * cols;
  const std::vector<float> x = sample(n);
  Codes out(n);
  std::vector<Scales> scales(n / width);
  ScaleRule rule;
  rule.kind = ScaleRule::Kind::deepseek;
  rule.floor = 1e-4f;
  const auto cast = [&] {
    in_parts(threads, n, cols, [&](std::size_t first, std::size_t count) {
      quantize_tiles(e4m3, {}, rule, AmaxRule::propagate_nan, static_cast<std::int64_t>(count / cols), cols, width,
                     std::span(x).subspan(first, count), out.codes.subspan(first, count),
                     std::span(scales).subspan(first / width, count / width));
    });
  };
  const auto ceiling = [&] {
    in_parts(threads, n, cols, [&](std::size_t first, std::size_t count) {
      copy_top_bytes(std::span(x).subspan(first, count), out.codes.subspan(first, count));
    });
  };
  const auto seconds = median_seconds(options.rounds, {ceiling, cast});
  return {name, threads, gbps(n, seconds[1]), gbps(n, seconds[0]), {}};
}

}  // namespace

std::vector<BenchResult> bench_cast(const BenchOptions& options) {
  std::vector<BenchResult> results;
  for (const int threads : options.threads) {
    results.push_back(cast_speed("cast_e4m3", e4m3, threads, options));
    results.push_back(cast_speed("cast_e5m2", e5m2, threads, options));
  }
  return results;
}

std::vector<BenchResult> bench_tile(const BenchOptions& options) {
  std::vector<BenchResult> results;
  for (const int threads : options.threads) results.push_back(tile_speed("tile_1x128_e4m3", threads, options));
  return results;
}

}  // namespace fp8scope
