#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "sim/accumulator.hpp"
#include "sim/block.hpp"
#include "sim/convert.hpp"
#include "sim/format.hpp"
#include "sim/scale_order.hpp"

namespace fp8scope {

/// A quantised matrix with K along its rows: value[r, k] = decode(code[r, k]) * scale of its block.
struct ScaledMatrix {
  Format format;
  std::int64_t rows, k;
  std::span<const std::uint16_t> codes;  ///< [rows, k]
  BlockShape block;                      ///< rows and k that share a scale; 0 is all
  std::span<const float> scale_inv;      ///< [ceil(rows / block.rows), ceil(k / block.cols)]
  /// [rows, k] in place of `codes`, of formats of more than 16 bits (TF32)
  std::span<const std::uint32_t> wide_codes = {};

  bool wide() const { return format.bits() > 16; }
  BlockGrid grid() const { return {rows, k, block}; }
  float scale(std::int64_t r, std::int64_t kk) const { return scale_inv[grid().block(r, kk)]; }
};

struct ScaledGemmOptions {
  Model model;
  std::int64_t promote = 0;  ///< N_C, products between promotions; 0: never
  ScaleOrder order = ScaleOrder::plain;
  bool bf16_output = false;    ///< D is rounded to bfloat16, else it is binary32
  std::int64_t split_k = 1;    ///< parts of K summed apart, then added in binary32, in order
};

/// Throws std::invalid_argument as scaled_gemm() does for operands and options that do not go together.
void check_scaled_gemm(const ScaledMatrix& a, const ScaledMatrix& b, const ScaledGemmOptions& options);

/// Code of the scale of element [r, k] as a unit with block scales takes it. Throws std::invalid_argument if the unit
/// takes powers of two only and the scale is none.
std::uint32_t unit_scale_code(const ScaledMatrix& m, const Model& model, std::int64_t r, std::int64_t k);

/// The parts of K that split_k makes: whole promotion intervals, or whole steps of the unit.
struct KPart {
  std::int64_t begin, end;
};
KPart k_part(std::int64_t k, const ScaledGemmOptions& options, std::int64_t part);

/// What happens to the sum of all parts: one scale of both tensors, D's format, C.
struct ProductEnd {
  bool scaled, bf16_output;
  float scale;  ///< fl(sa * sb)
};

/// One element of D. NaN is 0x7fffffff.
FP8_HD inline float finish_element(const ProductEnd& end, float sum, const float* c) {
  constexpr Format half_word = bf16;  // device code has no address of the global
  const auto round = [&](float x) {
    return end.bf16_output ? decode(half_word, encode(half_word, x, {.overflow = Overflow::special})) : x;
  };
  float d = round(end.scaled ? sum * end.scale : sum);
  if (c != nullptr) d = round(d + *c);
  return is_nan(d) ? bits_float(0x7fffffffu) : d;
}

/// Runs task(0) .. task(count - 1), in any order and on any threads.
using Executor = std::function<void(std::size_t count, const std::function<void(std::size_t)>& task)>;

/// One after another, on this thread.
void run_in_order(std::size_t count, const std::function<void(std::size_t)>& task);

/// D = A B^T of quantised matrices, as a matrix unit and the loop around it compute it, bit for bit.
///
/// Each part of K: the unit adds N_C products from zero, k ascending; the order brings the sums
/// together. Parts are added in order. If both matrices have one scale, fl(sa * sb) is multiplied at the end.
/// Units with block scales take them inside (powers of two only). D is rounded to its format; then C
/// is added and the sum rounded again. NaN is 0x7fffffff.
///
/// c  [a.rows, b.rows] or empty
/// d  [a.rows, b.rows], written
/// Throws std::invalid_argument if shapes differ, a span is short, N_C is no multiple of the unit's
/// step, or a scale changes within N_C products.
void scaled_gemm(const ScaledMatrix& a, const ScaledMatrix& b, const ScaledGemmOptions& options,
                 std::span<const float> c, std::span<float> d,
                 const Executor& execute = run_in_order);

}  // namespace fp8scope
