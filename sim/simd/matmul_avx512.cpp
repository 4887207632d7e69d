// The 16-bit kernel, compiled for AVX-512 with VNNI; called only where the processor has them.
#include "sim/simd/matmul_avx512.hpp"

#if defined(__AVX512BW__) && defined(__AVX512VNNI__)
#include <immintrin.h>

namespace fp8scope::avx512 {
namespace {

__m512i set(std::uint32_t x) { return _mm512_set1_epi32(static_cast<int>(x)); }

std::uint32_t word(const void* at) {
  std::uint32_t x;
  __builtin_memcpy(&x, at, 4);
  return x;
}

/// Largest of the four bytes of each lane.
__m512i largest_byte(__m512i x) {
  x = _mm512_max_epu8(x, _mm512_srli_epi32(x, 16));
  x = _mm512_max_epu8(x, _mm512_srli_epi32(x, 8));
  return _mm512_and_si512(x, set(0xff));
}

struct alignas(64) StepState {
  std::int32_t magic[most_rows][columns];  ///< binary32 pattern of 2^(E + 23 - F)
  std::int32_t start[most_rows][columns];  ///< the accumulator in units of 2^(E - F), cut
};

/// E of every output of the step, and the accumulator in its units.
void align(const std::uint8_t* exponent_a, const std::uint8_t* exponent_b, int offset, std::int64_t rows,
           const float* p, StepState& state) {
  for (std::int64_t r = 0; r < rows; ++r) {
    __m512i largest[4] = {};
    for (int q = 0; q < 8; ++q) {
      const __m512i ea = set(word(exponent_a + r * group + 4 * q));
      for (int v = 0; v < 4; ++v)
        largest[v] = _mm512_max_epu8(
            largest[v], _mm512_add_epi8(ea, _mm512_loadu_si512(exponent_b + q * 4 * columns + 64 * v)));
    }
    for (int v = 0; v < 4; ++v) {
      const __m512 c = _mm512_load_ps(p + r * columns + 16 * v);
      const __m512i bytes = largest_byte(largest[v]);
      const __m512i products = _mm512_maskz_add_epi32(_mm512_cmpge_epi32_mask(bytes, set(128)), bytes,
                                                      set(static_cast<std::uint32_t>(offset)));
      const __m512i field = _mm512_and_si512(_mm512_srli_epi32(_mm512_castps_si512(c), 23), set(0xff));
      const __m512i e = _mm512_max_epi32(_mm512_max_epi32(products, field), set(1));
      const __m512i magic = _mm512_slli_epi32(_mm512_add_epi32(e, set(23 - fraction_bits)), 23);
      // Adding 2^(E + 23 - F) with truncation leaves |c| / 2^(E - F) in the low bits.
      const __m512 sum = _mm512_add_round_ps(_mm512_abs_ps(c), _mm512_castsi512_ps(magic),
                                             _MM_FROUND_TO_ZERO | _MM_FROUND_NO_EXC);
      const __m512i cut = _mm512_sub_epi32(_mm512_castps_si512(sum), magic);
      const __m512i sign = _mm512_srai_epi32(_mm512_castps_si512(c), 31);
      _mm512_store_si512(&state.magic[r][16 * v], magic);
      _mm512_store_si512(&state.start[r][16 * v], _mm512_sub_epi32(_mm512_xor_si512(cut, sign), sign));
    }
  }
}

/// The sum back to binary32, cut to 13 fraction bits.
__m512 back(__m512i sum, __m512i magic) {
  const __m512i unit = _mm512_sub_epi32(magic, set(23u << 23));
  const __m512 value = _mm512_mul_ps(_mm512_cvtepi32_ps(sum), _mm512_castsi512_ps(unit));
  return _mm512_castsi512_ps(_mm512_and_si512(_mm512_castps_si512(value), set(0xfffffc00)));
}

/// `kRows` rows and 16 columns of one step.
template <int kRows>
void add_products(const StepOperands& s, int v, const StepState& state, std::int64_t r0, float* p) {
  const __m512i low = _mm512_set1_epi16(0xff);
  const __m512i spread = _mm512_set4_epi32(0x0c0c0c0c, 0x08080808, 0x04040404, 0x00000000);
  __m512i even[kRows], odd[kRows], top[kRows], magic[kRows];
  for (int r = 0; r < kRows; ++r) {
    even[r] = _mm512_load_si512(&state.start[r0 + r][16 * v]);
    odd[r] = _mm512_setzero_si512();
    magic[r] = _mm512_load_si512(&state.magic[r0 + r][16 * v]);
    __m512i e = _mm512_sub_epi32(_mm512_srli_epi32(magic[r], 23),
                                 set(static_cast<std::uint32_t>(23 - fraction_bits + s.offset)));
    e = _mm512_min_epi32(_mm512_max_epi32(e, _mm512_setzero_si512()), set(255));
    top[r] = _mm512_shuffle_epi8(e, spread);
  }
  for (int q = 0; q < 8; ++q) {
    const std::int64_t at = q * 4 * columns;
    const __m512i eb = _mm512_loadu_si512(s.exponent_b + at + 64 * v);
    const __m512i mb0 = _mm512_loadu_si512(s.mantissa_b + at + 32 * v);
    const __m512i mb1 = _mm512_loadu_si512(s.mantissa_b + at + 2 * columns + 32 * v);
    const __m512i sb0 = _mm512_loadu_si512(s.sign_b + at + 32 * v);
    const __m512i sb1 = _mm512_loadu_si512(s.sign_b + at + 2 * columns + 32 * v);
    for (int r = 0; r < kRows; ++r) {
      const std::int64_t a = (r0 + r) * group + 4 * q;
      const __m512i places =
          _mm512_sub_epi8(_mm512_sub_epi8(top[r], set(word(s.exponent_a + a))), eb);
      const __m512i p0 = _mm512_mullo_epi16(set(word(s.mantissa_a + a)), mb0);
      const __m512i p1 = _mm512_mullo_epi16(set(word(s.mantissa_a + a + 2)), mb1);
      even[r] = _mm512_dpwssd_epi32(even[r], _mm512_srlv_epi16(p0, _mm512_and_si512(places, low)),
                                    _mm512_xor_si512(set(word(s.flip_a + a)), sb0));
      odd[r] = _mm512_dpwssd_epi32(odd[r], _mm512_srlv_epi16(p1, _mm512_srli_epi16(places, 8)),
                                   _mm512_xor_si512(set(word(s.flip_a + a + 2)), sb1));
    }
  }
  for (int r = 0; r < kRows; ++r)
    _mm512_store_ps(p + (r0 + r) * columns + 16 * v, back(_mm512_add_epi32(even[r], odd[r]), magic[r]));
}

}  // namespace

bool compiled() { return true; }

void step(const StepOperands& s, std::int64_t rows, float* p) {
  StepState state;
  align(s.exponent_a, s.exponent_b, s.offset, rows, p, state);
  for (int v = 0; v < 4; ++v) {
    std::int64_t r = 0;
    for (; r + 4 <= rows; r += 4) add_products<4>(s, v, state, r, p);
    for (; r < rows; ++r) add_products<1>(s, v, state, r, p);
  }
}

void promote(Promotion order, std::int64_t rows, const float* p, const float* sa, const float* sb,
                           float* sum) {
  for (std::int64_t r = 0; r < rows; ++r)
    for (int v = 0; v < 4; ++v) {
      const __m512 a = _mm512_set1_ps(sa[r]), b = _mm512_loadu_ps(sb + 16 * v);
      const __m512 x = _mm512_load_ps(p + r * columns + 16 * v);
      float* at = sum + r * columns + 16 * v;
      const __m512 old = _mm512_load_ps(at);
      switch (order) {
        case Promotion::product: _mm512_store_ps(at, _mm512_fmadd_ps(_mm512_mul_ps(a, b), x, old)); break;
        case Promotion::first_a: _mm512_store_ps(at, _mm512_fmadd_ps(_mm512_mul_ps(x, a), b, old)); break;
        case Promotion::first_b: _mm512_store_ps(at, _mm512_fmadd_ps(_mm512_mul_ps(x, b), a, old)); break;
        default: _mm512_store_ps(at, _mm512_add_ps(old, x));
      }
    }
}

}  // namespace fp8scope::avx512

#else

namespace fp8scope::avx512 {

bool compiled() { return false; }
void step(const StepOperands&, std::int64_t, float*) {}
void promote(Promotion, std::int64_t, const float*, const float*, const float*, float*) {}

}  // namespace fp8scope::avx512

#endif
