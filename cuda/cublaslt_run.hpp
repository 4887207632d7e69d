#pragma once

#include <memory>
#include <span>

#include "cuda/cublaslt.hpp"

namespace fp8scope::cuda {

/// A product by cuBLASLt whose operands are on the device: launched as often as it is timed.
class LibraryProduct {
 public:
  /// Throws as cublaslt_gemm().
  LibraryProduct(const ScaledMatrix& a, const ScaledMatrix& b, const LibraryRequest& request, int device);
  ~LibraryProduct();
  void launch() const;
  void download(std::span<float> d) const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace fp8scope::cuda
