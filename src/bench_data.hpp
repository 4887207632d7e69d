#pragma once

#include <cstdlib>
#include <memory>
#include <span>
#include <vector>

#include "sim/simd/cast.hpp"
#include "src/bench.hpp"

namespace fp8scope {

/// Input and output of a cast, page-aligned and touched, and the ceilings over them.
class BenchData {
 public:
  /// Throws std::bad_alloc.
  explicit BenchData(std::uint64_t bytes);

  std::size_t size() const { return size_; }
  std::span<const float> x(std::size_t begin, std::size_t end) const;
  std::span<std::uint8_t> codes(std::size_t begin, std::size_t end) const;

  /// Read 4 bytes, write 1 past the caches; without and with prefetching.
  std::vector<Contender> ceilings() const;

 private:
  struct Free {
    void operator()(void* p) const { std::free(p); }
  };
  std::size_t size_;
  std::unique_ptr<float, Free> x_;
  std::unique_ptr<std::uint8_t, Free> codes_;
};

}  // namespace fp8scope
