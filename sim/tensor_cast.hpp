#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "sim/recipe.hpp"

namespace fp8scope {

/// A tensor that was cast, with all that a kernel would leave behind.
struct TensorCodes {
  std::vector<float> x;                ///< [rows, cols] what was cast: the input, or its Hadamard transform
  std::vector<float> amax;             ///< [blocks] by the plan's NaN rule
  std::vector<Scales> scales;          ///< [blocks]
  std::vector<std::uint32_t> stored;   ///< [blocks] stored_scale(): codes, or bits
  std::vector<float> factor_amax;      ///< [1] or [rows along the contracted dimension]: of Plan::scope
  std::vector<std::uint16_t> codes;    ///< [rows, cols]
};

/// Casts a whole tensor under an online recipe, by the plain code: the reference of every faster path.
///
/// turned      the contracted dimension is the rows; `grid` has blocks turned accordingly
/// whole_amax  of the tensor as it is cast, where x holds only a part of it; negative: of x
/// seed        of a stochastic cast; the first element draws number `first`
/// Throws std::invalid_argument if the spans do not fit the shape, or a Hadamard transform the shape.
TensorCodes cast_tensor(const Plan& plan, const ScaleRule& rule, const BlockGrid& grid, bool turned,
                        std::span<const float> x, float whole_amax = -1.0f, std::uint64_t seed = 0,
                        std::uint64_t first = 0);

/// Values of the codes, decode(code) * scale_inv.  [rows, cols]
std::vector<float> tensor_values(const Plan& plan, const BlockGrid& grid, const TensorCodes& codes);

/// 4over6: the rule of a block whose elements are `x`, row after row of `width` elements: its largest
/// magnitude becomes 4 instead of 6 where that makes the error of the block strictly smaller.
///
/// Errors are summed in binary32, element after element of a row, then rows by halves.
/// Source: TransformerEngine NVFP4 4over6 reference.
ScaleRule select_4over6(const Plan& plan, const ScaleRule& rule, float amax, std::span<const float> x,
                        std::int64_t width);

}  // namespace fp8scope
