// Products of matrices on the GPU, by the device's own clock.
#include <fmt/format.h>

#include "cuda/device.hpp"
#include "cuda/gemm.hpp"
#include "sim/models.hpp"
#include "src/bench.hpp"
#include "src/errors.hpp"

namespace fp8scope {
namespace {

struct Row {
  const char* name;
  const char* model;  ///< of the emulation; "" for the unit itself
  std::int64_t m, n, k, promote;
  ScaleOrder order;
  const char* format = "e4m3";  ///< of A and B
  const char* output = "f32";   ///< of the unit
};

constexpr Row rows[] = {
    {"emulated_hopper", "hopper_wgmma", 4096, 4096, 4096, 0, ScaleOrder::plain},
    {"emulated_hopper_n128", "hopper_wgmma", 4096, 4096, 4096, 128, ScaleOrder::plain},
    {"emulated_ada", "ada_mma", 4096, 4096, 4096, 0, ScaleOrder::plain},
    {"emulated_blackwell", "blackwell_tcgen05", 4096, 4096, 4096, 0, ScaleOrder::plain},
    {"emulated_hopper_f16", "hopper_wgmma", 4096, 4096, 4096, 0, ScaleOrder::plain, "e4m3", "f16"},
    {"emulated_mxfp8", "blackwell_mxfp8", 4096, 4096, 4096, 0, ScaleOrder::plain},
    {"emulated_nvfp4", "blackwell_nvfp4", 4096, 4096, 4096, 0, ScaleOrder::plain, "e2m1"},
    {"native_never", "", 4096, 7168, 16384, 0, ScaleOrder::plain},
    {"native_n128", "", 4096, 7168, 16384, 128, ScaleOrder::plain},
    {"native_n128_deepgemm", "", 4096, 7168, 16384, 128, ScaleOrder::product},
    {"native_8192_never", "", 8192, 8192, 8192, 0, ScaleOrder::plain},
};

/// Of the unit itself: the library with fast accumulation, or, without the library, nothing.
double ceiling_rate(const Row& row, const ScaledGemmOptions& options, int rounds) {
  const double products = static_cast<double>(row.m) * static_cast<double>(row.n) * static_cast<double>(row.k);
  // An emulated product issues two multiply-adds, of which its sign lets one count.
  if (row.model[0] != '\0') return cuda::multiply_adds_per_second(rounds) / 2;
  ScaledGemmOptions fast = options;
  fast.promote = 0;
  try {
    return products / median(cuda::time_cublaslt_gemm(row.m, row.n, row.k, fast, rounds).seconds);
  } catch (const cuda::DeviceError& error) {
    fmt::print(stderr, "{}: no ceiling: {}\n", row.name, error.what());
    return 0.0;
  }
}

}  // namespace

std::vector<BenchResult> bench_gpu_gemm(const BenchOptions& bench) {
  if (cuda::device_count() == 0) throw SkippedError(fmt::format("bench gpu_gemm: skipped, no GPU: {}", cuda::why_none()));
  const bool hopper = cuda::device_info(0).major == 9;
  std::vector<BenchResult> results;
  for (const Row& row : rows) {
    const bool native = row.model[0] == '\0';
    if (native && !hopper) continue;
    const Model& model = find_model(native ? "hopper_wgmma" : row.model, row.format, row.format, row.output).model;
    const ScaledGemmOptions options{model, row.promote, row.order, false, 1};
    const double products = static_cast<double>(row.m) * static_cast<double>(row.n) * static_cast<double>(row.k);
    const auto times = native ? cuda::time_native_gemm(row.m, row.n, row.k, options, bench.rounds)
                              : cuda::time_emulated_gemm(row.m, row.n, row.k, options, bench.rounds);
    const double rate = products / median(times.seconds), ceiling = ceiling_rate(row, options, bench.rounds);
    results.push_back({row.name, 0, 1e-9 * rate, 1e-9 * ceiling, ceiling > 0 ? rate / ceiling : 0.0, {{"tflops", 2e-12 * rate}}});
  }
  return results;
}

}  // namespace fp8scope
