// GEMM emulation on the GPU.
#include <algorithm>
#include <stdexcept>

#include "cuda/cublaslt_run.hpp"
#include "cuda/gemm_run.hpp"
#include "cuda/launch.hpp"
#include "cuda/native_gemm.hpp"
#include "cuda/timing.hpp"

namespace fp8scope::cuda {

void emulated_gemm(const ScaledMatrix& a, const ScaledMatrix& b, const ScaledGemmOptions& options,
                   std::span<const float> c, std::span<float> d, int device) {
  check_scaled_gemm(a, b, options);
  const std::string refusal = emulated_gemm_refusal(a, b, options);
  if (!refusal.empty()) throw std::invalid_argument("gemm: " + refusal);
  const GpuMachine machine(device);
  EmulatedProduct<GpuMachine> product(machine, a, b, options, c);
  product.run();
  product.download(d);
}

namespace {

/// Operands of one scale each.
struct TimedOperands {
  std::vector<std::uint16_t> left, right;
  std::vector<float> one{1.0f};
  ScaledMatrix a, b;

  TimedOperands(std::int64_t m, std::int64_t n, std::int64_t k, const Format& f = e4m3)
      : left(codes(m * k, 1, f)), right(codes(n * k, 2, f)), a{f, m, k, left, {}, one}, b{f, n, k, right, {}, one} {}

 private:
  /// Of a format of four bits, the low bits.
  static std::vector<std::uint16_t> codes(std::int64_t count, std::uint64_t seed, const Format& f) {
    const std::vector<std::uint8_t> narrow = random_normal_codes(count, seed);
    std::vector<std::uint16_t> codes(narrow.begin(), narrow.end());
    for (std::uint16_t& code : codes) code &= static_cast<std::uint16_t>(f.codes() - 1u);
    return codes;
  }
};

}  // namespace

KernelTimes time_emulated_gemm(std::int64_t m, std::int64_t n, std::int64_t k, const ScaledGemmOptions& options, int rounds, int device) {
  const TimedOperands x(m, n, k, options.model.summation == Summation::grouped ? parse_format("e2m1") : e4m3);
  const GpuMachine machine(device);
  EmulatedProduct<GpuMachine> product(machine, x.a, x.b, options, {});
  return {kernel_seconds(rounds, [&] { product.run_part(0); })};
}

KernelTimes time_cublaslt_gemm(std::int64_t m, std::int64_t n, std::int64_t k, const ScaledGemmOptions& options, int rounds, int device) {
  if (const std::string refusal = cublaslt_refusal(); !refusal.empty()) throw DeviceError(refusal);
  const TimedOperands x(m, n, k);
  const LibraryProduct product(x.a, x.b, {options.promote == 0, true}, device);
  return {kernel_seconds(rounds, [&] { product.launch(); })};
}

namespace {

constexpr int chains = 16, chain_length = 4096;  // enough independent ones to hide every latency

__global__ void __launch_bounds__(256) multiply_add_kernel(float* out, float x) {
  float sum[chains];
#pragma unroll
  for (int i = 0; i < chains; ++i) sum[i] = static_cast<float>(threadIdx.x + i);
#pragma unroll 4
  for (int step = 0; step < chain_length; ++step)
#pragma unroll
    for (int i = 0; i < chains; ++i) sum[i] = __fmaf_rd(sum[i], x, x);
  float all = 0.0f;
#pragma unroll
  for (int i = 0; i < chains; ++i) all += sum[i];
  if (all == 12345.0f) *out = all;  // never, but the compiler does not know
}

}  // namespace

double multiply_adds_per_second(int rounds, int device) {
  use_device(device);
  Buffer<float> out(1);
  const int blocks = 8 * device_info(device).multiprocessors;
  std::vector<double> seconds = kernel_seconds(rounds, [&] { multiply_add_kernel<<<static_cast<unsigned>(blocks), 256>>>(out.get(), 0.5f); });
  check(cudaGetLastError(), "multiply-adds");
  std::sort(seconds.begin(), seconds.end());
  return static_cast<double>(blocks) * 256 * chains * chain_length / seconds[seconds.size() / 2];
}

}  // namespace fp8scope::cuda
