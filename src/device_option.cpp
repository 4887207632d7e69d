#include "src/device_option.hpp"

#include <fmt/format.h>

#include <set>

#include "cuda/gemm.hpp"
#include "src/errors.hpp"
#include "src/parallel.hpp"

namespace fp8scope {

void add_device_option(Options& options) {
  options.add("device", "NAME", "cpu, cuda or cuda:N; cuda-loops runs the kernels' loops on the CPU. The results are "
                                "the same");
}

namespace {

constexpr int no_device = -1, loops = -2;

/// The number of the device, or one of the above.
int device_number(const Options& options, std::string_view fallback) {
  const std::string name = options.text_or("device", fallback);
  if (name == "cpu") return no_device;
  if (name == "cuda-loops") return loops;
  if (name != "cuda" && !name.starts_with("cuda:"))
    throw UsageError(fmt::format("--device {}: wanted cpu, cuda, cuda:N or cuda-loops", name));
  const std::uint64_t number = name == "cuda" ? 0 : parse_number(name.substr(5), "--device cuda:");
  if (cuda::device_count() == 0) throw SkippedError(fmt::format("--device {}: {}", name, cuda::why_none()));
  if (number >= static_cast<std::uint64_t>(cuda::device_count()))
    throw SkippedError(fmt::format("--device {}: this machine has {} GPU(s), numbered from 0", name, cuda::device_count()));
  return static_cast<int>(number);
}

}  // namespace

std::unique_ptr<cuda::Engine> device_engine(const Options& options, std::string_view fallback) {
  const int number = device_number(options, fallback);
  if (number == no_device) return nullptr;
  return number == loops ? cuda::loops_on_cpu() : cuda::gpu_engine(number);
}

Multiply device_multiply(const Options& options) {
  const int number = device_number(options, "cpu");
  if (number == no_device) return {};
  return [number, said = std::make_shared<std::set<std::string>>()](
             const ScaledMatrix& a, const ScaledMatrix& b, const ScaledGemmOptions& how, std::span<const float> c,
             std::span<float> d) {
    const std::string refusal = cuda::emulated_gemm_refusal(a, b, how);
    if (refusal.empty())
      return number == loops ? cuda::emulated_gemm_on_host(a, b, how, c, d) : cuda::emulated_gemm(a, b, how, c, d, number);
    if (said->insert(refusal).second)
      fmt::print(stderr, "fp8scope: some products are computed by the CPU: {}\n", refusal);
    scaled_gemm(a, b, how, c, d, run_in_parallel);
  };
}

}  // namespace fp8scope
