#include "src/kernel_builtin.hpp"

#include <cstdio>
#include <exception>
#include <span>
#include <vector>

#include "cuda/device.hpp"
#include "cuda/gemm.hpp"
#include "sim/models.hpp"

namespace fp8scope {
namespace {

struct Operand16 {
  std::vector<std::uint16_t> codes;
  ScaledMatrix matrix;

  explicit Operand16(const fp8scope_matrix& m)
      : codes(m.codes, m.codes + m.rows * m.cols),
        matrix{m.format == FP8SCOPE_E5M2 ? e5m2 : e4m3, m.rows, m.cols, codes, {m.block_rows, m.block_cols}, {}} {
    matrix.scale_inv = {m.scale_inv, static_cast<std::size_t>(matrix.grid().blocks())};
  }
  Operand16(const Operand16&) = delete;
  Operand16& operator=(const Operand16&) = delete;
};

/// DeepGEMM's way: 128 products between promotions, fl(sa * sb).
ScaledGemmOptions usual_options(const ScaledMatrix& a, const ScaledMatrix& b) {
  const bool one_scale = a.grid().blocks() == 1 && b.grid().blocks() == 1;
  return {find_model("hopper_wgmma", "e4m3", "e4m3").model, 128, one_scale ? ScaleOrder::plain : ScaleOrder::product, false, 1};
}

template <class Refusal, class Multiply>
int run(const fp8scope_gemm* g, const Refusal& refusal, const Multiply& multiply) {
  if (g->version != FP8SCOPE_ABI_VERSION || g->d_format != FP8SCOPE_F32) return FP8SCOPE_UNSUPPORTED;
  if (cuda::device_count() == 0) return FP8SCOPE_NO_DEVICE;
  try {
    const Operand16 a(g->a), b(g->b);
    const ScaledGemmOptions options = usual_options(a.matrix, b.matrix);
    if (!refusal(a.matrix, b.matrix, options).empty()) return FP8SCOPE_UNSUPPORTED;
    multiply(a.matrix, b.matrix, options, std::span(static_cast<float*>(g->d), static_cast<std::size_t>(g->a.rows * g->b.rows)));
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
  return FP8SCOPE_OK;
}

int native_gemm(const fp8scope_gemm* g) {
  return run(g, cuda::native_gemm_refusal, [](const auto& a, const auto& b, const auto& options, std::span<float> d) { cuda::native_gemm(a, b, options, d); });
}

int emulated_gemm(const fp8scope_gemm* g) {
  return run(g, cuda::emulated_gemm_refusal,
             [](const auto& a, const auto& b, const auto& options, std::span<float> d) { cuda::emulated_gemm(a, b, options, {}, d); });
}

}  // namespace

fp8scope_gemm_function builtin_kernel(const std::string& name) {
  if (name == "native_gemm") return native_gemm;
  if (name == "emulated_gemm") return emulated_gemm;
  return nullptr;
}

}  // namespace fp8scope
