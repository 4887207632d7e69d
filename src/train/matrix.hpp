#pragma once

#include <algorithm>
#include <cstdint>
#include <functional>
#include <memory>
#include <utility>
#include <vector>

#include "sim/scaled_gemm.hpp"

namespace fp8scope::train {

/// Leaves new numbers as they are: every matrix is written before it is read.
template <class T>
struct Uninitialised : std::allocator<T> {
  template <class U>
  struct rebind {
    using other = Uninitialised<U>;
  };
  template <class U>
  void construct(U* place) noexcept {
    ::new (static_cast<void*>(place)) U;
  }
  template <class U, class... Arguments>
  void construct(U* place, Arguments&&... arguments) {
    ::new (static_cast<void*>(place)) U(std::forward<Arguments>(arguments)...);
  }
};

/// Binary32 numbers, row after row.
struct Matrix {
  std::int64_t rows = 0, cols = 0;
  std::vector<float, Uninitialised<float>> values;

  /// New elements have any value.
  void resize(std::int64_t r, std::int64_t c) {
    rows = r, cols = c;
    values.resize(static_cast<std::size_t>(r * c));
  }
  void zero() { std::fill(values.begin(), values.end(), 0.0f); }
  float* row(std::int64_t r) { return values.data() + r * cols; }
  const float* row(std::int64_t r) const { return values.data() + r * cols; }
  float* data() { return values.data(); }
  const float* data() const { return values.data(); }
  std::int64_t size() const { return rows * cols; }
};

/// Rows of one task. Sums over rows are made of sums of such pieces, whatever the number of threads.
inline constexpr std::int64_t task_rows = 64;

/// work(first, last) for every piece of task_rows rows.
inline void for_rows(const Executor& execute, std::int64_t rows,
                     const std::function<void(std::int64_t first, std::int64_t last)>& work) {
  execute(static_cast<std::size_t>((rows + task_rows - 1) / task_rows), [&](std::size_t task) {
    const auto first = static_cast<std::int64_t>(task) * task_rows;
    work(first, std::min(first + task_rows, rows));
  });
}

}  // namespace fp8scope::train
