#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <vector>

#include "cuda/check.hpp"

namespace fp8scope::cuda {

/// An array in device memory, freed with its owner. Contents are undefined until written.
template <class T>
class Buffer {
 public:
  Buffer() = default;
  explicit Buffer(std::size_t size) : size_(size) {
    if (size == 0) return;
    void* p = nullptr;
    check(cudaMalloc(&p, size * sizeof(T)), "cudaMalloc");
    data_.reset(static_cast<T*>(p));
  }
  explicit Buffer(std::span<const T> host) : Buffer(host.size()) { upload(host); }

  T* get() const { return data_.get(); }
  std::size_t size() const { return size_; }

  /// Writes elements [at, at + host.size()), which must be there.
  void upload(std::span<const T> host, std::size_t at = 0) {
    if (!host.empty())
      check(cudaMemcpy(get() + at, host.data(), host.size_bytes(), cudaMemcpyHostToDevice), "upload");
  }
  /// Waits for the kernels before it. Requires host.size() <= size().
  void download(std::span<T> host) const {
    if (!host.empty())
      check(cudaMemcpy(host.data(), get(), host.size_bytes(), cudaMemcpyDeviceToHost), "download");
  }
  std::vector<T> to_host() const {
    std::vector<T> host(size_);
    download(host);
    return host;
  }
  void fill_zero() {
    if (size_ > 0) check(cudaMemset(get(), 0, size_ * sizeof(T)), "cudaMemset");
  }

 private:
  struct Free {
    void operator()(T* p) const { cudaFree(p); }
  };
  std::unique_ptr<T, Free> data_;
  std::size_t size_ = 0;
};

}  // namespace fp8scope::cuda
