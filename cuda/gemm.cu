// GEMM emulation on the GPU.
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

  TimedOperands(std::int64_t m, std::int64_t n, std::int64_t k)
      : left(codes(m * k, 1)), right(codes(n * k, 2)), a{e4m3, m, k, left, {}, one}, b{e4m3, n, k, right, {}, one} {}

 private:
  static std::vector<std::uint16_t> codes(std::int64_t count, std::uint64_t seed) {
    const std::vector<std::uint8_t> narrow = random_normal_codes(count, seed);
    return {narrow.begin(), narrow.end()};
  }
};

}  // namespace

KernelTimes time_emulated_gemm(std::int64_t m, std::int64_t n, std::int64_t k, const ScaledGemmOptions& options, int rounds, int device) {
  const TimedOperands x(m, n, k);
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

}  // namespace fp8scope::cuda
