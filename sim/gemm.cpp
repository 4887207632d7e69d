#include "sim/gemm.hpp"

#include <algorithm>
#include <cstring>
#include <vector>

namespace fp8scope {
namespace {

std::uint32_t code_at(const GemmCodes& x, std::size_t index) {
  switch (code_bytes(x.format)) {
    case 1: return static_cast<const std::uint8_t*>(x.codes)[index];
    case 2: return static_cast<const std::uint16_t*>(x.codes)[index];
    default: return static_cast<const std::uint32_t*>(x.codes)[index];
  }
}

/// One row of an operand, unpacked.
struct Row {
  std::vector<Operand> values, scales;

  Row(const Gemm& gemm, const GemmCodes& x, std::size_t row) {
    const std::size_t k = gemm.shape.k;
    values.reserve(k);
    for (std::size_t i = 0; i < k; ++i) values.push_back(unpack_code(x.format, code_at(x, row * k + i)));
    if (gemm.model.scale_block == 0) return;
    const auto block = static_cast<std::size_t>(gemm.model.scale_block);
    const std::size_t blocks = (k + block - 1) / block;
    for (std::size_t i = 0; i < blocks; ++i)
      scales.push_back(unpack_scale(gemm.model.scale_format,
                                    static_cast<const std::uint8_t*>(x.scales)[row * blocks + i]));
  }

  Terms part(int block, std::size_t first, std::size_t count) const {
    Terms t{std::span(values).subspan(first, count), {}};
    if (block != 0) {
      const std::size_t from = first / block, to = (first + count + block - 1) / block;
      t.scales = std::span(scales).subspan(from, to - from);
    }
    return t;
  }
};

float element(const Gemm& gemm, const Row& a, const Row& b, std::size_t row, std::size_t column) {
  const float c = gemm.c ? gemm.c[row * gemm.shape.n + column] : 0.0f;
  const int block = gemm.model.scale_block;
  if (gemm.promote_every == 0)
    return dot(gemm.model, a.part(block, 0, gemm.shape.k), b.part(block, 0, gemm.shape.k), c);
  static const PlainPromotion plain;
  const Promotion& promotion = gemm.promotion ? *gemm.promotion : plain;
  float total = c;
  for (std::size_t k = 0, chunk = 0; k < gemm.shape.k; k += gemm.promote_every, ++chunk) {
    const std::size_t count = std::min(gemm.promote_every, gemm.shape.k - k);
    const float partial = dot(gemm.model, a.part(block, k, count), b.part(block, k, count), 0.0f);
    promotion.add(chunk, row, column, 1, &partial, &total);
  }
  return is_nan(total) ? bits_float(0x7fffffffu) : total;
}

}  // namespace

void gemm_block_by_dot(const Gemm& gemm, std::size_t first_row, std::size_t rows,
                       std::size_t first_column, std::size_t columns, float* d) {
  std::vector<Row> a;
  for (std::size_t r = 0; r < rows; ++r) a.emplace_back(gemm, gemm.a, first_row + r);
  for (std::size_t n = first_column; n < first_column + columns; ++n) {
    const Row b(gemm, gemm.b, n);
    for (std::size_t r = 0; r < rows; ++r)
      d[(first_row + r) * gemm.shape.n + n] = element(gemm, a[r], b, first_row + r, n);
  }
}

float gemm_element_by_dot(const Gemm& gemm, std::size_t row, std::size_t column) {
  return element(gemm, Row(gemm, gemm.a, row), Row(gemm, gemm.b, column), row, column);
}

}  // namespace fp8scope
