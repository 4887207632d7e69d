#pragma once

#include <cmath>
#include <cstring>
#include <random>
#include <string>
#include <vector>

#include "sim/models.hpp"
#include "sim/simd/gemm.hpp"

/// Random products of matrices for the tests of gemm().
namespace fp8scope {

/// What the operands of a fuzzed product look like.
enum class Kinds {
  bits,        ///< any code, a few of them NaN or infinity
  finite,      ///< any finite code
  spread,      ///< exponents 90 apart at most, so that bfloat16 products overlap now and then
  normal,
  cancelling,  ///< 1, -1 and their neighbours
  sparse,      ///< three quarters are zero
};

inline constexpr Kinds all_kinds[] = {Kinds::bits, Kinds::finite, Kinds::spread, Kinds::normal, Kinds::cancelling, Kinds::sparse};

struct Matrix {
  std::vector<std::uint8_t> bytes;
  std::vector<std::uint8_t> scales;
};

inline std::uint32_t random_code(const Format& f, Kinds kinds, std::mt19937& random) {
  auto code = static_cast<std::uint32_t>(random()) & low_mask(f.bits());
  if (kinds == Kinds::spread && f.exponent_bits == 8) {
    const std::uint32_t field = static_cast<std::uint32_t>(f.bias) - 45 + random() % 91;
    code = (code & ~(0xffu << f.mantissa_bits)) | field << f.mantissa_bits;
  }
  const bool special = (code & f.magnitude_mask()) > f.max_code() || (f.specials == Specials::fnuz && code == f.nan_code());
  if (kinds == Kinds::bits && random() % 64 == 0) return code;  // a few NaN and Inf are enough
  if (kinds == Kinds::sparse && random() % 4 != 0) return 0;
  if (kinds == Kinds::normal) {
    std::normal_distribution<float> normal(0.0f, 0.05f * f.max_value() > 8.0f ? 8.0f : 1.0f);
    return encode(f, normal(random));
  }
  if (kinds == Kinds::cancelling) return encode(f, random() % 2 != 0 ? 1.0f : -1.0f) + random() % 2;
  return special ? 0u : code;
}

inline Matrix random_matrix(const Format& f, std::size_t rows, std::size_t k, int block, Kinds kinds,
                     std::mt19937& random) {
  Matrix m;
  const std::size_t size = code_bytes(f);
  m.bytes.resize(rows * k * size);
  for (std::size_t i = 0; i < rows * k; ++i) {
    const std::uint32_t code = random_code(f, kinds, random);
    std::memcpy(&m.bytes[i * size], &code, size);
  }
  if (block != 0)
    for (std::size_t i = 0; i < rows * ((k + block - 1) / block); ++i)
      m.scales.push_back(static_cast<std::uint8_t>(kinds == Kinds::bits ? random() : 120 + random() % 16));
  return m;
}

inline float random_c(Kinds kinds, bool half, std::mt19937& random) {
  if (half) return decode(fp16, kinds == Kinds::bits ? random() % 65536 : random() % 0x5000);
  if (kinds == Kinds::bits) return bits_float(static_cast<std::uint32_t>(random()));
  if (kinds == Kinds::spread) return std::ldexp(std::normal_distribution<float>()(random), static_cast<int>(random() % 181) - 90);
  return std::normal_distribution<float>(0.0f, 100.0f)(random);
}

/// A product with its operands; copies own theirs.
struct Fuzz {
  Gemm gemm;
  Matrix a, b;
  std::vector<float> c;

  Fuzz(const Model& model, const Format& fa, const Format& fb, GemmShape shape, Kinds kinds,
       std::mt19937& random) {
    a = random_matrix(fa, shape.m, shape.k, model.scale_block, kinds, random);
    b = random_matrix(fb, shape.n, shape.k, model.scale_block, kinds, random);
    for (std::size_t i = 0; i < shape.m * shape.n; ++i)
      c.push_back(random() % 2 ? 0.0f : random_c(kinds, model.result == rne_f16, random));
    gemm.model = model;
    gemm.shape = shape;
    gemm.a.format = fa;
    gemm.b.format = fb;
    gemm.c = c.data();
    point();
  }
  Fuzz(const Fuzz& other) : gemm(other.gemm), a(other.a), b(other.b), c(other.c) {
    if (gemm.c) gemm.c = c.data();
    point();
  }

  /// Keeps the columns [first, first + count) of A and B.
  void cut(std::size_t first, std::size_t count) {
    cut(a, code_bytes(gemm.a.format), gemm.shape.m, first, count);
    cut(b, code_bytes(gemm.b.format), gemm.shape.n, first, count);
    gemm.shape.k = count;
    point();
  }
  std::vector<float> by_dot() const {
    std::vector<float> d(c.size());
    gemm_block_by_dot(gemm, 0, gemm.shape.m, 0, gemm.shape.n, d.data());
    return d;
  }
  std::vector<float> by_gemm() const {
    std::vector<float> d(c.size());
    fp8scope::gemm(gemm, d.data());
    return d;
  }
 private:
  void point() {
    gemm.a.codes = a.bytes.data(), gemm.a.scales = a.scales.data();
    gemm.b.codes = b.bytes.data(), gemm.b.scales = b.scales.data();
  }
  void cut(Matrix& x, std::size_t size, std::size_t rows, std::size_t first, std::size_t count) const {
    std::vector<std::uint8_t> kept;
    for (std::size_t r = 0; r < rows; ++r) {
      const auto* from = x.bytes.data() + (r * gemm.shape.k + first) * size;
      kept.insert(kept.end(), from, from + count * size);
    }
    x.bytes = kept;
  }
};

inline Format format_called(const std::string& name) { return name == "fp32" ? fp32 : parse_format(name); }

inline std::vector<std::string> words(std::string_view text) {
  std::vector<std::string> list;
  while (!text.empty()) {
    const std::size_t end = std::min(text.find(' '), text.size());
    list.emplace_back(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return list;
}

/// Calls check(row, A's format, B's format) for every pair of formats of every row of the table.
template <class Check>
void every_model(Check check) {
  for (const ModelRow& row : model_rows()) {
    if (row.output == "f64") continue;
    const auto inputs = words(row.inputs.empty() ? "e4m3 bf16" : row.inputs);
    for (const std::string& a : inputs)
      for (const std::string& b : inputs) check(row, a, b);
  }
}

}  // namespace fp8scope
