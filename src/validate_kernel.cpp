#include <fmt/format.h>

#include <algorithm>

#include "sim/models.hpp"
#include "sim/names.hpp"
#include "src/errors.hpp"
#include "src/kernel_cases.hpp"
#include "src/kernel_run.hpp"
#include "src/validate.hpp"

namespace fp8scope {
namespace {

/// "1x128", "tensor", "1xall", "128x128".
BlockShape parse_block(const std::string& text) {
  if (text == "tensor") return {};
  const std::size_t x = text.find('x');
  const auto extent = [&](const std::string& part) -> std::int64_t {
    if (part == "all") return 0;
    return static_cast<std::int64_t>(parse_number(part, "--scales"));
  };
  if (x == std::string::npos) throw UsageError(fmt::format("--scales {}: wanted ROWSxK or tensor", text));
  return {extent(text.substr(0, x)), extent(text.substr(x + 1))};
}

/// One word for A and B, or one each.
std::pair<std::string, std::string> pair_of(const Options& options, const char* name, const char* a, const char* b) {
  const auto words = options.list(name);
  if (words.size() > 2) throw UsageError(fmt::format("--{}: wanted one word, or one for A and one for B", name));
  if (words.empty()) return {a, b};
  return {words.front(), words.back()};
}

std::vector<std::int64_t> parse_shape(const std::string& text) {
  std::vector<std::int64_t> shape;
  for (std::size_t from = 0; from <= text.size();) {
    const std::size_t end = std::min(text.find('x', from), text.size());
    shape.push_back(static_cast<std::int64_t>(parse_number(text.substr(from, end - from), "--shape")));
    from = end + 1;
  }
  constexpr std::int64_t most = 1 << 14;
  if (shape.size() != 3 || std::ranges::any_of(shape, [](std::int64_t n) { return n < 1 || n > most; }))
    throw UsageError(fmt::format("--shape {}: wanted MxNxK, each 1 to {}", text, most));
  return shape;
}

KernelCaseRequest request_of(const Options& options) {
  KernelCaseRequest request;
  std::tie(request.format_a, request.format_b) = pair_of(options, "formats", "e4m3", "e4m3");
  for (const std::string& f : {request.format_a, request.format_b})
    if (f != "e4m3" && f != "e5m2") throw UsageError(fmt::format("--formats {}: wanted e4m3 or e5m2", f));
  const auto [block_a, block_b] = pair_of(options, "scales", "1x128", "128x128");
  request.block_a = parse_block(block_a), request.block_b = parse_block(block_b);
  request.output = options.text_or("d-format", "f32");
  if (request.output != "f32" && request.output != "bf16")
    throw UsageError(fmt::format("--d-format {}: wanted f32 or bf16", request.output));
  request.shape = parse_shape(options.text_or("shape", "128x128x1024"));
  return request;
}

/// The kernel's words, to be judged like any recorded ones.
RecordedProduct dump_of(const KernelCase& c, std::vector<std::uint32_t> d) {
  RecordedProduct dump;
  dump.name = c.name, dump.where = c.name;
  dump.a_format = c.format_a, dump.b_format = c.format_b, dump.output = c.output;
  dump.shape = {1, static_cast<std::size_t>(c.m), static_cast<std::size_t>(c.n)};
  dump.k = static_cast<std::size_t>(c.k);
  dump.a = unpack_words({c.a.begin(), c.a.end()}, c.format_a);
  dump.b = unpack_words({c.b.begin(), c.b.end()}, c.format_b);
  dump.scales_a = {{c.m, c.k, c.block_a}, c.scale_a};
  dump.scales_b = {{c.n, c.k, c.block_b}, c.scale_b};
  dump.d = std::move(d);
  return dump;
}

std::size_t different(const std::vector<std::uint32_t>& a, const std::vector<std::uint32_t>& b) {
  std::size_t n = 0;
  for (std::size_t i = 0; i < a.size(); ++i) n += a[i] != b[i];
  return n;
}

/// What the kernel should do.
ProductModel expected_model(const Options& options, const KernelCaseRequest& request) {
  ProductModel expected;
  const std::string text = options.text_or("model", "hopper_wgmma");
  expected.name = text;
  expected.model = parse_model(text, request.format_a, request.format_b);
  if (expected.model.scale_block != 0)
    throw UsageError(fmt::format("--model {}: units with block scales of their own cannot be asked for here", text));
  const bool one_scale = BlockGrid(request.shape[0], request.shape[2], request.block_a).blocks() == 1 &&
                         BlockGrid(request.shape[1], request.shape[2], request.block_b).blocks() == 1;
  expected.schedule = schedule_of(options, 128, one_scale ? "plain" : "deepgemm");
  if (one_scale) expected.schedule.order = ScaleOrder::plain;  // the scales come at the end
  else if (expected.schedule.every == 0 || expected.schedule.order == ScaleOrder::plain)
    throw UsageError("validate: block scales need --promote and an --order that applies them");
  return expected;
}

}  // namespace

int validate_kernel(const Options& options) {
  const KernelName kernel = parse_kernel_name(options.required("kernel"));
  const KernelCaseRequest request = request_of(options);
  const ProductModel expected = expected_model(options, request);
  const bool nan_bits = options.has("nan-bits");
  const std::vector<KernelCase> cases = kernel_cases(request);
  const auto seconds = static_cast<unsigned>(std::clamp<std::uint64_t>(options.number_or("time-limit", 60), 1, 86400));
  const std::vector<KernelResult> results = run_kernel(kernel, cases, seconds);

  fmt::print("{}:{} against {}\n", kernel.library, kernel.symbol, expected.text());
  std::vector<RecordedProduct> dumps;
  std::size_t words = 0, differ = 0, unstable = 0, unwritten = 0;
  for (std::size_t i = 0; i < cases.size(); ++i) {
    const KernelCase& c = cases[i];
    fmt::print("{}: {}x{}x{}, {} by {} into {}\n", c.name, c.m, c.n, c.k, c.format_a, c.format_b, c.output);
    if (!results[i].supported) {
      fmt::print("  skipped: the kernel says that it does not support it\n");
      continue;
    }
    if (results[i].unwritten > 0) fmt::print("  {} words were never written\n", results[i].unwritten);
    const std::size_t moved = different(results[i].d, results[i].again);
    if (moved > results[i].unwritten)
      fmt::print("  {} words differ between two runs on the same data\n", moved - results[i].unwritten);
    dumps.push_back(dump_of(c, results[i].d));
    const Verdict verdict = compare_and_print(dumps.back(), expected, nan_bits);
    fmt::print("  {} of {} words differ\n", verdict.differ, dumps.back().words());
    if (verdict.differ > 0) print_ulps(verdict);
    words += dumps.back().words(), differ += verdict.differ;
    unstable += moved, unwritten += results[i].unwritten;
  }
  if (dumps.empty()) throw SkippedError(fmt::format("{}:{}: skipped: the kernel supports none of the cases", kernel.library, kernel.symbol));
  if (differ > 0 && unstable == 0) {
    std::vector<const RecordedProduct*> all;
    for (const RecordedProduct& dump : dumps) all.push_back(&dump);
    print_fits(all, expected, nan_bits);
  }
  fmt::print("{} case(s), {} words, {} differ\n", dumps.size(), words, differ);
  return static_cast<int>(differ == 0 && unstable == 0 && unwritten == 0 ? Exit::ok : Exit::differs);
}

}  // namespace fp8scope
