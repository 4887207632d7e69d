#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "sim/recipe.hpp"
#include "sim/scaled_gemm.hpp"
#include "src/cast_pass.hpp"

namespace fp8scope {

/// One operand of a product, K along its rows, and how it is cast.
struct GemmOperand {
  std::int64_t rows, k;
  std::span<const float> x;  ///< [rows, k]
  TensorCast cast;           ///< block and rule, or given scales; `scales` of a whole tensor if whole_amax is known
  float whole_amax = -1.0f;  ///< of the whole tensor where x holds only a part of it
  /// [rows, k] what is cast where that is not x itself: an operand that was cast before, along its
  /// other dimension. The error is still measured from x. Empty: x.
  std::span<const float> cast_from = {};
};

/// A cast operand: what a matrix unit reads, and what the codes stand for.
struct CastOperand {
  std::vector<std::uint16_t> codes;       ///< [rows, k]
  std::vector<std::uint32_t> wide_codes;  ///< [rows, k] instead, of formats of more than 16 bits
  std::vector<float> scale_inv;      ///< [blocks]
  std::vector<double> values;        ///< [rows, k] decoded times scale, exact; a Hadamard transform is undone
  ScaledMatrix matrix(const GemmOperand& operand) const {
    return {operand.cast.plan.format, operand.rows, operand.k, codes, operand.cast.block, scale_inv, wide_codes};
  }
};
CastOperand cast_operand(const GemmOperand& operand);

/// scaled_gemm() as something else than this CPU computes it: the same arguments, the same bits.
using Multiply = std::function<void(const ScaledMatrix& a, const ScaledMatrix& b, const ScaledGemmOptions& options,
                                    std::span<const float> c, std::span<float> d)>;

/// How a product is computed, as asked for.
struct GemmRequest {
  std::string accumulator = "hopper_wgmma";  ///< as parse_model() takes it
  std::string promote = "auto";  ///< N_C, "none", or "auto": the blocks of the scales along K, else none
  std::string order = "auto";    ///< a row of scale_orders, or "auto": the recipe's with block scales, else plain
  bool bf16_output = false;
  std::int64_t split_k = 1;
  Multiply multiply = {};        ///< empty: scaled_gemm()
  /// What a codec's decoded values are multiplied in; empty: binary32 where the unit takes that, else bfloat16.
  std::optional<Format> codec_format = {};
};

/// The operand as the request multiplies it: that of a codec with its decoded values in a format that the unit takes, under
/// one scale of 1; any other as it is. Throws UnknownName for an unknown unit.
GemmOperand multiplied(const GemmOperand& operand, const GemmRequest& request);

/// Throws UnknownName, std::invalid_argument for a request that does not fit the operands.
ScaledGemmOptions gemm_options(const GemmRequest& request, const GemmOperand& a, const GemmOperand& b);

/// Who owns the error of a product. With P = A B^T in binary64, A', B' the cast operands and D the
/// result, D - P = (A'B^T - AB^T) + (A'B'^T - A'B^T) + (unit - A'B'^T) + (output - unit). Each share is
/// the Frobenius norm of its term over that of P; the terms, not the norms, add up.
struct GemmError {
  double total = 0.0, from_a = 0.0, from_b = 0.0, from_accumulator = 0.0, from_output = 0.0;
  double max = 0.0;                        ///< largest |D - P| / rms(P)
  double p50 = 0.0, p99 = 0.0, p999 = 0.0; ///< percentiles of |D - P| / |P| over P != 0
  double bias = 0.0;                       ///< mean of (D - P) / rms(P)
  std::uint64_t nonfinite = 0;             ///< elements of D that are not finite: in none of the above
};

/// Computes the product and its error.
///
/// d  [a.rows, b.rows], written
GemmError measure_gemm(const GemmOperand& a, const GemmOperand& b, const GemmRequest& request,
                       std::span<const float> c, std::span<float> d, const Executor& execute);

}  // namespace fp8scope
