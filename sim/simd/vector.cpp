// The kernels of every instruction set: Highway compiles the first part once for each.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "sim/simd/vector.cpp"
#define HWY_DISABLED_TARGETS HWY_SSSE3
#include <hwy/foreach_target.h>
#include <hwy/cache_control.h>
#include <hwy/highway.h>

#include <cstring>

#include "sim/simd/kernels.hpp"
#include "sim/simd/vector-inl.hpp"

#if HWY_ONCE
namespace fp8scope::simd {

const Kernels* vector_kernels(Isa isa) {
  // Highway's own choice is bypassed: one process may compare several.
  if (!isa_supported(isa)) return nullptr;
#if HWY_TARGETS & HWY_SSE4
  if (isa == Isa::sse4) return &N_SSE4::kernels;
#endif
#if HWY_TARGETS & HWY_AVX2
  if (isa == Isa::avx2) return &N_AVX2::kernels;
#endif
#if HWY_TARGETS & HWY_AVX3
  if (isa == Isa::avx512) return &N_AVX3::kernels;
#endif
  return nullptr;
}

}  // namespace fp8scope::simd
#endif
