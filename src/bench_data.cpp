#include "src/bench_data.hpp"

#include <algorithm>
#include <new>

namespace fp8scope {

namespace {

void* pages(std::size_t bytes) {
  void* p = std::aligned_alloc(4096, (bytes + 4095) / 4096 * 4096);
  if (!p) throw std::bad_alloc();
  return p;
}

}  // namespace

BenchData::BenchData(std::uint64_t bytes)
    : size_(std::max<std::size_t>(bytes / 4 / 4096, 1) * 4096),
      x_(static_cast<float*>(pages(4 * size_))), codes_(static_cast<std::uint8_t*>(pages(size_))) {
  std::uint32_t state = 1;
  for (std::size_t i = 0; i < size_; ++i) {
    state = state * 1664525u + 1013904223u;
    // Both signs, magnitudes from 2^-14 to 2^10: every branch of a scalar conversion is taken.
    x_.get()[i] = bits_float((state & 0x807fffffu) | (113u + (state >> 8) % 24u) << 23);
  }
  std::fill_n(codes_.get(), size_, std::uint8_t{0});
}

std::span<const float> BenchData::x(std::size_t begin, std::size_t end) const {
  return {x_.get() + begin, end - begin};
}

std::span<std::uint8_t> BenchData::codes(std::size_t begin, std::size_t end) const {
  return {codes_.get() + begin, end - begin};
}

std::vector<Contender> BenchData::ceilings() const {
  std::vector<Contender> all;
  for (const bool prefetch : {false, true})
    all.push_back({[this, prefetch](std::size_t begin, std::size_t end) {
                     read4_write1(x(begin, end), codes(begin, end), prefetch);
                   },
                   size_});
  return all;
}

}  // namespace fp8scope
