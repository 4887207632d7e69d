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

/// Index of k's word in Layout::words.
std::size_t word_place(std::size_t k) { return k / 4 * 4 + k % 2 * 2 + k / 2 % 2; }

std::uint8_t nonfinite_mark(const Operand& x) {
  return x.kind == Kind::nan ? 1 : x.kind == Kind::infinite ? 2 : 0;
}

}  // namespace

StepNumbers step_numbers(const Model& model, const Format& a, const Format& b) {
  StepNumbers n;
  const auto terms = static_cast<std::size_t>(model.terms);
  const int fraction = a.mantissa_bits + b.mantissa_bits;
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
  const bool words = (terms == 16 || terms == 32) && n.fraction <= 13 && n.fraction >= fraction &&
                     !n.shifted && !n.half && has_word_steps();
  n.layout = words ? Layout::words : Layout::floats;
  return n;
}

Packer::Packer(const Gemm& gemm, const GemmCodes& codes, const StepNumbers& numbers, bool is_b)
    : gemm_(&gemm), codes_(&codes), numbers_(numbers), is_b_(is_b) {
  if (numbers.shifted) return;
  const int lift = is_b ? numbers.fraction - gemm.a.format.mantissa_bits - gemm.b.format.mantissa_bits : 0;
  for (const Operand& x : operand_table(codes.format)) {
    Entry e{};
    e.nonfinite = nonfinite_mark(x);
    e.negative = x.negative;
    if (x.kind == Kind::finite) e.value = operand_value(x);
    if (x.significand != 0)
      e.byte = static_cast<std::uint8_t>(64 + x.exponent - codes.format.min_exponent());
    if (numbers.layout == Layout::words) e.significand = static_cast<std::uint16_t>(x.significand << lift);
    table_.push_back(e);
  }
}

void Packer::row(std::size_t row, std::size_t k, std::size_t count, std::uint32_t* record,
                 std::uint8_t* nonfinite) const {
  if (count < numbers_.terms) std::fill_n(record, numbers_.row_words(), 0u);
  if (numbers_.layout == Layout::words) return word_row(row, k, count, record, nonfinite);
  if (numbers_.shifted) return shifted_row(row, k, count, record, nonfinite);
  const std::size_t at = row * gemm_->shape.k + k;
  auto* values = reinterpret_cast<float*>(record);
  auto* bytes = reinterpret_cast<std::uint8_t*>(record + numbers_.terms);
  record[numbers_.row_words() - 1] = 0;
  for (std::size_t i = 0; i < count; ++i) {
    const Entry& e = table_[code_at(*codes_, at + i)];
    values[i] = e.value;
    bytes[i] = e.byte;
    *nonfinite |= e.nonfinite;
  }
}

void Packer::word_row(std::size_t row, std::size_t k, std::size_t count, std::uint32_t* record,
                      std::uint8_t* nonfinite) const {
  const auto* codes = static_cast<const std::uint8_t*>(codes_->codes) + row * gemm_->shape.k + k;
  auto* significands = reinterpret_cast<std::uint16_t*>(record);
  auto* signs = significands + numbers_.terms;
  auto* bytes = reinterpret_cast<std::uint8_t*>(signs + numbers_.terms);
  for (std::size_t i = 0; i < count; ++i) {
    const Entry& e = table_[codes[i]];
    const std::size_t place = word_place(i);
    significands[place] = e.significand;
    signs[place] = e.negative ? 0xfffe : 0;
    bytes[i] = e.byte;
    *nonfinite |= e.nonfinite;
  }
}

void Packer::shifted_row(std::size_t row, std::size_t k, std::size_t count, std::uint32_t* record,
                         std::uint8_t* nonfinite) const {
  const std::size_t at = row * gemm_->shape.k + k;
  auto* values = reinterpret_cast<float*>(record);
  auto* bytes = reinterpret_cast<std::uint8_t*>(record + numbers_.terms);
  int largest = -1000;
  const auto operand = [&](std::size_t i) { return unpack_code(codes_->format, code_at(*codes_, at + i)); };
  for (std::size_t i = 0; i < count; ++i) {
    const Operand x = operand(i);
    *nonfinite |= nonfinite_mark(x);
    if (x.significand != 0) largest = std::max<int>(largest, x.exponent);
  }
  if (largest == -1000) largest = 0;
  for (std::size_t i = 0; i < count; ++i) {
    const Operand x = operand(i);
    const int place = x.exponent - largest;
    bytes[i] = x.significand == 0 ? 0 : static_cast<std::uint8_t>(64 + std::max(place + clamp_places, 0));
    // What lies below 2^-126 may vanish: its products are below any quantum that is exact here.
    const float magnitude =
        place < -100 ? 0.0f : static_cast<float>(x.significand) * pow2(place - x.fraction);
    values[i] = x.negative ? -magnitude : magnitude;
  }
  int shift = largest;
  if (gemm_->model.scale_block != 0) {
    const auto block = static_cast<std::size_t>(gemm_->model.scale_block);
    const std::size_t blocks = (gemm_->shape.k + block - 1) / block;
    const auto* scales = static_cast<const std::uint8_t*>(codes_->scales);
    const Operand s = unpack_scale(gemm_->model.scale_format, scales[row * blocks + k / block]);
    *nonfinite |= nonfinite_mark(s);
    if (s.kind == Kind::finite) shift += s.exponent;
  }
  record[numbers_.row_words() - 1] = static_cast<std::uint32_t>(shift);
}

void Packer::panel(std::size_t first, std::size_t last, std::size_t k, std::size_t count,
                   std::uint32_t* record, std::uint8_t* nonfinite) const {
  const std::size_t terms = numbers_.terms;
  std::vector<std::uint32_t> source(numbers_.row_words());
  for (std::size_t j = 0; j < panel_columns; ++j) {
    if (first + j < last)
      row(first + j, k, count, source.data(), nonfinite + j);
    else
      std::fill(source.begin(), source.end(), 0u);
    if (numbers_.layout == Layout::words) {
      for (std::size_t q = 0; q < terms / 4; ++q) {
        std::uint32_t* four = record + q * 5 * panel_columns + j;
        four[0] = source[terms + q];
        for (std::size_t h = 0; h < 2; ++h) {
          four[(1 + h) * panel_columns] = source[2 * q + h];
          four[(3 + h) * panel_columns] = source[terms / 2 + 2 * q + h] + 0x00010001u;
        }
      }
      continue;
    }
    for (std::size_t i = 0; i < terms; ++i) record[i * panel_columns + j] = source[i];
    for (std::size_t q = 0; q < terms / 4; ++q)
      record[(terms + q) * panel_columns + j] = source[terms + q];
    record[(terms + terms / 4) * panel_columns + j] = source[terms + terms / 4];
  }
}

}  // namespace fp8scope::simd
