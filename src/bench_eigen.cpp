// Eigen's SGEMM, compiled once for every set of instructions: CMakeLists.txt gives each its flags and
// its own name for Eigen's namespace, so that the linker cannot mix their templates.
#define Eigen FP8SCOPE_EIGEN
#include <Eigen/Core>

#include "src/bench_eigen.hpp"

namespace fp8scope {

using RowMajor = Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;

void FP8SCOPE_SGEMM(std::size_t m, std::size_t n, std::size_t k, const float* a, const float* b, float* d) {
  const auto rows = static_cast<Eigen::Index>(m), columns = static_cast<Eigen::Index>(n),
             terms = static_cast<Eigen::Index>(k);
  const Eigen::Map<const RowMajor> left(a, rows, terms), right(b, columns, terms);
  Eigen::Map<RowMajor>(d, rows, columns).noalias() = left * right.transpose();
}

}  // namespace fp8scope
