#pragma once
// The machine of loops_on_cpu(): runs the thread blocks of a kernel one after another.

#include <cstring>
#include <span>
#include <string>
#include <type_traits>
#include <vector>

#include "cuda/team.hpp"

namespace fp8scope::cuda {

/// Buffer of cuda/buffer.hpp in host memory. Fresh memory is full of a pattern, as a device's is of
/// what was there before: a loop must not count on zeros.
template <class T>
class HostMemory {
 public:
  HostMemory() = default;
  explicit HostMemory(std::size_t size) : data_(size) {
    static_assert(std::is_trivially_copyable_v<T>);
    std::memset(static_cast<void*>(data_.data()), 0xa5, size * sizeof(T));
  }
  explicit HostMemory(std::span<const T> host) : data_(host.begin(), host.end()) {}

  T* get() const { return data_.empty() ? nullptr : const_cast<T*>(data_.data()); }
  std::size_t size() const { return data_.size(); }
  void upload(std::span<const T> host, std::size_t at = 0) { std::copy(host.begin(), host.end(), data_.begin() + at); }
  void download(std::span<T> host) const { std::copy_n(data_.begin(), host.size(), host.begin()); }
  std::vector<T> to_host() const { return data_; }
  void fill_zero() { std::fill(data_.begin(), data_.end(), T{}); }

 private:
  std::vector<T> data_;
};

class HostMachine {
 public:
  template <class T>
  using Memory = HostMemory<T>;

  void enter() const {}
  std::string name() const { return "no GPU: the kernels' loops on the CPU"; }
  bool is_gpu() const { return false; }
  int multiprocessors() const { return 2; }

  template <class Loop>
  void run(Dim grid, int threads, const typename Loop::Job& job) const {
    for (std::uint32_t y = 0; y < grid.y; ++y)
      for (std::uint32_t x = 0; x < grid.x; ++x) {
        typename Loop::Shared shared;
        std::memset(static_cast<void*>(&shared), 0xa5, sizeof(shared));
        const Team team(grid, {x, y}, threads);
        Loop::run(team, shared, job);
      }
  }

  /// Runs the work once; there is no clock that says anything of a GPU.
  template <class Work>
  double seconds(int, const Work& work) const { return work(), 0.0; }
  template <class T>
  void copy(const HostMemory<T>&, HostMemory<T>&) const {}
};

}  // namespace fp8scope::cuda
