#pragma once

#include <tbb/enumerable_thread_specific.h>

#include <algorithm>
#include <cstdint>
#include <vector>

#include "sim/amax.hpp"
#include "sim/bits.hpp"
#include "sim/simd/magnitudes.hpp"

namespace fp8scope {

/// Largest magnitudes of the columns of rows that several threads take in. Maxima: their order is free.
class ColumnMaxima {
 public:
  explicit ColumnMaxima(std::int64_t cols) : cols_(cols), threads_([cols] { return OfThread(cols); }) {}

  /// Takes in some rows; any thread.
  ///
  /// x  [rows, cols]
  void add(const float* x, std::int64_t rows) {
    OfThread& mine = threads_.local();
    column_magnitudes(x, rows, cols_, mine.here.data());
    raise_magnitudes(mine.here.data(), cols_, mine.largest.data());
    for (std::int64_t c = 0; c < cols_; ++c) {
      if (mine.here[c] <= inf_bits) continue;
      mine.here[c] = 0;  // again, without NaN
      for (std::int64_t r = 0; r < rows; ++r)
        mine.here[c] = larger_magnitude(AmaxRule::ignore_nan, mine.here[c], x[r * cols_ + c]);
    }
    raise_magnitudes(mine.here.data(), cols_, mine.numbers.data());
  }

  /// Raises both to what all threads have seen; not while a thread adds.
  ///
  /// largest  [cols] patterns, above infinity where there was a NaN
  /// numbers  [cols] the same without NaN
  void raise(std::vector<std::uint32_t>& largest, std::vector<std::uint32_t>& numbers) {
    for (const OfThread& of : threads_) {
      raise_magnitudes(of.largest.data(), cols_, largest.data());
      raise_magnitudes(of.numbers.data(), cols_, numbers.data());
    }
  }

 private:
  struct OfThread {
    explicit OfThread(std::int64_t n) : largest(n), numbers(n), here(n) {}
    std::vector<std::uint32_t> largest, numbers, here;  ///< [cols]
  };

  std::int64_t cols_;
  tbb::enumerable_thread_specific<OfThread> threads_;
};

}  // namespace fp8scope
