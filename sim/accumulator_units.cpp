// The units that are not one aligned sum: scaled 4-bit formats, the FP8 lowering, CDNA3.
#include <array>
#include <vector>

#include "sim/accumulator_steps.hpp"

namespace fp8scope::accumulate {
namespace {

/// Largest exponent of a nonzero product; of none, one that no product has.
int largest_product(const std::vector<Product>& products, std::size_t first, std::size_t stride) {
  int largest = -999;
  for (std::size_t k = first; k < products.size(); k += stride)
    if (products[k].significand != 0) largest = std::max(largest, products[k].exponent);
  return largest;
}

/// Sum of the products first, first + stride, ..., each cut to 2^quantum.
std::int64_t cut_sum(const std::vector<Product>& products, std::size_t first, std::size_t stride,
                     int quantum) {
  std::int64_t sum = 0;
  for (std::size_t k = first; k < products.size(); k += stride) {
    const Product& p = products[k];
    if (p.significand != 0)
      sum += shift_term(p.significand, p.negative, quantum - (p.exponent - p.fraction), Cut::toward_zero);
  }
  return sum;
}

/// Products at or beyond 2^128 overflow: turns both factors into what gives the same infinity.
bool overflow_to_infinity(std::vector<Operand>& a, std::vector<Operand>& b) {
  bool any = false;
  for (std::size_t k = 0; k < a.size(); ++k) {
    const Product p = multiply(a[k], b[k]);
    if (p.significand == 0 || floor_log2(p.significand) + p.exponent - p.fraction < 128) continue;
    a[k].kind = b[k].kind = Kind::infinite;
    any = true;
  }
  return any;
}

}  // namespace

// GST-FDPA: section 2.3.
float grouped_step(const Model& model, const Terms& a, const Terms& b, float c) {
  const auto scale = [&](std::size_t k) {
    const std::size_t block = k / static_cast<std::size_t>(model.scale_block);
    return multiply(a.scales[block], b.scales[block]);
  };
  return grouped_terms(
      model, [&](std::size_t k) { return a.values[k]; }, [&](std::size_t k) { return b.values[k]; }, scale, a.values.size(),
      special_scales(a, b), unpack_c(model.result, c));
}

// Section 4: two FP16 steps of 16 products, interleaved by the packing of the registers.
float lowered_step(const Model& model, const Terms& a, const Terms& b, float c) {
  std::array<std::vector<Operand>, 2> x, y;
  for (std::size_t k = 0; k < a.values.size(); ++k) {
    const std::size_t half = k / 2 % 2;
    x[half].push_back(a.values[k]);
    y[half].push_back(b.values[k]);
  }
  const float first = aligned_step(model, {x[0], {}}, {y[0], {}}, 0.0f);
  if (model.result == rne_f16)
    return rounded_sum(model.result, aligned_step(model, {x[1], {}}, {y[1], {}}, first), c);
  const float second = aligned_step(model, {x[1], {}}, {y[1], {}}, 0.0f);
  return rounded_sum(rne_f32, c, rounded_sum(rne_f32, first, second));
}

// TR-FDPA and GTR-FDPA: sections 2.7 and 2.8.
float cdna3_step(const Model& model, const Terms& a, const Terms& b, float c) {
  const bool even_odd = model.summation == Summation::cdna3_even_odd;
  const std::size_t stride = even_odd ? 2 : 1;
  const int narrow = model.fraction_bits, wide = 31;
  Operand addend = unpack_code(fp32, float_bits(c));

  std::vector<Operand> x(a.values.begin(), a.values.end()), y(b.values.begin(), b.values.end());
  overflow_to_infinity(x, y);
  std::vector<Product> products(x.size());
  for (std::size_t k = 0; k < x.size(); ++k) products[k] = multiply(x[k], y[k]);

  const int even = largest_product(products, 0, stride);
  const int odd = even_odd ? largest_product(products, 1, stride) : even;
  const int largest = std::max(even, odd);
  if (addend.kind != Kind::finite && even_odd && model.nonfinite_c == NonfiniteC::dropped &&
      largest - narrow - 1 > -1)
    addend = {0, -1, 23, false, Kind::finite};
  if (const auto special = special_result({x, {}}, {y, {}}, addend)) return *special;

  std::int64_t sum = 0;  // in units of 2^(largest - narrow)
  if (even_odd) {
    sum = floor_shift(cut_sum(products, 0, 2, even - narrow), largest - even) +
          floor_shift(cut_sum(products, 1, 2, odd - narrow), largest - odd);
  } else {
    sum = cut_sum(products, 0, 1, largest - narrow);
  }
  const int top = std::max<int>(largest, addend.exponent);
  const int quantum = top - wide - 1;
  const std::int64_t t = floor_shift(sum << (wide + 1 - narrow), top - largest);
  std::int64_t kept_c = shift_term(addend.significand, addend.negative,
                                   top - narrow - (addend.exponent - addend.fraction), Cut::floor);
  if (even_odd && addend.exponent < top - narrow - 1) kept_c = 0;
  const std::int64_t v = t + (kept_c << (wide + 1 - narrow));
  if (v == 0) return 0.0f;

  const auto magnitude = static_cast<std::uint64_t>(v < 0 ? -v : v);
  const int exponent = std::max(floor_log2(magnitude) + quantum, -126);
  const int drop = std::max(exponent - wide - quantum, 0);
  return round_result(model, floor_shift(v, drop), quantum + drop);
}

}  // namespace fp8scope::accumulate
