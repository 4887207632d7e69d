#pragma once

#include <cmath>
#include <cstdint>
#include <string_view>

#include "sim/device.hpp"

namespace fp8scope {

/// How the unit's sum p of N_C products joins the binary32 sum, and where the scales sa, sb come in.
enum class ScaleOrder : std::uint8_t {
  plain,    ///< sum = fl(sum + p); scales of whole tensors follow at the end
  product,  ///< sum = fma(fl(sa * sb), p, sum)
  first_a,  ///< sum = fma(fl(p * sa), sb, sum)
  first_b,  ///< sum = fma(fl(p * sb), sa, sum)
};

struct NamedScaleOrder {
  std::string_view name;
  ScaleOrder order;
  std::string_view source;
};

/// Every order that has a name; several libraries share one. To add one, add a row.
inline constexpr NamedScaleOrder scale_orders[] = {
    {"plain", ScaleOrder::plain, "CUTLASS FP8 without block scales"},
    {"deepgemm", ScaleOrder::product, "DeepGEMM SM90 1d1d, 1d2d"},
    {"cutlass_vector", ScaleOrder::first_a, "CUTLASS blockwise, vector scales of A and B"},
    {"cublas_1d1d", ScaleOrder::first_a, "cuBLAS blockwise 1Dx1D as TE's exact tests model it"},
    {"cublas_1d2d", ScaleOrder::first_a, "cuBLAS blockwise 1Dx2D"},
    {"cublas_2d1d", ScaleOrder::first_b, "cuBLAS blockwise 2Dx1D"},
};

/// One promotion, as the order says.
FP8_HD inline float promote(ScaleOrder order, float sum, float p, float sa, float sb) {
  using std::fma;
  switch (order) {
    case ScaleOrder::product: return fma(sa * sb, p, sum);
    case ScaleOrder::first_a: return fma(p * sa, sb, sum);
    case ScaleOrder::first_b: return fma(p * sb, sa, sum);
    default: return sum + p;
  }
}

}  // namespace fp8scope
