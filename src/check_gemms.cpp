// Products of matrices: emulated ones on any GPU or by the kernels' loops, and Hopper's own.
#include <fmt/format.h>

#include <algorithm>
#include <string_view>

#include "cuda/device.hpp"
#include "cuda/gemm.hpp"
#include "sim/convert.hpp"
#include "sim/models.hpp"
#include "sim/scale.hpp"
#include "src/kernel_cases.hpp"
#include "src/kernel_checks.hpp"
#include "src/parallel.hpp"

namespace fp8scope {
namespace {

/// A product of the kernel validation as scaled_gemm() takes it.
struct Product {
  std::vector<std::uint16_t> codes_a, codes_b;
  ScaledMatrix a, b;

  explicit Product(const KernelCase& c)
      : codes_a(c.a.begin(), c.a.end()), codes_b(c.b.begin(), c.b.end()),
        a{parse_format(c.format_a), c.m, c.k, codes_a, c.block_a, c.scale_a},
        b{parse_format(c.format_b), c.n, c.k, codes_b, c.block_b, c.scale_b} {}
  Product(const Product&) = delete;
  Product& operator=(const Product&) = delete;
};

struct Wanted {
  const char* model;
  std::int64_t promote, split_k;
  ScaleOrder order;
  bool block_scales;             ///< binary32 scales, applied where sums are promoted
  const char* output = "f32";    ///< of the unit
};

constexpr Wanted emulated[] = {
    {"hopper_wgmma", 0, 1, ScaleOrder::plain, false},     {"hopper_wgmma", 128, 1, ScaleOrder::product, true},
    {"hopper_wgmma", 128, 2, ScaleOrder::first_a, true},  {"hopper_wgmma", 128, 1, ScaleOrder::first_b, true},
    {"ada_mma", 0, 1, ScaleOrder::plain, false},          {"ada_mma", 128, 2, ScaleOrder::product, true},
    {"blackwell_tcgen05", 0, 2, ScaleOrder::plain, false}, {"blackwell_tcgen05", 128, 1, ScaleOrder::product, true},
    {"hopper_wgmma", 0, 1, ScaleOrder::plain, false, "f16"}, {"hopper_wgmma", 128, 1, ScaleOrder::product, true, "f16"},
    {"ada_mma", 0, 1, ScaleOrder::plain, false, "f16"},   {"blackwell_tcgen05", 0, 1, ScaleOrder::plain, false, "f16"},
    {"blackwell_mxfp8", 0, 1, ScaleOrder::plain, false},  {"blackwell_mxfp8", 128, 2, ScaleOrder::plain, false},
    {"blackwell_mxfp4", 0, 1, ScaleOrder::plain, false},  {"blackwell_nvfp4", 0, 1, ScaleOrder::plain, false},
};
constexpr Wanted native[] = {
    {"hopper_wgmma", 0, 1, ScaleOrder::plain, false},    {"hopper_wgmma", 128, 1, ScaleOrder::plain, false},
    {"hopper_wgmma", 128, 1, ScaleOrder::product, true}, {"hopper_wgmma", 128, 1, ScaleOrder::first_a, true},
    {"hopper_wgmma", 128, 1, ScaleOrder::first_b, true},
};

std::vector<std::uint32_t> words_of(const std::vector<float>& d) {
  std::vector<std::uint32_t> words;
  for (const float x : d) words.push_back(float_bits(x));
  return words;
}

/// Scales that the unit itself takes.
void round_scales(std::vector<float>& scales, const Format& f) {
  for (float& s : scales) s = f == e8m0 ? cut_to_pow2(s) : decode(f, encode(f, 64.0f * s));
}

/// Every kind of data under one wish.
void compare_products(const char* kernel, const Wanted& w, KernelCaseRequest request, const TakeCheck& take,
                      void (*multiply)(const Product&, const ScaledGemmOptions&, std::span<float>)) {
  const Model& model = find_model(w.model, request.format_a, request.format_b, w.output).model;
  if (!w.block_scales) request.block_a = request.block_b = {};
  if (model.scale_block > 0) request.block_a = request.block_b = {1, model.scale_block};
  for (KernelCase& c : kernel_cases(request)) {
    if (model.scale_block > 0) round_scales(c.scale_a, model.scale_format), round_scales(c.scale_b, model.scale_format);
    const Product product(c);
    const ScaledGemmOptions options{model, w.promote, w.order, false, w.split_k};
    std::vector<float> want(static_cast<std::size_t>(c.m * c.n)), got(want.size());
    scaled_gemm(product.a, product.b, options, {}, want, run_in_parallel);
    multiply(product, options, got);
    WordCount count(fmt::format("{} {}{}", kernel, w.model, w.output == std::string_view("f16") ? " f16" : ""),
                    fmt::format("{} {}x{}x{} {} {} every {} order {}", c.name, c.m, c.n, c.k, c.format_a, c.format_b, w.promote, static_cast<int>(w.order)));
    count.compare("d", words_of(want), words_of(got));
    take(count.result());
  }
}

/// The pairs of formats that the unit multiplies, of all those here.
void compare_formats(const char* kernel, const Wanted& w, KernelCaseRequest request, const TakeCheck& take,
                     void (*multiply)(const Product&, const ScaledGemmOptions&, std::span<float>)) {
  constexpr const char* formats[] = {"e4m3", "e5m2", "e2m1"};
  for (const char* a : formats)
    for (const char* b : formats) {
      const bool known = std::ranges::any_of(model_rows(), [&](const ModelRow& row) { return row.name == w.model && row.output == w.output && accepts(row, a, b); });
      request.format_a = a, request.format_b = b;
      if (known) compare_products(kernel, w, request, take, multiply);
    }
}

}  // namespace

void check_gemms(cuda::Engine& engine, std::span<const CheckTensor>, const TakeCheck& take) {
  KernelCaseRequest request;
  request.shape = engine.is_gpu() ? std::vector<std::int64_t>{320, 264, 1152} : std::vector<std::int64_t>{72, 136, 384};
  for (const Wanted& w : emulated)
    compare_formats("emulated GEMM", w, request, take,
                     engine.is_gpu() ? [](const Product& p, const ScaledGemmOptions& o, std::span<float> d) { cuda::emulated_gemm(p.a, p.b, o, {}, d); }
                                     : [](const Product& p, const ScaledGemmOptions& o, std::span<float> d) { cuda::emulated_gemm_on_host(p.a, p.b, o, {}, d); });
  // wgmma exists on Hopper alone, and no loops on the CPU could stand for it.
  if (!engine.is_gpu() || cuda::device_info(0).major != 9) return;
  request.shape = {256, 384, 2048};
  for (const Wanted& w : native)
    compare_formats("native GEMM", w, request, take,
                     [](const Product& p, const ScaledGemmOptions& o, std::span<float> d) { cuda::native_gemm(p.a, p.b, o, d); });
}

}  // namespace fp8scope
