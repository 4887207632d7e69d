// Eigen's SGEMM, compiled for the widest vectors of this file's flags: what a GEMM is measured against.
#include "src/bench_eigen.hpp"

#include <Eigen/Core>

namespace fp8scope {

bool eigen_supported() {
#if defined(__AVX512F__)
  return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("fma");
#else
  return true;
#endif
}

void eigen_sgemm(const float* a, const float* b, float* d, std::int64_t m, std::int64_t n, std::int64_t k) {
  using RowMajor = Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
  const Eigen::Map<const RowMajor> left(a, m, k), right(b, n, k);
  Eigen::Map<RowMajor> out(d, m, n);
  out.noalias() = left * right.transpose();
}

}  // namespace fp8scope
