#include "src/bench.hpp"

#if FP8SCOPE_HAS_CUDA_FP8
#include <cuda_fp8.h>
#endif

namespace fp8scope {

#if FP8SCOPE_HAS_CUDA_FP8
bool cuda_header_encode(bool e5m2, const float* x, std::size_t n, std::uint8_t* codes) {
  const __nv_fp8_interpretation_t format = e5m2 ? __NV_E5M2 : __NV_E4M3;
  for (std::size_t i = 0; i < n; ++i) codes[i] = __nv_cvt_float_to_fp8(x[i], __NV_SATFINITE, format);
  return true;
}
#else
bool cuda_header_encode(bool, const float*, std::size_t, std::uint8_t*) { return false; }
#endif

}  // namespace fp8scope
