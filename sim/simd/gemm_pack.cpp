#include "sim/simd/gemm_pack.hpp"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>

namespace fp8scope::simd {
namespace {

constexpr int most_direct_exponents = 62;  ///< a byte orders that many without shifts

bool needs_shifts(const Format& f) { return f.max_exponent() - f.min_exponent() > most_direct_exponents; }

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
    : gemm_(&gemm), codes_(&codes), numbers_(numbers),
      lift_(is_b ? numbers.fraction - gemm.a.format.mantissa_bits - gemm.b.format.mantissa_bits : 0) {}

template <class Code>
void Packer::row_of(std::size_t row, std::size_t k, std::size_t count, std::uint32_t* record,
                    std::uint8_t* nonfinite) const {
  const Code* codes = static_cast<const Code*>(codes_->codes) + row * gemm_->shape.k + k;
  if (has_nonfinite(codes, count)) {
    for (std::size_t i = 0; i < count; ++i) *nonfinite |= nonfinite_mark(unpack_code(codes_->format, codes[i]));
    std::fill_n(record, numbers_.row_words(), 0u);  // every sum of this row is done by dot()
    return;
  }
  if (count < numbers_.terms) std::fill_n(record, numbers_.row_words(), 0u);
  if (numbers_.layout == Layout::words) return word_row(codes, count, record);
  float_row(codes, count, row, k, record, nonfinite);
}

template <class Code>
bool Packer::has_nonfinite(const Code* codes, std::size_t count) const {
  const Format& f = codes_->format;
  bool any = false;
  if (f.specials == Specials::fnuz) {
    for (std::size_t i = 0; i < count; ++i) any |= codes[i] == f.nan_code();
    return any;
  }
  const auto mask = static_cast<Code>(f.magnitude_mask()), largest = static_cast<Code>(f.max_code());
  Code top = 0;
  for (std::size_t i = 0; i < count; ++i) top = std::max<Code>(top, codes[i] & mask);
  return top > largest;
}

template <class Code>
void Packer::word_row(const Code* codes, std::size_t count, std::uint32_t* record) const {
  const Format& f = codes_->format;
  const auto mask = static_cast<std::uint8_t>(f.magnitude_mask());
  const auto hidden = static_cast<std::uint8_t>(1 << f.mantissa_bits);
  const auto fraction = static_cast<std::uint8_t>(hidden - 1);
  const int places = f.mantissa_bits, sign_place = f.bits() - 1;
  alignas(4) std::uint8_t significands[most_word_terms] = {}, signs[most_word_terms] = {},
                          bytes[most_word_terms] = {};
  // Plain loops over bytes: the compiler makes vectors of them.
  for (std::size_t i = 0; i < count; ++i) {
    const auto magnitude = static_cast<std::uint8_t>(codes[i] & mask);
    const auto field = static_cast<std::uint8_t>(magnitude >> places);
    significands[i] = static_cast<std::uint8_t>((magnitude & fraction) | (field != 0 ? hidden : 0));
    bytes[i] = static_cast<std::uint8_t>(magnitude == 0 ? 0 : 64 + field - (field != 0 ? 1 : 0));
    signs[i] = static_cast<std::uint8_t>(codes[i] >> sign_place);
  }
  const std::size_t fours = numbers_.terms / 4;
  const auto word = [](const std::uint8_t* from) {
    std::uint32_t w;
    std::memcpy(&w, from, 4);
    return w;
  };
  for (std::size_t q = 0; q < fours; ++q) {
    const std::uint32_t m = word(significands + 4 * q), s = word(signs + 4 * q);
    record[2 * q] = (m & 0x00ff00ffu) << lift_;
    record[2 * q + 1] = (m >> 8 & 0x00ff00ffu) << lift_;
    record[2 * fours + 2 * q] = (s & 0x00ff00ffu) * 0xfffeu;
    record[2 * fours + 2 * q + 1] = (s >> 8 & 0x00ff00ffu) * 0xfffeu;
    record[4 * fours + q] = word(bytes + 4 * q);
  }
}

template <class Code>
void Packer::float_row(const Code* codes, std::size_t count, std::size_t row, std::size_t k,
                       std::uint32_t* record, std::uint8_t* nonfinite) const {
  const Format& f = codes_->format;
  const auto mask = static_cast<Code>(f.magnitude_mask());
  const int places = f.mantissa_bits, sign_place = f.bits() - 1;
  auto* values = reinterpret_cast<float*>(record);
  auto* bytes = reinterpret_cast<std::uint8_t*>(record + numbers_.terms);
  int largest = f.bias, lowest = 1, shift = 0;  // biased exponents, of which `largest` becomes 2^0
  if (numbers_.shifted) {
    Code top = 0;
    for (std::size_t i = 0; i < count; ++i) top = std::max<Code>(top, codes[i] & mask);
    largest = std::max(static_cast<int>(top >> places), 1);
    lowest = largest - clamp_places;
    shift = top == 0 ? 0 : largest - f.bias;
  }
  // A code's fields, moved to binary32's places, are its value times 2^(bias - 127), also where it
  // is subnormal. What falls below 2^-126 here has products below any quantum that is exact.
  const float up = pow2(127 - largest);
  for (std::size_t i = 0; i < count; ++i) {
    const float moved = bits_float(static_cast<std::uint32_t>(codes[i] & mask) << (23 - places)) * up;
    values[i] = bits_float(float_bits(moved) | static_cast<std::uint32_t>(codes[i] >> sign_place) << 31);
  }
  for (std::size_t i = 0; i < count; ++i) {
    const int field = std::max(static_cast<int>((codes[i] & mask) >> places), 1);
    bytes[i] = static_cast<std::uint8_t>((codes[i] & mask) == 0 ? 0 : 64 + std::max(field - lowest, 0));
  }
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

void Packer::row(std::size_t row, std::size_t k, std::size_t count, std::uint32_t* record,
                 std::uint8_t* nonfinite) const {
  switch (code_bytes(codes_->format)) {
    case 1: return row_of<std::uint8_t>(row, k, count, record, nonfinite);
    case 2: return row_of<std::uint16_t>(row, k, count, record, nonfinite);
    default: return row_of<std::uint32_t>(row, k, count, record, nonfinite);
  }
}

void Packer::panel(std::size_t first, std::size_t last, std::size_t k, std::size_t count,
                   std::uint32_t* record, std::uint8_t* nonfinite, std::vector<std::uint32_t>& rows) const {
  const std::size_t terms = numbers_.terms, words = numbers_.row_words();
  rows.assign(panel_columns * words, 0u);
  for (std::size_t j = 0; j < panel_columns && first + j < last; ++j)
    row(first + j, k, count, &rows[j * words], nonfinite + j);
  // Word w of every row becomes line `line` of the panel, plus what turns a sign of A into one of B.
  const auto turn = [&](std::size_t w, std::size_t line, std::uint32_t plus) {
    for (std::size_t j = 0; j < panel_columns; ++j)
      record[line * panel_columns + j] = rows[j * words + w] + plus;
  };
  if (numbers_.layout == Layout::floats) {
    for (std::size_t w = 0; w < words; ++w) turn(w, w, 0);
    return;
  }
  for (std::size_t q = 0; q < terms / 4; ++q) {
    turn(terms + q, 5 * q, 0);
    for (std::size_t h = 0; h < 2; ++h) {
      turn(2 * q + h, 5 * q + 1 + h, 0);
      turn(terms / 2 + 2 * q + h, 5 * q + 3 + h, 0x00010001u);
    }
  }
}

}  // namespace fp8scope::simd
