// Products of matrices: emulated ones on any GPU or by the kernels' loops, and Hopper's own.
#include <fmt/format.h>

#include "cuda/device.hpp"
#include "cuda/gemm.hpp"
#include "sim/models.hpp"
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
  bool block_scales;
};

constexpr Wanted emulated[] = {
    {"hopper_wgmma", 0, 1, ScaleOrder::plain, false},     {"hopper_wgmma", 128, 1, ScaleOrder::product, true},
    {"hopper_wgmma", 128, 2, ScaleOrder::first_a, true},  {"hopper_wgmma", 128, 1, ScaleOrder::first_b, true},
    {"ada_mma", 0, 1, ScaleOrder::plain, false},          {"ada_mma", 128, 2, ScaleOrder::product, true},
    {"blackwell_tcgen05", 0, 2, ScaleOrder::plain, false}, {"blackwell_tcgen05", 128, 1, ScaleOrder::product, true},
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

/// Every kind of data and pair of formats under one wish.
void compare_products(const char* kernel, const Wanted& w, const KernelCaseRequest& base, const TakeCheck& take,
                      void (*multiply)(const Product&, const ScaledGemmOptions&, std::span<float>)) {
  for (const char* format_a : {"e4m3", "e5m2"})
    for (const char* format_b : {"e4m3", "e5m2"}) {
      KernelCaseRequest request = base;
      request.format_a = format_a, request.format_b = format_b;
      if (!w.block_scales) request.block_a = request.block_b = {};
      for (const KernelCase& c : kernel_cases(request)) {
        const Product product(c);
        const ScaledGemmOptions options{find_model(w.model, format_a, format_b).model, w.promote, w.order, false, w.split_k};
        std::vector<float> want(static_cast<std::size_t>(c.m * c.n)), got(want.size());
        scaled_gemm(product.a, product.b, options, {}, want, run_in_parallel);
        multiply(product, options, got);
        WordCount count(fmt::format("{} {}", kernel, w.model),
                        fmt::format("{} {}x{}x{} {} {} every {} order {}", c.name, c.m, c.n, c.k, format_a, format_b, w.promote, static_cast<int>(w.order)));
        count.compare("d", words_of(want), words_of(got));
        take(count.result());
      }
    }
}

}  // namespace

void check_gemms(cuda::Engine& engine, std::span<const CheckTensor>, const TakeCheck& take) {
  KernelCaseRequest request;
  request.shape = engine.is_gpu() ? std::vector<std::int64_t>{320, 264, 1152} : std::vector<std::int64_t>{72, 136, 384};
  for (const Wanted& w : emulated)
    compare_products("emulated GEMM", w, request, take,
                     engine.is_gpu() ? [](const Product& p, const ScaledGemmOptions& o, std::span<float> d) { cuda::emulated_gemm(p.a, p.b, o, {}, d); }
                                     : [](const Product& p, const ScaledGemmOptions& o, std::span<float> d) { cuda::emulated_gemm_on_host(p.a, p.b, o, {}, d); });
  // wgmma exists on Hopper alone, and no loops on the CPU could stand for it.
  if (!engine.is_gpu() || cuda::device_info(0).major != 9) return;
  request.shape = {256, 384, 2048};
  for (const Wanted& w : native)
    compare_products("native GEMM", w, request, take,
                     [](const Product& p, const ScaledGemmOptions& o, std::span<float> d) { cuda::native_gemm(p.a, p.b, o, d); });
}

}  // namespace fp8scope
