#include "src/kernel_run.hpp"

#include <fmt/format.h>

#include "src/kernel_abi.h"
#include "src/kernel_builtin.hpp"

namespace fp8scope {
namespace {

std::uint32_t format_number(const std::string& format) { return format == "e5m2" ? FP8SCOPE_E5M2 : FP8SCOPE_E4M3; }

fp8scope_matrix matrix(std::int64_t rows, std::int64_t k, const GuardedMemory& codes, const GuardedMemory& scales,
                       const BlockShape& block, const std::string& format) {
  const BlockGrid grid(rows, k, block);
  return {rows, k, static_cast<const std::uint8_t*>(codes.data()), static_cast<const float*>(scales.data()),
          grid.block_rows, grid.block_cols, format_number(format), 0};
}

int width_of(const KernelCase& c) { return c.output == "bf16" ? 2 : 4; }

class GemmCall final : public KernelCall {
 public:
  explicit GemmCall(const KernelCase& c)
      : case_(c), a_(c.a), b_(c.b), scale_a_(c.scale_a), scale_b_(c.scale_b),
        d_(static_cast<std::size_t>(c.m * c.n) * static_cast<std::size_t>(width_of(c))) {}

  int invoke(AnyFunction function) const override {
    const fp8scope_gemm gemm{FP8SCOPE_ABI_VERSION, case_.output == "bf16" ? FP8SCOPE_BF16 : FP8SCOPE_F32,
                             matrix(case_.m, case_.k, a_, scale_a_, case_.block_a, case_.format_a),
                             matrix(case_.n, case_.k, b_, scale_b_, case_.block_b, case_.format_b), d_.data()};
    return reinterpret_cast<fp8scope_gemm_function>(function)(&gemm);
  }
  std::vector<GuardedMemory*> outputs() override { return {&d_}; }
  std::string name() const override { return fmt::format("{} {}x{}x{}", case_.name, case_.m, case_.n, case_.k); }
  AnyFunction builtin(const std::string& symbol) const override { return reinterpret_cast<AnyFunction>(builtin_kernel(symbol)); }
  std::string builtins() const override { return "native_gemm and emulated_gemm"; }

 private:
  const KernelCase& case_;
  GuardedMemory a_, b_, scale_a_, scale_b_, d_;
};

}  // namespace

std::vector<KernelResult> run_kernel(const KernelName& kernel, const std::vector<KernelCase>& cases, unsigned seconds) {
  std::vector<KernelResult> results;
  for (const KernelCase& c : cases) {
    GemmCall call(c);
    const std::vector<WrittenTwice> outputs = call_twice(kernel, call, seconds);
    KernelResult result;
    result.supported = !outputs.empty();
    if (result.supported) {
      const WrittenTwice& d = outputs[0];
      result = {true, d.words(width_of(c)), d.words_again(width_of(c)), d.unwritten(width_of(c))};
    }
    results.push_back(std::move(result));
  }
  return results;
}

}  // namespace fp8scope
