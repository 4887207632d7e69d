#include "sim/simd/matmul.hpp"

#include <algorithm>
#include <vector>

#include "sim/simd/isa.hpp"
#include "sim/simd/matmul_avx512.hpp"

namespace fp8scope {
namespace {

using avx512::columns, avx512::fraction_bits, avx512::group;

bool is_fp8(const Format& f) { return f == e4m3 || f == e5m2; }

bool processor_has_it() {
#if defined(__x86_64__)
  return avx512::compiled() && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vnni");
#else
  return false;
#endif
}

}  // namespace

bool MatmulKernel::covers(const Model& model, const Format& a, const Format& b) {
  static const bool has = processor_has_it();
  const bool unit = model.summation == Summation::aligned && model.terms == group &&
                    model.fraction_bits == fraction_bits && model.result == rz_e8m13 &&
                    model.cut == Cut::toward_zero && model.join == Join::inside && model.scale_block == 0 &&
                    model.zero_factors == ZeroFactors::floor && model.floor_exponent <= -126;
  return has && isa() == Isa::avx512 && unit && is_fp8(a) && is_fp8(b);
}

/// Codes taken apart; see avx512::StepOperands.
struct MatmulKernel::Packed {
  std::int64_t m, n, groups, blocks;
  int exponent_offset;
  std::vector<std::uint8_t> exponent_a;             ///< [groups, m, 32]
  std::vector<std::uint16_t> mantissa_a, flip_a;    ///< [groups, m, 32]
  std::vector<std::uint8_t> exponent_b;             ///< [blocks, groups * 32, 64]
  std::vector<std::uint16_t> mantissa_b, sign_b;    ///< [blocks, groups * 32, 64]
};

namespace {

struct Parts {
  std::uint8_t exponent;
  std::uint16_t mantissa;
  bool negative;
};

Parts parts(const Format& f, std::uint16_t code) {
  const Operand x = unpack_code(f, code);
  if (x.kind != Kind::finite || x.significand == 0) return {0, 0, x.negative};
  return {static_cast<std::uint8_t>(64 + x.exponent - f.min_exponent()), static_cast<std::uint16_t>(x.significand),
          x.negative};
}

/// Place of k among the 16-bit parts of its group of four: 0, 2, 1, 3.
std::int64_t pair_place(std::int64_t k) { return (k & ~std::int64_t{3}) + 2 * (k & 1) + (k >> 1 & 1); }

}  // namespace

MatmulKernel::MatmulKernel(const Model&, const MatmulOperand& a, const MatmulOperand& b)
    : packed_(std::make_unique<Packed>()) {
  Packed& p = *packed_;
  p.m = a.rows, p.n = b.rows;
  p.groups = (a.k + group - 1) / group;
  p.blocks = (b.rows + columns - 1) / columns;
  p.exponent_offset = 127 - 128 + a.format.min_exponent() + b.format.min_exponent();
  const int shift = fraction_bits - a.format.mantissa_bits - b.format.mantissa_bits;
  const std::size_t size_a = static_cast<std::size_t>(p.groups * p.m * group);
  p.exponent_a.assign(size_a, 0), p.mantissa_a.assign(size_a, 0), p.flip_a.assign(size_a, 0);
  std::vector<Parts> table_a, table_b;
  for (std::uint32_t c = 0; c < 256; ++c) {
    table_a.push_back(parts(a.format, static_cast<std::uint16_t>(c)));
    table_b.push_back(parts(b.format, static_cast<std::uint16_t>(c)));
  }
  for (std::int64_t r = 0; r < a.rows; ++r)
    for (std::int64_t k = 0; k < a.k; ++k) {
      const Parts x = table_a[a.codes[r * a.k + k] & 0xff];
      const std::int64_t at = (k / group * p.m + r) * group;
      p.exponent_a[at + k % group] = x.exponent;
      p.mantissa_a[at + pair_place(k % group)] = x.mantissa;
      p.flip_a[at + pair_place(k % group)] = x.negative ? 0xfffe : 0;
    }
  const std::size_t size_b = static_cast<std::size_t>(p.blocks * p.groups * group * columns);
  p.exponent_b.assign(size_b, 0), p.mantissa_b.assign(size_b, 0), p.sign_b.assign(size_b, 1);
  for (std::int64_t c = 0; c < b.rows; ++c)
    for (std::int64_t k = 0; k < b.k; ++k) {
      const Parts x = table_b[b.codes[c * b.k + k] & 0xff];
      const std::int64_t four = ((c / columns * p.groups * group) + (k & ~std::int64_t{3})) * columns;
      const std::int64_t column = c % columns, kk = k & 3;
      p.exponent_b[four + 4 * column + kk] = x.exponent;
      const std::int64_t pair = four + (kk & 1) * 2 * columns + 2 * column + (kk >> 1);
      p.mantissa_b[pair] = static_cast<std::uint16_t>(x.mantissa << shift);
      p.sign_b[pair] = x.negative ? 0xffff : 1;
    }
}

MatmulKernel::~MatmulKernel() = default;

void MatmulKernel::chain(std::int64_t r0, std::int64_t rows, std::int64_t across, std::int64_t begin,
                         std::int64_t end, float* p) const {
  const Packed& k = *packed_;
  std::fill_n(p, rows * columns, 0.0f);
  for (std::int64_t g = begin / group; g * group < end; ++g) {
    const std::int64_t a = (g * k.m + r0) * group, b = (across * k.groups + g) * group * columns;
    avx512::step({k.exponent_a.data() + a, k.mantissa_a.data() + a, k.flip_a.data() + a,
                  k.exponent_b.data() + b, k.mantissa_b.data() + b, k.sign_b.data() + b, k.exponent_offset},
                 rows, p);
  }
}

void MatmulKernel::promote(Promotion order, std::int64_t rows, const float* p, const float* sa, const float* sb,
                           float* sum) const {
  avx512::promote(order, rows, p, sa, sb, sum);
}

}  // namespace fp8scope
