#include <algorithm>
#include <cstring>
#include <random>

#include "sim/models.hpp"
#include "sim/simd/gemm.hpp"
#include "sim/simd/isa.hpp"
#include "src/bench.hpp"
#include "src/bench_eigen.hpp"

namespace fp8scope {
namespace {

/// One model on one format: A and B both.
struct Row {
  const char* name;
  const char* model;
  const char* format;
  const char* output;
  std::size_t promote_every;
};

constexpr Row rows[] = {
    {"gemm_hopper_wgmma", "hopper_wgmma", "e4m3", "f32", 0},
    {"gemm_hopper_wgmma_n128", "hopper_wgmma", "e4m3", "f32", 128},
    {"gemm_hopper_wgmma_e5m2", "hopper_wgmma", "e5m2", "f32", 0},
    {"gemm_hopper_wgmma_f16", "hopper_wgmma", "e4m3", "f16", 0},
    {"gemm_ada_mma", "ada_mma", "e4m3", "f32", 0},
    {"gemm_blackwell_tcgen05", "blackwell_tcgen05", "e4m3", "f32", 0},
    {"gemm_blackwell_mxfp8", "blackwell_mxfp8", "e4m3", "f32", 0},
    {"gemm_hopper_mma_fp16", "hopper_mma", "fp16", "f32", 0},
    {"gemm_hopper_mma_bf16", "hopper_mma", "bf16", "f32", 0},
};

constexpr std::size_t m = 512, n = 512;
constexpr std::size_t part = 4096;  ///< elements that race() does not divide

/// K from the size of the input asked for: two matrices of binary32.
std::size_t terms(const BenchOptions& options) {
  return std::clamp<std::size_t>(options.bytes / (sizeof(float) * (m + n)) / 128 * 128, 128, 1u << 20);
}

std::vector<float> normal_numbers(std::size_t count, unsigned seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal(0.0f, 8.0f);
  std::vector<float> x(count);
  for (float& v : x) v = normal(random);
  return x;
}

std::vector<std::uint8_t> codes_of(const std::vector<float>& x, const Format& f) {
  const std::size_t size = code_bytes(f);
  std::vector<std::uint8_t> codes(x.size() * size);
  for (std::size_t i = 0; i < x.size(); ++i) {
    const std::uint32_t code = encode(f, x[i]);
    std::memcpy(&codes[i * size], &code, size);
  }
  return codes;
}

/// Every thread takes a range of tiles.
Contender emulated(const GemmPlan& plan, std::vector<float>& d) {
  const auto run = [&plan, &d](std::size_t begin, std::size_t end) {
    thread_local GemmScratch scratch;
    for (std::size_t tile = begin / part; tile < end / part; ++tile) plan.run(tile, scratch, d.data());
  };
  return {run, plan.tiles() * part};
}

/// Every thread takes a range of rows.
Contender eigen(std::size_t k, const std::vector<float>& a, const std::vector<float>& b, std::vector<float>& d) {
  const auto sgemm = isa() == Isa::avx512 ? eigen_sgemm_avx512
                     : isa() == Isa::avx2 ? eigen_sgemm_avx2
                     : isa() == Isa::sse4 ? eigen_sgemm_sse4
                                          : eigen_sgemm_plain;
  const auto run = [=, &a, &b, &d](std::size_t begin, std::size_t end) {
    const std::size_t first = begin / part, count = end / part - first;
    sgemm(count, n, k, &a[first * k], b.data(), &d[first * n]);
  };
  return {run, m * part};
}

}  // namespace

std::vector<BenchResult> bench_gemm(const BenchOptions& options) {
  const std::size_t k = terms(options);
  const double products = static_cast<double>(m * n * k);
  const std::vector<float> a = normal_numbers(m * k, 1), b = normal_numbers(n * k, 2);
  const std::vector<std::uint8_t> ones((m + n) * k / 32, 127);  // E8M0 codes of 1
  std::vector<float> d(m * n), eigen_d(m * n);
  std::vector<BenchResult> results;
  for (const Row& row : rows) {
    const Format format = parse_format(row.format);
    const auto codes_a = codes_of(a, format), codes_b = codes_of(b, format);
    Gemm gemm;
    gemm.model = find_model(row.model, row.format, row.format, row.output).model;
    gemm.shape = {m, n, k};
    gemm.a = {format, codes_a.data(), ones.data()};
    gemm.b = {format, codes_b.data(), ones.data()};
    gemm.promote_every = row.promote_every;
    for (const int threads : options.threads) {
      const GemmPlan plan(gemm, threads);
      const auto times = race({emulated(plan, d), eigen(k, a, b, eigen_d)}, threads, options.rounds);
      const auto rate = [&](std::size_t i, std::size_t elements) {
        return 1e-9 * products / static_cast<double>(elements) / median(times[i]);
      };
      std::vector<double> of_eigen = times[1];
      for (double& t : of_eigen) t *= static_cast<double>(m) / static_cast<double>(plan.tiles());
      results.push_back({row.name, threads, rate(0, plan.tiles() * part), rate(1, m * part),
                         median_speedup(times[0], of_eigen), {{"k", static_cast<double>(k)}}});
    }
  }
  return results;
}

}  // namespace fp8scope
