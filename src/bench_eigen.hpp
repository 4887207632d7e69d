#pragma once

#include <cstddef>

namespace fp8scope {

/// d = a b^T in binary32 by Eigen, with the instructions in the name.
///
/// a  [m, k]
/// b  [n, k]
/// d  [m, n], written
void eigen_sgemm_plain(std::size_t m, std::size_t n, std::size_t k, const float* a, const float* b, float* d);
void eigen_sgemm_sse4(std::size_t m, std::size_t n, std::size_t k, const float* a, const float* b, float* d);
void eigen_sgemm_avx2(std::size_t m, std::size_t n, std::size_t k, const float* a, const float* b, float* d);
void eigen_sgemm_avx512(std::size_t m, std::size_t n, std::size_t k, const float* a, const float* b, float* d);

}  // namespace fp8scope
