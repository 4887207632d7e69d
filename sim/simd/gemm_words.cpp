// Steps of truncated sums in 16-bit lanes: twice as many products in a register as floats allow.
#include <hwy/targets.h>

#include "sim/simd/gemm_kernel.hpp"
#include "sim/simd/isa.hpp"

#if HWY_ARCH_X86 && defined(__GNUC__)
#include <immintrin.h>

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

FP8SCOPE_VNNI inline __m256i all_bytes(std::uint32_t byte) { return _mm256_set1_epi8(static_cast<char>(byte)); }

/// Even bytes of v as 16-bit words, times 2^places.
FP8SCOPE_VNNI inline __m256i lifted_words(__m256i v, __m128i places) {
  return _mm256_sll_epi16(_mm256_and_si256(v, _mm256_set1_epi32(0x00ff00ff)), places);
}

/// Even bytes of v, 0 or 1, as the words 0 or -2.
FP8SCOPE_VNNI inline __m256i sign_words(__m256i v) {
  const __m256i words = _mm256_and_si256(v, _mm256_set1_epi32(0x00ff00ff));
  return _mm256_slli_epi16(_mm256_sub_epi16(_mm256_setzero_si256(), words), 1);
}

/// record = the first `fours` 32-bit lanes of `even`, then of `odd`.
FP8SCOPE_VNNI inline void store_words(std::uint32_t* record, std::size_t fours, __mmask8 lanes, __m256i even,
                                      __m256i odd) {
  _mm256_mask_storeu_epi32(record, lanes, even);
  _mm256_mask_storeu_epi32(record + fours, lanes, odd);
}

}  // namespace

FP8SCOPE_VNNI bool pack_words(const Format& f, const std::uint8_t* codes, std::size_t count,
                              std::size_t terms, int lift, std::uint32_t* record) {
  const std::size_t fours = terms / 4;
  const auto lanes = static_cast<__mmask8>((1u << fours) - 1);
  const auto given = static_cast<__mmask32>((std::uint64_t{1} << count) - 1);
  const __m256i code = _mm256_maskz_loadu_epi8(given, codes);
  const __m256i magnitude = _mm256_and_si256(code, all_bytes(f.magnitude_mask()));
  if (f.specials == Specials::fnuz) {
    if (_mm256_cmpeq_epi8_mask(code, all_bytes(f.nan_code())) != 0) return false;
  } else if (_mm256_cmpgt_epu8_mask(magnitude, all_bytes(f.max_code())) != 0) {
    return false;
  }
  const __m128i places = _mm_cvtsi32_si128(f.mantissa_bits);
  const __m256i field = _mm256_and_si256(_mm256_srl_epi16(magnitude, places), all_bytes(low_mask(f.exponent_bits)));
  const __mmask32 normal = _mm256_test_epi8_mask(field, field);
  const __mmask32 some = _mm256_test_epi8_mask(magnitude, magnitude);
  const __m256i fraction = _mm256_and_si256(magnitude, all_bytes(low_mask(f.mantissa_bits)));
  const __m256i significand = _mm256_mask_add_epi8(fraction, normal, fraction, all_bytes(1u << f.mantissa_bits));
  const __m256i byte = _mm256_maskz_add_epi8(
      some, _mm256_mask_sub_epi8(field, normal, field, all_bytes(1)), all_bytes(64));
  const __m256i negative = _mm256_maskz_set1_epi8(_mm256_test_epi8_mask(code, all_bytes(f.sign_bit())), 1);

  const __m128i up = _mm_cvtsi32_si128(lift);
  store_words(record, fours, lanes, lifted_words(significand, up), lifted_words(_mm256_srli_epi16(significand, 8), up));
  store_words(record + 2 * fours, fours, lanes, sign_words(negative), sign_words(_mm256_srli_epi16(negative, 8)));
  _mm256_mask_storeu_epi32(record + 4 * fours, lanes, byte);
  return true;
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
bool pack_words(const Format&, const std::uint8_t*, std::size_t, std::size_t, int, std::uint32_t*) {
  return false;
}

}  // namespace fp8scope::simd

#endif
