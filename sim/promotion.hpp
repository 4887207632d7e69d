#pragma once

#include <cmath>
#include <cstdint>
#include <string_view>

namespace fp8scope {

/// How the partial sums of a GEMM are brought into binary32, and where the scales come in. With p the
/// matrix unit's sum over N_C products, sa and sb the scales of its operands:
enum class Promotion : std::uint8_t {
  plain,       ///< sum = fl(sum + p); scales of whole tensors follow at the end (CUTLASS FP8)
  product,     ///< sum = fma(fl(sa * sb), p, sum) (DeepGEMM; CUTLASS with one B scale per tile)
  first_a,     ///< sum = fma(fl(p * sa), sb, sum) (cuBLAS 1Dx1D, 1Dx2D; CUTLASS vector scales)
  first_b,     ///< sum = fma(fl(p * sb), sa, sum) (cuBLAS 2Dx1D)
};

struct NamedPromotion {
  std::string_view name;
  Promotion order;
  std::string_view source;
};

/// Every order that has a name. Source: DeepGEMM sm90 kernels, CUTLASS fp8_accumulation.hpp, TE's
/// exact tests of cuBLAS.
inline constexpr NamedPromotion promotions[] = {
    {"plain", Promotion::plain, "CUTLASS FP8 without block scales"},
    {"deepgemm", Promotion::product, "DeepGEMM SM90 1d1d, 1d2d"},
    {"cutlass_vector", Promotion::first_a, "CUTLASS blockwise, vector scales of A and B"},
    {"cublas_1d1d", Promotion::first_a, "cuBLAS blockwise 1Dx1D"},
    {"cublas_1d2d", Promotion::first_a, "cuBLAS blockwise 1Dx2D"},
    {"cublas_2d1d", Promotion::first_b, "cuBLAS blockwise 2Dx1D"},
};

/// One promotion, as the order says.
inline float promote_one(Promotion order, float sum, float p, float sa, float sb) {
  switch (order) {
    case Promotion::product: return std::fma(sa * sb, p, sum);
    case Promotion::first_a: return std::fma(p * sa, sb, sum);
    case Promotion::first_b: return std::fma(p * sb, sa, sum);
    default: return sum + p;
  }
}

}  // namespace fp8scope
