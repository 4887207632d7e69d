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
  if (x.kind == Kind::nan) return nan_mark;
  return x.kind == Kind::infinite ? infinity_mark : 0;
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
  n.floor = n.shifted ? model.floor_exponent + 127 : std::max(model.floor_exponent + 127, lowest_exponent);
  n.result_mask = ~low_mask(23 - model.result.fraction_bits);
  // All terms at their largest, below 4 units each, and C.
  n.wide = (n.terms + 1) << (n.fraction + 2) > std::size_t{1} << 24;
  n.half = model.result == rne_f16;
  // The byte of a number times zero is one number's byte: an exponent below that of any sum of
  // products, and to be kept below that of C.
  const int one_byte = 64 + std::max(a.max_exponent() - a.min_exponent(), b.max_exponent() - b.min_exponent());
  n.c_exponent = std::max(lowest_exponent - 127 + 1, one_byte + n.exponent_offset - 127 + 1);
  const bool words = (terms == 16 || terms == 32) && n.fraction <= 13 && n.fraction > fraction &&
                     !n.shifted && !n.half && n.exponent_offset < 0 && has_word_steps();
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
  if constexpr (sizeof(Code) == 1)
    if (numbers_.layout == Layout::words &&
        pack_word_row(codes_->format, lift_, numbers_.terms, codes, count, record, 0))
      return;
  if (numbers_.layout == Layout::words || has_nonfinite(codes, count)) {
    for (std::size_t i = 0; i < count; ++i) *nonfinite |= nonfinite_mark(unpack_code(codes_->format, codes[i]));
    std::fill_n(record, numbers_.row_words(), 0u);  // every sum of this row is done by dot()
    return;
  }
  if (count < numbers_.terms) std::fill_n(record, numbers_.row_words(), 0u);
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

void Packer::row(const StepMap& map, std::size_t row, std::size_t first, std::size_t steps,
                 std::uint32_t* record, std::size_t record_step, std::uint8_t* nonfinite) const {
  const std::size_t k = map.first(first), last = first + steps - 1;
  if (numbers_.layout == Layout::words && map.contiguous() &&
      pack_word_row(codes_->format, lift_, numbers_.terms,
                    static_cast<const std::uint8_t*>(codes_->codes) + row * gemm_->shape.k + k,
                    map.first(last) + map.count(last) - k, record, record_step))
    return;
  for (std::size_t s = 0; s < steps; ++s)
    step(row, map.first(first + s), map.count(first + s), record + s * record_step, nonfinite);
}

void Packer::step(std::size_t row, std::size_t k, std::size_t count, std::uint32_t* record,
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
  if (numbers_.layout == Layout::words && count == terms &&
      pack_word_panel(codes_->format, lift_, terms,
                      static_cast<const std::uint8_t*>(codes_->codes) + first * gemm_->shape.k + k,
                      gemm_->shape.k, std::min(panel_columns, last - first), record))
    return;
  rows.assign(panel_columns * words, 0u);
  for (std::size_t j = 0; j < panel_columns && first + j < last; ++j)
    step(first + j, k, count, &rows[j * words], nonfinite + j);
  // Word w of every row becomes line `line` of the panel, plus what turns a sign of A into one of B.
  const auto turn = [&](std::size_t w, std::size_t line, std::uint32_t plus) {
    for (std::size_t j = 0; j < panel_columns; ++j)
      record[line * panel_columns + j] = rows[j * words + w] + plus;
  };
  if (numbers_.layout == Layout::floats) {
    for (std::size_t w = 0; w < words; ++w) turn(w, w, 0);
    return;
  }
  const std::size_t fours = terms / 4;
  for (std::size_t q = 0; q < fours; ++q) {
    turn(4 * fours + q, 5 * q, 0);
    for (std::size_t h = 0; h < 2; ++h) {
      turn(h * fours + q, 5 * q + 1 + h, 0);
      turn((2 + h) * fours + q, 5 * q + 3 + h, 0x00010001u);
    }
  }
}

}  // namespace fp8scope::simd
