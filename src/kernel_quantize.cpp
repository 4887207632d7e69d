#include "src/kernel_quantize.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "sim/operand.hpp"
#include "src/errors.hpp"
#include "src/kernel_abi.h"

namespace fp8scope {
namespace {

struct NumberedFormat {
  const char* name;
  std::uint32_t number;
};
constexpr NumberedFormat numbers[] = {{"e4m3", FP8SCOPE_E4M3}, {"e5m2", FP8SCOPE_E5M2}, {"e2m3", FP8SCOPE_E2M3},
                                      {"e3m2", FP8SCOPE_E3M2}, {"e2m1", FP8SCOPE_E2M1}, {"e8m0", FP8SCOPE_E8M0}};

std::uint32_t format_number(const Format& f) {
  if (f == fp32) return FP8SCOPE_F32;
  for (const NumberedFormat& row : numbers)
    if (parse_format(row.name) == f) return row.number;
  throw UsageError(fmt::format("validate --kernel: src/kernel_abi.h has no number for {}", format_name(f)));
}

std::uint32_t element_number(cuda::Element element) {
  return element == cuda::Element::fp32 ? FP8SCOPE_F32 : element == cuda::Element::bf16 ? FP8SCOPE_BF16 : FP8SCOPE_F16;
}

int scale_width(const QuantizeCase& c) { return c.scale_format == fp32 ? 4 : 1; }

class QuantizeCall final : public KernelCall {
 public:
  explicit QuantizeCall(const QuantizeCase& c)
      : case_(c), code_format_(format_number(c.code_format)), scale_format_(format_number(c.scale_format)), x_(c.tensor.bytes()),
        codes_(static_cast<std::size_t>(c.grid.size())), scales_(static_cast<std::size_t>(c.grid.blocks()) * static_cast<std::size_t>(scale_width(c))) {}

  int invoke(AnyFunction function) const override {
    const fp8scope_quantize job{FP8SCOPE_ABI_VERSION, element_number(case_.tensor.element), case_.grid.rows, case_.grid.cols, x_.data(),
                                case_.grid.block_rows, case_.grid.block_cols, code_format_, scale_format_,
                                static_cast<std::uint8_t*>(codes_.data()), scales_.data()};
    return reinterpret_cast<fp8scope_quantize_function>(function)(&job);
  }
  std::vector<GuardedMemory*> outputs() override { return {&codes_, &scales_}; }
  std::string name() const override { return case_.tensor.name; }
  AnyFunction builtin(const std::string&) const override { return nullptr; }
  std::string builtins() const override { return "products of matrices only"; }

 private:
  const QuantizeCase& case_;
  std::uint32_t code_format_, scale_format_;
  GuardedMemory x_, codes_, scales_;
};

std::size_t different(const std::vector<std::byte>& a, const std::vector<std::byte>& b, std::size_t width) {
  std::size_t n = 0;
  for (std::size_t i = 0; i < a.size(); i += width) n += !std::equal(a.begin() + static_cast<std::ptrdiff_t>(i), a.begin() + static_cast<std::ptrdiff_t>(i + width), b.begin() + static_cast<std::ptrdiff_t>(i));
  return n;
}

}  // namespace

QuantizeResult run_quantizer(const KernelName& kernel, const QuantizeCase& c, unsigned seconds) {
  QuantizeCall call(c);
  const std::vector<WrittenTwice> outputs = call_twice(kernel, call, seconds);
  QuantizeResult result;
  result.supported = !outputs.empty();
  if (!result.supported) return result;
  const int widths[] = {1, scale_width(c)};
  const std::vector<std::uint32_t> codes = outputs[0].words(widths[0]);
  result.codes.assign(codes.begin(), codes.end());
  result.scales = outputs[1].words(widths[1]);
  for (std::size_t i = 0; i < outputs.size(); ++i) {
    result.unwritten += outputs[i].unwritten(widths[i]);
    result.moved += different(outputs[i].first, outputs[i].again, static_cast<std::size_t>(widths[i]));
  }
  result.moved -= result.unwritten;
  return result;
}

}  // namespace fp8scope
