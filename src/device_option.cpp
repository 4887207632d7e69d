#include "src/device_option.hpp"

#include <fmt/format.h>

#include "src/errors.hpp"

namespace fp8scope {

void add_device_option(Options& options) {
  options.add("device", "NAME", "cpu, cuda or cuda:N; cuda-loops runs the kernels' loops on the CPU. The results are "
                                "the same");
}

std::unique_ptr<cuda::Engine> device_engine(const Options& options, std::string_view fallback) {
  const std::string name = options.text_or("device", fallback);
  if (name == "cpu") return nullptr;
  if (name == "cuda-loops") return cuda::loops_on_cpu();
  if (name != "cuda" && !name.starts_with("cuda:"))
    throw UsageError(fmt::format("--device {}: wanted cpu, cuda, cuda:N or cuda-loops", name));
  const std::uint64_t number = name == "cuda" ? 0 : parse_number(name.substr(5), "--device cuda:");
  if (cuda::device_count() == 0) throw SkippedError(fmt::format("--device {}: {}", name, cuda::why_none()));
  if (number >= static_cast<std::uint64_t>(cuda::device_count()))
    throw SkippedError(fmt::format("--device {}: this machine has {} GPU(s), numbered from 0", name, cuda::device_count()));
  return cuda::gpu_engine(static_cast<int>(number));
}

}  // namespace fp8scope
