// Steps of truncated sums in 16-bit lanes: twice as many products in a register as floats allow.
#include <hwy/targets.h>

#include "sim/simd/gemm_kernel.hpp"
#include "sim/simd/isa.hpp"

#if HWY_ARCH_X86 && defined(__GNUC__)
#include <immintrin.h>

#include <cstring>

#define FP8SCOPE_VNNI __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")))

namespace fp8scope::simd {
namespace {

constexpr std::size_t rows_at_once = 4;

// Every loop below runs a fixed number of times over registers. g++ must be told to unroll it.
#if defined(__clang__)
#define FP8SCOPE_UNROLL _Pragma("clang loop unroll(full)")
#else
#define FP8SCOPE_UNROLL _Pragma("GCC unroll 8")
#endif

/// Largest of the four bytes of each 32-bit lane.
FP8SCOPE_VNNI inline __m512i largest_byte(__m512i x) {
  x = _mm512_max_epu8(x, _mm512_srli_epi32(x, 16));
  x = _mm512_max_epu8(x, _mm512_srli_epi32(x, 8));
  return _mm512_and_si512(x, _mm512_set1_epi32(0xff));
}

/// Where a row's record keeps what.
struct RowRecord {
  const std::uint32_t *significands, *signs, *bytes;  ///< of the former two, k = 0, 2 then 1, 3
};

/// One step of kRows rows and 16 columns. kFours is a quarter of the step's terms.
template <int kFours, int kRows>
FP8SCOPE_VNNI inline void step_columns(const StepNumbers& n, const RowRecord* a, const std::uint32_t* b,
                                       float* sums, std::size_t stride) {
  constexpr int four_words = 5 * panel_columns;
  __m512i bytes[kRows][kFours], top[kRows];
  FP8SCOPE_UNROLL
  for (int r = 0; r < kRows; ++r) top[r] = _mm512_setzero_si512();
  FP8SCOPE_UNROLL
  for (int q = 0; q < kFours; ++q) {
    const __m512i column = _mm512_load_si512(b + q * four_words);
    FP8SCOPE_UNROLL
    for (int r = 0; r < kRows; ++r) {
      bytes[r][q] = _mm512_add_epi8(_mm512_set1_epi32(static_cast<int>(a[r].bytes[q])), column);
      top[r] = _mm512_max_epu8(top[r], bytes[r][q]);
    }
  }

  __m512i sum[kRows], unit[kRows];
  FP8SCOPE_UNROLL
  for (int r = 0; r < kRows; ++r) {
    // Where every product is zero this is an exponent below that of any C: see Packer.
    const __m512i product = _mm512_add_epi32(largest_byte(top[r]), _mm512_set1_epi32(n.exponent_offset));
    const __m512 c = _mm512_load_ps(sums + r * stride);
    const __m512i c_exponent =
        _mm512_srli_epi32(_mm512_and_si512(_mm512_castps_si512(c), _mm512_set1_epi32(0x7fffffff)), 23);
    const __m512i exponent =
        _mm512_max_epi32(_mm512_max_epi32(product, c_exponent), _mm512_set1_epi32(n.floor));
    const __m512i scale = _mm512_slli_epi32(_mm512_sub_epi32(_mm512_set1_epi32(254 + n.fraction), exponent), 23);
    sum[r] = _mm512_cvttps_epi32(_mm512_mul_ps(c, _mm512_castsi512_ps(scale)));
    unit[r] = _mm512_sub_epi32(_mm512_set1_epi32(254 << 23), scale);
    // The byte of a product at the top, in all four; from 255 on every product is shifted out.
    const __m512i byte = _mm512_adds_epu8(exponent, _mm512_set1_epi32(-n.exponent_offset));
    top[r] = _mm512_shuffle_epi8(byte, _mm512_set4_epi32(0x0c0c0c0c, 0x08080808, 0x04040404, 0));
  }

  FP8SCOPE_UNROLL
  for (int q = 0; q < kFours; ++q) {
    const std::uint32_t* four = b + q * four_words + panel_columns;
    const __m512i b0 = _mm512_load_si512(four), b1 = _mm512_load_si512(four + panel_columns);
    const __m512i s0 = _mm512_load_si512(four + 2 * panel_columns);
    const __m512i s1 = _mm512_load_si512(four + 3 * panel_columns);
    FP8SCOPE_UNROLL
    for (int r = 0; r < kRows; ++r) {
      const __m512i shift = _mm512_sub_epi8(top[r], bytes[r][q]);
      const __m512i a0 = _mm512_set1_epi32(static_cast<int>(a[r].significands[q]));
      const __m512i a1 = _mm512_set1_epi32(static_cast<int>(a[r].significands[kFours + q]));
      const __m512i t0 = _mm512_srlv_epi16(_mm512_mullo_epi16(a0, b0),
                                           _mm512_and_si512(shift, _mm512_set1_epi16(0xff)));
      const __m512i t1 = _mm512_srlv_epi16(_mm512_mullo_epi16(a1, b1), _mm512_srli_epi16(shift, 8));
      const __m512i sign0 = _mm512_xor_si512(_mm512_set1_epi32(static_cast<int>(a[r].signs[q])), s0);
      const __m512i sign1 = _mm512_xor_si512(_mm512_set1_epi32(static_cast<int>(a[r].signs[kFours + q])), s1);
      sum[r] = _mm512_dpwssd_epi32(sum[r], t0, sign0);
      sum[r] = _mm512_dpwssd_epi32(sum[r], t1, sign1);
    }
  }

  FP8SCOPE_UNROLL
  for (int r = 0; r < kRows; ++r) {
    const __m512 exact = _mm512_mul_ps(_mm512_cvtepi32_ps(sum[r]), _mm512_castsi512_ps(unit[r]));
    const __m512i kept = _mm512_and_si512(_mm512_castps_si512(exact),
                                          _mm512_set1_epi32(static_cast<int>(n.result_mask)));
    _mm512_store_ps(sums + r * stride, _mm512_castsi512_ps(kept));
  }
}

template <int kFours, int kRows>
FP8SCOPE_VNNI inline void step_rows(const StepNumbers& n, const std::uint32_t* a, const std::uint32_t* b,
                                    float* sums, std::size_t stride) {
  RowRecord rows[kRows];
  for (int r = 0; r < kRows; ++r) {
    const std::uint32_t* record = a + r * n.row_words();
    rows[r] = {record, record + 2 * kFours, record + 4 * kFours};
  }
  for (std::size_t j = 0; j < panel_columns; j += 16)
    step_columns<kFours, kRows>(n, rows, b + j, sums + j, stride);
}

template <int kFours>
FP8SCOPE_VNNI void run(const StepNumbers& n, const StepBlock& block) {
  for (std::size_t s = 0; s < block.steps; ++s) {
    const std::uint32_t* a = block.a + s * block.a_step;
    const std::uint32_t* b = block.b + s * n.panel_words();
    std::size_t r = 0;
    for (; r + rows_at_once <= block.rows; r += rows_at_once)
      step_rows<kFours, rows_at_once>(n, a + r * n.row_words(), b, block.sums + r * block.stride, block.stride);
    for (; r < block.rows; ++r)
      step_rows<kFours, 1>(n, a + r * n.row_words(), b, block.sums + r * block.stride, block.stride);
  }
}

/// What decoding needs of a format, in every byte of a register.
struct ByteFormat {
  __m512i magnitude, largest, nan, field, fraction, hidden, sign;
  __m128i places, lift;
  bool fnuz;

