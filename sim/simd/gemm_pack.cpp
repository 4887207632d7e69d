#include "sim/simd/gemm_pack.hpp"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>

namespace fp8scope::simd {
namespace {

constexpr int most_direct_exponents = 62;  ///< a byte orders that many without shifts

std::uint32_t code_at(const GemmCodes& x, std::size_t index) {
  switch (code_bytes(x.format)) {
    case 1: return static_cast<const std::uint8_t*>(x.codes)[index];
    case 2: return static_cast<const std::uint16_t*>(x.codes)[index];
    default: return static_cast<const std::uint32_t*>(x.codes)[index];
  }
}

bool needs_shifts(const Format& f) { return f.max_exponent() - f.min_exponent() > most_direct_exponents; }

std::uint8_t nonfinite_mark(const Operand& x) {
  return x.kind == Kind::nan ? 1 : x.kind == Kind::infinite ? 2 : 0;
}

}  // namespace

StepNumbers step_numbers(const Model& model, const Format& a, const Format& b) {
  StepNumbers n;
  const auto terms = static_cast<std::size_t>(model.terms);
  n.terms = (terms + 3) / 4 * 4;
  n.fraction = model.fraction_bits;
  n.shifted = model.scale_block != 0 || needs_shifts(a) || needs_shifts(b);
  n.exponent_offset = n.shifted ? 127 - 2 * (64 + clamp_places)
                                : 127 - 2 * 64 + a.min_exponent() + b.min_exponent();
  n.floor = model.floor_exponent + 127;
  n.result_mask = ~low_mask(23 - model.result.fraction_bits);
  // All terms at their largest, below 4 units each, and C.
  n.wide = (n.terms + 1) << (n.fraction + 2) > std::size_t{1} << 24;
  n.half = model.result == rne_f16;
  return n;
}

Packer::Packer(const Gemm& gemm, const GemmCodes& codes, const StepNumbers& numbers)
    : gemm_(&gemm), codes_(&codes), numbers_(numbers) {
  if (numbers.shifted) return;
  for (const Operand& x : operand_table(codes.format)) {
    const bool some = x.significand != 0;
    const auto byte = some ? static_cast<std::uint8_t>(64 + x.exponent - codes.format.min_exponent())
                           : std::uint8_t{0};
    table_.push_back({x.kind == Kind::finite ? operand_value(x) : 0.0f, byte, nonfinite_mark(x)});
  }
}

void Packer::row(std::size_t row, std::size_t k, std::size_t count, float* values, std::uint8_t* bytes,
                 std::int32_t* shift, std::uint8_t* nonfinite) const {
  const std::size_t at = row * gemm_->shape.k + k;
  *shift = 0;
  std::fill(values + count, values + numbers_.terms, 0.0f);
  std::fill(bytes + count, bytes + numbers_.terms, std::uint8_t{0});
  if (!numbers_.shifted) {
    for (std::size_t i = 0; i < count; ++i) {
      const Entry& e = table_[code_at(*codes_, at + i)];
      values[i] = e.value;
      bytes[i] = e.byte;
      *nonfinite |= e.nonfinite;
    }
    return;
  }
  int largest = -1000;
  const auto operand = [&](std::size_t i) {
    Operand x = unpack_code(codes_->format, code_at(*codes_, at + i));
    *nonfinite |= nonfinite_mark(x);
    return x;
  };
  for (std::size_t i = 0; i < count; ++i)
    if (const Operand x = operand(i); x.significand != 0) largest = std::max<int>(largest, x.exponent);
  if (largest == -1000) largest = 0;
  for (std::size_t i = 0; i < count; ++i) {
    Operand x = operand(i);
    const int place = x.exponent - largest;
    bytes[i] = x.significand == 0 ? 0 : static_cast<std::uint8_t>(64 + std::max(place + clamp_places, 0));
    // Far below 2^-126 the value may vanish: its products are below any quantum that is exact here.
    values[i] = std::ldexp(x.negative ? -static_cast<float>(x.significand) : static_cast<float>(x.significand),
                           place - x.fraction);
  }
  *shift = largest;
  if (gemm_->model.scale_block != 0) {
    const auto block = static_cast<std::size_t>(gemm_->model.scale_block);
    const std::size_t blocks = (gemm_->shape.k + block - 1) / block;
    const auto* scales = static_cast<const std::uint8_t*>(codes_->scales);
    const Operand s = unpack_scale(gemm_->model.scale_format, scales[row * blocks + k / block]);
    *nonfinite |= nonfinite_mark(s);
    if (s.kind == Kind::finite) *shift += s.exponent;
  }
}

void Packer::rows(std::size_t first, std::size_t rows, std::size_t last, std::size_t k, std::size_t count,
                  float* values, std::uint8_t* bytes, std::int32_t* shifts,
                  std::uint8_t* nonfinite) const {
  const std::size_t terms = numbers_.terms;
  for (std::size_t r = 0; r < rows; ++r) {
    if (first + r < last) {
      row(first + r, k, count, values + r * terms, bytes + r * terms, shifts + r, nonfinite + r);
    } else {
      std::fill_n(values + r * terms, terms, 0.0f);
      std::fill_n(bytes + r * terms, terms, std::uint8_t{0});
      shifts[r] = 0;
    }
  }
}

void Packer::panel(std::size_t first, std::size_t last, std::size_t k, std::size_t count, float* values,
                   std::uint8_t* bytes, std::int32_t* shifts, std::uint8_t* nonfinite) const {
  const std::size_t terms = numbers_.terms;
  std::vector<float> row_values(terms);
  std::vector<std::uint8_t> row_bytes(terms);
  for (std::size_t j = 0; j < panel_columns; ++j) {
    rows(first + j, 1, last, k, count, row_values.data(), row_bytes.data(), shifts + j, nonfinite + j);
    for (std::size_t i = 0; i < terms; ++i) {
      values[i * panel_columns + j] = row_values[i];
      bytes[i / 4 * 4 * panel_columns + 4 * j + i % 4] = row_bytes[i];
    }
  }
}

}  // namespace fp8scope::simd
