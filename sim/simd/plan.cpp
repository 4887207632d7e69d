#include "sim/simd/kernels.hpp"

namespace fp8scope::simd {

const Kernels* find_kernels(Isa isa) {
  return isa == Isa::scalar ? &scalar_kernels() : vector_kernels(isa);
}

}  // namespace fp8scope::simd
