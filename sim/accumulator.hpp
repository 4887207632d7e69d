#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "sim/format.hpp"
#include "sim/operand.hpp"

namespace fp8scope {

/// How the products of one step become a sum.
enum class Summation : std::uint8_t {
  aligned,     ///< terms cut to a common quantum, added exactly, rounded once: NVIDIA
  grouped,     ///< exact sums of 16 products, scaled, then as `aligned`: NVIDIA 4-bit formats
  cdna3,       ///< products cut, sum and C floored to two quanta, renormalised: AMD CDNA3
  cdna3_even_odd,  ///< as cdna3, even and odd products summed apart: AMD CDNA3 FP8
  exact,       ///< the exact sum of the step, rounded once: AMD CDNA1, the ideal
  flushed,     ///< rounded products, pairwise rounded sums, subnormals flushed: AMD CDNA2
  fma,         ///< one fused multiply-add per product, k ascending
  sequential,  ///< rounded product, rounded sum, k ascending
  pairwise,    ///< rounded products, halves added to each other; C last
  binary64,    ///< sums in binary64, k ascending from C; one rounding to binary32 at the end
  lowered,     ///< FP8 mma.sync as ptxas lowers it to two FP16 steps
};

/// What a term loses when it is moved to the common quantum.
enum class Cut : std::uint8_t { toward_zero, floor, nearest_even };

/// Where C joins.
enum class Join : std::uint8_t {
  inside,   ///< C is one more term of the step's alignment
  outside,  ///< the step starts from zero; C + step is rounded to nearest even
};

/// The format that a step's sum is rounded to.
struct Result {
  int fraction_bits;
  int min_exponent;
  int max_exponent;
  bool nearest;  ///< to nearest even, else toward zero; both overflow to infinity

  friend constexpr bool operator==(const Result&, const Result&) = default;
};

inline constexpr Result rz_f32{23, -126, 127, false};
inline constexpr Result rz_e8m13{13, -126, 127, false};
inline constexpr Result rne_f32{23, -126, 127, true};
inline constexpr Result rne_f16{10, -14, 15, true};

/// Sign of a result that is not zero before it is rounded to zero (sources disagree; D3).
enum class UnderflowSign : std::uint8_t {
  kept,      ///< MMA-Sim v2 (arXiv:2511.10909v2): -0
  positive,  ///< MMA-Sim v1, tcgen05-model
};

/// Whether a product with a zero factor takes part in the search for the largest exponent (D4).
enum class ZeroFactors : std::uint8_t {
  floor,    ///< as one fixed small exponent: MMA-Sim v2, verified on H100 and RTX 4090 words
  counted,  ///< the zero has exponent -126 and the other factor its own: MMA-Sim v1
};

/// NaN or infinity in C of CDNA3 FP8 under much larger products (D5).
enum class NonfiniteC : std::uint8_t {
  dropped,     ///< MMA-Sim v2: cut away like any small C
  propagated,  ///< IEEE 754, MMA-Sim v1
};

/// The alignment window of scaled 4-bit formats (D6).
enum class Window : std::uint8_t {
  scales,    ///< the largest of the scale pairs and C; sums of 16: MMA-Sim
  elements,  ///< also the elements' own exponents; sums of 4: tcgen05-model (B200 captures)
};

/// How a matrix unit adds: numbers and choices, nothing else.
/// Source: specification of matrix units, sections 1 and 2; MMA-Sim, arXiv:2511.10909.
struct Model {
  Summation summation = Summation::aligned;
  int terms = 32;            ///< products of one step (L); 0: all of K
  int fraction_bits = 25;    ///< F: the quantum is 2^(E - F), E the largest exponent of a step
  int floor_exponent = -133; ///< E is at least this (e_zero)
  Result result = rz_f32;
  Cut cut = Cut::toward_zero;
  Join join = Join::inside;
  int scale_block = 0;       ///< products that share a pair of scales; 0: none
  Format scale_format = e8m0;
  UnderflowSign underflow_sign = UnderflowSign::kept;
  ZeroFactors zero_factors = ZeroFactors::floor;
  NonfiniteC nonfinite_c = NonfiniteC::dropped;
  Window window = Window::scales;

  friend constexpr bool operator==(const Model&, const Model&) = default;
};

/// One row or one column: what is multiplied, and its block scales.
struct Terms {
  std::span<const Operand> values;  ///< [K]
  std::span<const Operand> scales;  ///< [ceil(K / scale_block)], empty without block scales
};

/// c + sum over k of a[k] * b[k], as the unit adds it: step after step, k ascending.
///
/// The result is a binary32 number, also where the unit writes binary16. NaN is 0x7fffffff.
/// Throws std::invalid_argument if a, b or their scales differ in length.
float dot(const Model& model, const Terms& a, const Terms& b, float c);

/// The fused multiply-add chain of the FP64 units: fma(a[k], b[k], sum), k ascending from c.
double dot_fp64(std::span<const double> a, std::span<const double> b, double c);

}  // namespace fp8scope