  FP8SCOPE_VNNI ByteFormat(const Format& f, int lift_places)
      : magnitude(all(f.magnitude_mask())), largest(all(f.max_code())), nan(all(f.has_nan() ? f.nan_code() : 0)),
        field(all(low_mask(f.exponent_bits))), fraction(all(low_mask(f.mantissa_bits))),
        hidden(all(1u << f.mantissa_bits)), sign(all(f.sign_bit())), places(_mm_cvtsi32_si128(f.mantissa_bits)),
        lift(_mm_cvtsi32_si128(lift_places)), fnuz(f.specials == Specials::fnuz) {}
  FP8SCOPE_VNNI static __m512i all(std::uint32_t byte) { return _mm512_set1_epi8(static_cast<char>(byte)); }
};

/// 64 codes as the parts of Layout::words.
struct DecodedWords {
  __m512i bytes;
  __m512i significands[2], signs[2];  ///< of even bytes, of odd bytes; signs 0 or -2
  __mmask64 nonfinite;
};

FP8SCOPE_VNNI inline DecodedWords decode_words(const ByteFormat& f, __m512i code) {
  DecodedWords d;
  const __m512i magnitude = _mm512_and_si512(code, f.magnitude);
  d.nonfinite = f.fnuz ? _mm512_cmpeq_epi8_mask(code, f.nan) : _mm512_cmpgt_epu8_mask(magnitude, f.largest);
  const __m512i field = _mm512_and_si512(_mm512_srl_epi16(magnitude, f.places), f.field);
  const __mmask64 normal = _mm512_test_epi8_mask(field, field);
  const __mmask64 some = _mm512_test_epi8_mask(magnitude, magnitude);
  const __m512i fraction = _mm512_and_si512(magnitude, f.fraction);
  const __m512i significand = _mm512_mask_add_epi8(fraction, normal, fraction, f.hidden);
  // The smallest exponent has the fields 0 and 1.
  const __m512i above = _mm512_mask_sub_epi8(field, normal, field, _mm512_set1_epi8(1));
  d.bytes = _mm512_maskz_add_epi8(some, above, _mm512_set1_epi8(64));
  const __m512i low = _mm512_set1_epi16(0xff);
  d.significands[0] = _mm512_sll_epi16(_mm512_and_si512(significand, low), f.lift);
  d.significands[1] = _mm512_sll_epi16(_mm512_srli_epi16(significand, 8), f.lift);
  const __m512i two = _mm512_set1_epi16(-2);
  const __m512i negative = _mm512_maskz_set1_epi8(_mm512_test_epi8_mask(code, f.sign), 1);
  d.signs[0] = _mm512_maskz_mov_epi16(_mm512_test_epi16_mask(negative, low), two);
  d.signs[1] = _mm512_maskz_mov_epi16(_mm512_test_epi16_mask(negative, _mm512_set1_epi16(-256)), two);
  return d;
}

}  // namespace

FP8SCOPE_VNNI bool pack_word_row(const Format& format, int lift, std::size_t terms, const std::uint8_t* codes,
                                 std::size_t count, std::uint32_t* record, std::size_t record_step) {
  const ByteFormat f(format, lift);
  const std::size_t fours = terms / 4;
  const auto lanes = static_cast<__mmask16>((1u << fours) - 1);
  __mmask64 nonfinite = 0;
  for (std::size_t k = 0; k < count; k += terms, record += record_step) {
    const std::size_t here = count - k < terms ? count - k : terms;
    const DecodedWords d =
        decode_words(f, _mm512_maskz_loadu_epi8((std::uint64_t{1} << here) - 1, codes + k));
    nonfinite |= d.nonfinite;
    _mm512_mask_storeu_epi32(record, lanes, d.significands[0]);
    _mm512_mask_storeu_epi32(record + fours, lanes, d.significands[1]);
    _mm512_mask_storeu_epi32(record + 2 * fours, lanes, d.signs[0]);
    _mm512_mask_storeu_epi32(record + 3 * fours, lanes, d.signs[1]);
    _mm512_mask_storeu_epi32(record + 4 * fours, lanes, d.bytes);
  }
  return nonfinite == 0;
}

FP8SCOPE_VNNI bool pack_word_panel(const Format& format, int lift, std::size_t terms, const std::uint8_t* codes,
                                   std::size_t stride, std::size_t columns, std::uint32_t* record) {
  const ByteFormat f(format, lift);
  alignas(64) std::uint32_t turned[8][panel_columns] = {};
  const std::size_t fours = terms / 4;
  for (std::size_t j = 0; j < columns; ++j)
    for (std::size_t q = 0; q < fours; ++q) std::memcpy(&turned[q][j], codes + j * stride + 4 * q, 4);
  const __m512i one = _mm512_set1_epi16(1);
  __mmask64 nonfinite = 0;
  for (std::size_t q = 0; q < fours; ++q)
    for (std::size_t j = 0; j < panel_columns; j += 16) {
      const DecodedWords d = decode_words(f, _mm512_load_si512(&turned[q][j]));
      nonfinite |= d.nonfinite;
      std::uint32_t* four = record + q * 5 * panel_columns + j;
      _mm512_store_si512(four, d.bytes);
      for (int h = 0; h < 2; ++h) {
        _mm512_store_si512(four + (1 + h) * panel_columns, d.significands[h]);
        _mm512_store_si512(four + (3 + h) * panel_columns, _mm512_add_epi16(d.signs[h], one));
      }
    }
  return nonfinite == 0;
}

bool has_word_steps() { return isa() == Isa::avx512 && __builtin_cpu_supports("avx512vnni"); }

void run_word_steps(const StepNumbers& numbers, const StepBlock& block) {
  if (numbers.terms == 32) run<8>(numbers, block);
  else run<4>(numbers, block);
}

}  // namespace fp8scope::simd

#else

namespace fp8scope::simd {

bool has_word_steps() { return false; }
void run_word_steps(const StepNumbers&, const StepBlock&) {}
bool pack_word_row(const Format&, int, std::size_t, const std::uint8_t*, std::size_t, std::uint32_t*,
                   std::size_t) {
  return false;
}
bool pack_word_panel(const Format&, int, std::size_t, const std::uint8_t*, std::size_t, std::size_t,
                     std::uint32_t*) {
  return false;
}

}  // namespace fp8scope::simd

#endif
