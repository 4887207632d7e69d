// Steps of truncated sums in 16-bit lanes: twice as many products in a register as floats allow.
#include <hwy/targets.h>

#include "sim/simd/gemm_kernel.hpp"
#include "sim/simd/isa.hpp"

#if HWY_ARCH_X86 && defined(__GNUC__)
#include <immintrin.h>

#define FP8SCOPE_VNNI __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")))

namespace fp8scope::simd {
namespace {

constexpr std::size_t rows_at_once = 2;

/// Largest of the four bytes of each 32-bit lane.
FP8SCOPE_VNNI inline __m512i largest_byte(__m512i x) {
  x = _mm512_max_epu8(x, _mm512_srli_epi32(x, 16));
  x = _mm512_max_epu8(x, _mm512_srli_epi32(x, 8));
  return _mm512_and_si512(x, _mm512_set1_epi32(0xff));
}

/// Where a row's record keeps what.
struct RowRecord {
  const std::uint32_t *significands, *signs, *bytes;
};

/// One step of kRows rows and 16 columns. kFours is a quarter of the step's terms.
template <int kFours, int kRows>
FP8SCOPE_VNNI inline void step_columns(const StepNumbers& n, const RowRecord* a, const std::uint32_t* b,
                                       float* sums, std::size_t stride) {
  constexpr int four_words = 5 * panel_columns;
  __m512i bytes[kRows][kFours], top[kRows];
  for (int r = 0; r < kRows; ++r) top[r] = _mm512_setzero_si512();
  for (int q = 0; q < kFours; ++q) {
    const __m512i column = _mm512_load_si512(b + q * four_words);
    for (int r = 0; r < kRows; ++r) {
      bytes[r][q] = _mm512_add_epi8(_mm512_set1_epi32(static_cast<int>(a[r].bytes[q])), column);
      top[r] = _mm512_max_epu8(top[r], bytes[r][q]);
    }
  }

  __m512i sum[kRows], even[kRows], unit[kRows];
  for (int r = 0; r < kRows; ++r) {
    const __m512i largest = largest_byte(top[r]);
    const __mmask16 any = _mm512_cmpge_epi32_mask(largest, _mm512_set1_epi32(128));
    const __m512i product = _mm512_maskz_add_epi32(any, largest, _mm512_set1_epi32(n.exponent_offset));
    const __m512 c = _mm512_load_ps(sums + r * stride);
    const __m512i c_bits = _mm512_and_si512(_mm512_castps_si512(c), _mm512_set1_epi32(0x7fffffff));
    const __m512i exponent =
        _mm512_max_epi32(_mm512_max_epi32(product, _mm512_srli_epi32(c_bits, 23)),
                         _mm512_set1_epi32(n.floor > lowest_exponent ? n.floor : lowest_exponent));
    const __m512i places = _mm512_sub_epi32(_mm512_set1_epi32(254 + n.fraction), exponent);
    sum[r] = _mm512_cvttps_epi32(_mm512_mul_ps(c, _mm512_castsi512_ps(_mm512_slli_epi32(places, 23))));
    unit[r] = _mm512_slli_epi32(_mm512_sub_epi32(exponent, _mm512_set1_epi32(n.fraction)), 23);
    // The byte that a product at the top would have; beyond 255 every product is shifted out.
    const __m512i byte =
        _mm512_min_epi32(_mm512_sub_epi32(exponent, _mm512_set1_epi32(n.exponent_offset)), _mm512_set1_epi32(255));
    top[r] = _mm512_shuffle_epi8(byte, _mm512_set4_epi32(0x0c0c0c0c, 0x08080808, 0x04040404, 0));
    even[r] = _mm512_setzero_si512();
  }

  for (int q = 0; q < kFours; ++q) {
    const std::uint32_t* four = b + q * four_words + panel_columns;
    const __m512i b0 = _mm512_load_si512(four), b1 = _mm512_load_si512(four + panel_columns);
    const __m512i s0 = _mm512_load_si512(four + 2 * panel_columns);
    const __m512i s1 = _mm512_load_si512(four + 3 * panel_columns);
    for (int r = 0; r < kRows; ++r) {
      const __m512i shift = _mm512_sub_epi8(top[r], bytes[r][q]);
      const __m512i a0 = _mm512_set1_epi32(static_cast<int>(a[r].significands[2 * q]));
      const __m512i a1 = _mm512_set1_epi32(static_cast<int>(a[r].significands[2 * q + 1]));
      const __m512i t0 = _mm512_srlv_epi16(_mm512_mullo_epi16(a0, b0),
                                           _mm512_and_si512(shift, _mm512_set1_epi16(0xff)));
      const __m512i t1 = _mm512_srlv_epi16(_mm512_mullo_epi16(a1, b1), _mm512_srli_epi16(shift, 8));
      const __m512i sign0 = _mm512_xor_si512(_mm512_set1_epi32(static_cast<int>(a[r].signs[2 * q])), s0);
      const __m512i sign1 = _mm512_xor_si512(_mm512_set1_epi32(static_cast<int>(a[r].signs[2 * q + 1])), s1);
      even[r] = _mm512_dpwssd_epi32(even[r], t0, sign0);
      sum[r] = _mm512_dpwssd_epi32(sum[r], t1, sign1);
    }
  }

  for (int r = 0; r < kRows; ++r) {
    const __m512 exact = _mm512_mul_ps(_mm512_cvtepi32_ps(_mm512_add_epi32(sum[r], even[r])),
                                       _mm512_castsi512_ps(unit[r]));
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

}  // namespace

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

}  // namespace fp8scope::simd

#endif
