#pragma once
// What a kernel's loops see of the thread block they run in. nvcc compiles it to threads and
// barriers; any other compiler to loops over the threads, so that the same loops run, and are
// tested, on a machine without a GPU. The two are different types (inline namespaces): one program
// holds both.
//
// A kernel is a struct with
//   Job                                    what it is told, passed by value
//   Shared                                 its memory common to a block
//   static void run(Team&, Shared&, const Job&)
// whose run() is written in phases: team.each(f) calls f(thread) for every thread, and what must be
// seen by other threads is followed by team.sync(). What a thread keeps between phases lives in
// Register<T>.

#include <cstdint>

#include "sim/bits.hpp"

#if defined(__CUDACC__)
#define FP8_LOOPS device_loops
#define FP8_KERNEL __device__ __forceinline__
#define FP8_UNROLL _Pragma("unroll")
#define FP8_UNROLL_2 _Pragma("unroll 2")
#define FP8_NO_UNROLL _Pragma("unroll 1")
#else
#include <algorithm>
#include <vector>
#define FP8_LOOPS host_loops
#define FP8_KERNEL inline
#define FP8_UNROLL
#define FP8_UNROLL_2
#define FP8_NO_UNROLL
#endif

namespace fp8scope::cuda {

/// Threads of every block are a multiple of this many, and lanes talk within it.
inline constexpr int warp = 32;
/// The most threads of a block.
inline constexpr int most_threads = 256;

struct Dim {
  std::uint32_t x = 1, y = 1;
};

inline namespace FP8_LOOPS {

#if defined(__CUDACC__)

class Team {
 public:
  __device__ __forceinline__ int threads() const { return static_cast<int>(blockDim.x); }
  __device__ __forceinline__ Dim block() const { return {blockIdx.x, blockIdx.y}; }
  __device__ __forceinline__ Dim grid() const { return {gridDim.x, gridDim.y}; }

  template <class F>
  __device__ __forceinline__ void each(const F& f) const {
    f(static_cast<int>(threadIdx.x));
  }
  __device__ __forceinline__ void sync() const { __syncthreads(); }
};

template <class T>
class Register {
 public:
  __device__ __forceinline__ explicit Register(const Team&) {}
  __device__ __forceinline__ T& operator()(int) { return value_; }

 private:
  T value_;
};

/// Every thread of each aligned group of `lanes` (a power of two up to 32) gets the group's largest.
__device__ __forceinline__ void group_max(const Team&, Register<std::uint32_t>& value, int lanes) {
  std::uint32_t& mine = value(0);
  for (int step = lanes / 2; step > 0; step /= 2) {
    const std::uint32_t other = __shfl_xor_sync(0xffffffffu, mine, step);
    mine = other > mine ? other : mine;
  }
}

/// Every thread gets the larger of its value and that of thread ^ mask, mask < 32.
__device__ __forceinline__ void exchange_max(const Team&, Register<std::uint32_t>& value, int mask) {
  std::uint32_t& mine = value(0);
  const std::uint32_t other = __shfl_xor_sync(0xffffffffu, mine, mask);
  mine = other > mine ? other : mine;
}

/// Every thread of the block gets the block's largest. `scratch` holds 32 words and is free again
/// after the next sync().
__device__ __forceinline__ void block_max(const Team& team, Register<std::uint32_t>& value,
                                          std::uint32_t* scratch) {
  const unsigned largest = __reduce_max_sync(0xffffffffu, value(0));
  if (threadIdx.x % warp == 0) scratch[threadIdx.x / warp] = largest;
  team.sync();
  std::uint32_t all = 0;
  for (int w = 0; w < team.threads() / warp; ++w) all = scratch[w] > all ? scratch[w] : all;
  value(0) = all;
}

/// The value that lane `from` of the thread's aligned group of 16 holds.
template <class T>
__device__ __forceinline__ T from_lane(Register<T>& value, int /*thread*/, int from) {
  return __shfl_sync(0xffffffffu, value(0), from, 16);
}

/// True for all threads of a warp if `flag` is not 0 in any of them.
__device__ __forceinline__ bool any_of_warp(Register<std::uint32_t>& flag, int /*thread*/) {
  return __any_sync(0xffffffffu, flag(0) != 0) != 0;
}

/// The first of every aligned group of 16 threads gets op over the group, by halves: lane i takes
/// lane i + 8, then i + 4, i + 2, i + 1.
template <class T, class Op>
__device__ __forceinline__ void fold16(const Team&, Register<T>& value, const Op& op) {
  for (int half = 8; half > 0; half /= 2)
    value(0) = op(value(0), __shfl_down_sync(0xffffffffu, value(0), half, 16));
}

/// log2 of a power of two.
__device__ __forceinline__ int log2_of(std::uint32_t power) { return 31 - __clz(static_cast<int>(power)); }

__device__ __forceinline__ void atomic_max(std::uint32_t* place, std::uint32_t v) { atomicMax(place, v); }
__device__ __forceinline__ void atomic_min(std::uint32_t* place, std::uint32_t v) { atomicMin(place, v); }
__device__ __forceinline__ void atomic_min(std::uint64_t* place, std::uint64_t v) {
  atomicMin(reinterpret_cast<unsigned long long*>(place), static_cast<unsigned long long>(v));
}
__device__ __forceinline__ void atomic_add(std::uint32_t* place, std::uint32_t v) { atomicAdd(place, v); }

#else

class Team {
 public:
  Team(Dim grid, Dim block, int threads) : grid_(grid), block_(block), threads_(threads) {}
  int threads() const { return threads_; }
  Dim block() const { return block_; }
  Dim grid() const { return grid_; }

  template <class F>
  void each(const F& f) const {
    for (int t = 0; t < threads_; ++t) f(t);
  }
  void sync() const {}

 private:
  Dim grid_, block_;
  int threads_;
};

template <class T>
class Register {
 public:
  explicit Register(const Team& team) : value_(team.threads()) {}
  T& operator()(int thread) { return value_[thread]; }

 private:
  std::vector<T> value_;
};

inline void group_max(const Team& team, Register<std::uint32_t>& value, int lanes) {
  for (int first = 0; first < team.threads(); first += lanes) {
    std::uint32_t largest = 0;
    for (int t = first; t < first + lanes; ++t) largest = std::max(largest, value(t));
    for (int t = first; t < first + lanes; ++t) value(t) = largest;
  }
}

inline void exchange_max(const Team& team, Register<std::uint32_t>& value, int mask) {
  for (int t = 0; t < team.threads(); ++t)
    if ((t & mask) == 0) value(t) = value(t ^ mask) = std::max(value(t), value(t ^ mask));
}

inline void block_max(const Team& team, Register<std::uint32_t>& value, std::uint32_t* /*scratch*/) {
  std::uint32_t largest = 0;
  for (int t = 0; t < team.threads(); ++t) largest = std::max(largest, value(t));
  for (int t = 0; t < team.threads(); ++t) value(t) = largest;
}

template <class T>
T from_lane(Register<T>& value, int thread, int from) {
  return value(thread / 16 * 16 + from);
}

inline bool any_of_warp(Register<std::uint32_t>& flag, int thread) {
  for (int i = 0; i < warp; ++i)
    if (flag(thread / warp * warp + i) != 0) return true;
  return false;
}

template <class T, class Op>
void fold16(const Team& team, Register<T>& value, const Op& op) {
  for (int first = 0; first < team.threads(); first += 16)
    for (int half = 8; half > 0; half /= 2)
      for (int i = first; i < first + half; ++i) value(i) = op(value(i), value(i + half));
}

inline int log2_of(std::uint32_t power) { return 31 - __builtin_clz(power); }

inline void atomic_max(std::uint32_t* place, std::uint32_t v) { *place = std::max(*place, v); }
inline void atomic_min(std::uint32_t* place, std::uint32_t v) { *place = std::min(*place, v); }
inline void atomic_min(std::uint64_t* place, std::uint64_t v) { *place = std::min(*place, v); }
inline void atomic_add(std::uint32_t* place, std::uint32_t v) { *place += v; }

#endif

}  // namespace FP8_LOOPS
}  // namespace fp8scope::cuda
