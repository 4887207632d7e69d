#include "src/library_probe.hpp"

#include <fmt/format.h>

#include "cuda/cublaslt.hpp"
#include "cuda/device.hpp"
#include "sim/models.hpp"
#include "src/product_fit.hpp"
#include "src/errors.hpp"
#include "src/kernel_cases.hpp"

namespace fp8scope {
namespace {

/// Products in which a large sum comes first and small terms after it, so that an interval shows, and the cases
/// that kernels are judged by.
std::vector<KernelCase> library_cases(const BlockShape& a, const BlockShape& b) {
  KernelCaseRequest request;
  request.block_a = a, request.block_b = b, request.shape = {128, 128, 2048};
  return kernel_cases(request);
}

ScaledMatrix matrix(const std::vector<std::uint16_t>& codes, std::int64_t rows, std::int64_t k, const std::string& format,
                    const BlockShape& block, const std::vector<float>& scales) {
  return {parse_format(format), rows, k, codes, block, scales};
}

RecordedProduct library_dump(const KernelCase& c, const std::vector<float>& d) {
  RecordedProduct dump;
  dump.name = c.name, dump.where = c.name;
  dump.a_format = c.format_a, dump.b_format = c.format_b, dump.output = "f32";
  dump.shape = {1, static_cast<std::size_t>(c.m), static_cast<std::size_t>(c.n)}, dump.k = static_cast<std::size_t>(c.k);
  dump.a = unpack_words({c.a.begin(), c.a.end()}, c.format_a), dump.b = unpack_words({c.b.begin(), c.b.end()}, c.format_b);
  dump.scales_a = {{c.m, c.k, c.block_a}, c.scale_a}, dump.scales_b = {{c.n, c.k, c.block_b}, c.scale_b};
  for (const float x : d) dump.d.push_back(float_bits(x));
  return dump;
}

/// Prints what reproduces the library's words; whether anything does.
bool probe_library(const char* name, const BlockShape& a, const BlockShape& b, bool fast) {
  std::vector<RecordedProduct> dumps;
  try {
    for (const KernelCase& c : library_cases(a, b)) {
      const std::vector<std::uint16_t> left(c.a.begin(), c.a.end()), right(c.b.begin(), c.b.end());
      std::vector<float> d(static_cast<std::size_t>(c.m * c.n));
      cuda::cublaslt_gemm(matrix(left, c.m, c.k, c.format_a, c.block_a, c.scale_a),
                          matrix(right, c.n, c.k, c.format_b, c.block_b, c.scale_b), {fast, false}, d);
      dumps.push_back(library_dump(c, d));
    }
  } catch (const cuda::DeviceError& error) {
    fmt::print("P13 {}, fast accumulation {}: not run: {}\n", name, fast ? "on" : "off", error.what());
    return true;  // nothing was learnt, and nothing is wrong
  }
  std::vector<const RecordedProduct*> all;
  for (const RecordedProduct& dump : dumps) all.push_back(&dump);
  const bool scaled = dumps.front().block_scaled();
  const ProductModel expected{"hopper_wgmma", find_model("hopper_wgmma", "e4m3", "e4m3").model,
                           {fast && !scaled ? std::size_t{0} : 128, 0, scaled ? ScaleOrder::product : ScaleOrder::plain, false}};
  const ProductFits found = models_that_fit(all, expected, false);
  fmt::print("P13 {}, fast accumulation {}:", name, fast ? "on" : "off");
  for (const ProductModel& fit : found.fits) fmt::print(" {};", fit.text());
  if (found.fits.empty()) {
    fmt::print(" nothing of the table, {} of a sample of {} words differ with", found.sample_differ, found.sample);
    for (const ProductModel& model : found.closest) fmt::print(" {};", model.text());
  }
  fmt::print("\n");
  return !found.fits.empty();
}

}  // namespace

int run_library_probe() {
  if (cuda::device_count() == 0) throw SkippedError(fmt::format("probe --library: skipped, no GPU: {}", cuda::why_none()));
  if (const std::string why = cuda::cublaslt_refusal(); !why.empty())
    throw SkippedError(fmt::format("probe --library: skipped: {}", why));
  fmt::print("cuBLASLt {}\n", cuda::cublaslt_version());
  bool explained = true;
  for (const bool fast : {true, false}) explained &= probe_library("one scale per tensor", {}, {}, fast);
  explained &= probe_library("1x128 by 128x128", {1, 128}, {128, 128}, false);
  explained &= probe_library("1x128 by 1x128", {1, 128}, {1, 128}, false);
  return static_cast<int>(explained ? Exit::ok : Exit::differs);
}

}  // namespace fp8scope
