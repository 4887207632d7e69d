#pragma once

#include <cstdint>

namespace fp8scope {

/// Whether this processor has the vectors that eigen_sgemm() was compiled for.
bool eigen_supported();

/// d = a b^T in binary32, one thread.
///
/// a [m, k], b [n, k], d [m, n] row after row. Requires eigen_supported().
void eigen_sgemm(const float* a, const float* b, float* d, std::int64_t m, std::int64_t n, std::int64_t k);

}  // namespace fp8scope
