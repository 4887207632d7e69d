#pragma once

#include <cmath>
#include <cstdint>
#include <functional>
#include <span>
#include <string_view>
#include <vector>

#include "sim/accumulator.hpp"
#include "sim/block.hpp"
#include "sim/format.hpp"

namespace fp8scope {

/// A quantised matrix with K along its rows: value[r, k] = decode(code[r, k]) * scale of its block.
struct ScaledMatrix {
  Format format;
  std::int64_t rows, k;
  std::span<const std::uint16_t> codes;  ///< [rows, k]
  BlockShape block;                      ///< rows and k that share a scale; 0 is all
  std::span<const float> scale_inv;      ///< [ceil(rows / block.rows), ceil(k / block.cols)]

  BlockGrid grid() const { return {rows, k, block}; }
  float scale(std::int64_t r, std::int64_t kk) const { return scale_inv[grid().block(r, kk)]; }
};

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
inline float promote(ScaleOrder order, float sum, float p, float sa, float sb) {
  switch (order) {
    case ScaleOrder::product: return std::fma(sa * sb, p, sum);
    case ScaleOrder::first_a: return std::fma(p * sa, sb, sum);
    case ScaleOrder::first_b: return std::fma(p * sb, sa, sum);
    default: return sum + p;
  }
}

struct ScaledGemmOptions {
  Model model;
  std::int64_t promote = 0;  ///< N_C, products between promotions; 0: never
  ScaleOrder order = ScaleOrder::plain;
  bool bf16_output = false;    ///< D is rounded to bfloat16, else it is binary32
  std::int64_t split_k = 1;    ///< parts of K summed apart, then added in binary32, in order
};

/// Runs task(0) .. task(count - 1), in any order and on any threads.
using Executor = std::function<void(std::size_t count, const std::function<void(std::size_t)>& task)>;

/// One after another, on this thread.
void run_in_order(std::size_t count, const std::function<void(std::size_t)>& task);

/// D = A B^T of quantised matrices, as a matrix unit and the loop around it compute it, bit for bit.
///
/// Each part of K: the unit adds N_C products from zero, k ascending; the order brings the sums
/// together. Parts are added. If both matrices have one scale, fl(sa * sb) is multiplied at the end.
/// Units with block scales take them inside (powers of two only). D is rounded to its format; then C
/// is added and the sum rounded again.
///
/// c  [a.rows, b.rows] or empty
/// d  [a.rows, b.rows], written
/// Throws std::invalid_argument if shapes differ, a span is short, N_C is no multiple of the unit's
/// step, or a scale changes within N_C products.
void scaled_gemm(const ScaledMatrix& a, const ScaledMatrix& b, const ScaledGemmOptions& options,
                 std::span<const float> c, std::span<float> d,
                 const Executor& execute = run_in_order);

}  // namespace fp8scope
