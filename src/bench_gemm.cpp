#include <random>

#include "sim/convert.hpp"
#include "sim/models.hpp"
#include "sim/simd/gemm.hpp"
#include "src/bench.hpp"
#include "src/bench_eigen.hpp"
#include "src/errors.hpp"

namespace fp8scope {
namespace {

constexpr std::size_t m = 512, n = 512, k = 2048;
/// The unit of a race is 4096 elements: one of these bands of rows.
constexpr std::size_t unit = 4096, band = 32, bands = m / band;

/// Quantised normal numbers, as the codes of a format and as their values.
struct Sample {
  std::vector<std::uint8_t> bytes;
  std::vector<float> values;

  Sample(unsigned seed, const Format& f, std::size_t rows) : bytes(rows * k * code_bytes(f)) {
    std::mt19937 random(seed);
    std::normal_distribution<float> normal(0.0f, 60.0f);
    for (std::size_t i = 0; i < rows * k; ++i) {
      const std::uint32_t code = encode(f, normal(random));
      values.push_back(decode(f, code));
      for (std::size_t byte = 0; byte < code_bytes(f); ++byte)
        bytes[i * code_bytes(f) + byte] = static_cast<std::uint8_t>(code >> 8 * byte);
    }
  }
};

struct Case {
  const char* name;
  const char* model;
  const char* format;
  std::size_t promote;
};

constexpr Case cases[] = {
    {"gemm_hopper_wgmma", "hopper_wgmma", "e4m3", 128},
    {"gemm_ada_mma", "ada_mma", "e4m3", 0},
    {"gemm_blackwell_tcgen05", "blackwell_tcgen05", "e4m3", 0},
    {"gemm_hopper_mma_bf16", "hopper_mma", "bf16", 0},
    {"gemm_hopper_mma_f16", "hopper_mma", "fp16", 0},
};

BenchResult gemm_speed(const Case& c, int threads, const BenchOptions& options) {
  const Format f = parse_format(c.format);
  const Sample a(1, f, m), b(2, f, n);
  std::vector<float> d(m * n), reference(m * n);
  const Model model = parse_model(c.model, c.format, c.format);
  const auto rows_of = [](std::size_t begin, std::size_t end) {
    return std::pair{begin / unit * band, (end - begin) / unit * band};
  };
  const Contender eigen{[&](std::size_t begin, std::size_t end) {
                          const auto [first, rows] = rows_of(begin, end);
                          if (rows > 0)
                            eigen_sgemm(a.values.data() + first * k, b.values.data(), reference.data() + first * n,
                                        static_cast<std::int64_t>(rows), n, k);
                        },
                        bands * unit};
  const Contender ours{[&](std::size_t begin, std::size_t end) {
                         const auto [first, rows] = rows_of(begin, end);
                         if (rows == 0) return;
                         const Gemm product{model, {rows, n, k}, {f, a.bytes.data() + first * k * code_bytes(f)},
                                            {f, b.bytes.data()}, c.promote};
                         gemm(product, d.data() + first * n);
                       },
                       bands * unit};
  const auto times = race({eigen, ours}, threads, options.rounds);
  BenchResult result = result_of(c.name, threads, times[1], std::span(times).first(1));
  const double products = static_cast<double>(m) * n * k / (bands * unit) * 1e-9;
  // The common columns count bytes of input; what people ask of a GEMM is products a second.
  result.extras = {{"gmac_per_s", products / median(times[1])}, {"eigen_gmac_per_s", products / median(times[0])}};
  return result;
}

}  // namespace

std::vector<BenchResult> bench_gemm(const BenchOptions& options) {
  if (!eigen_supported())
    throw SkippedError("bench gemm: Eigen was compiled for AVX-512, which this processor lacks");
  std::vector<BenchResult> results;
  for (const int threads : options.threads)
    for (const Case& c : cases) results.push_back(gemm_speed(c, threads, options));
  return results;
}

}  // namespace fp8scope
