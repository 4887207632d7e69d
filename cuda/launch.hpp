#pragma once
// The machine of a GPU: what engine_on.hpp runs its loops with. For nvcc.

#include <algorithm>
#include <vector>

#include "cuda/buffer.hpp"
#include "cuda/team.hpp"

namespace fp8scope::cuda {

template <class Loop>
__global__ void __launch_bounds__(most_threads) kernel(const __grid_constant__ typename Loop::Job job) {
  __shared__ typename Loop::Shared shared;
  const Team team;
  Loop::run(team, shared, job);
}

/// CUDA's default stream of the current device.
class GpuMachine {
 public:
  template <class T>
  using Memory = Buffer<T>;

  explicit GpuMachine(int device) : device_(device) { use_device(device); info_ = device_info(device); }

  /// Makes this the device of the calling thread: CUDA keeps that thread by thread.
  void enter() const { check(cudaSetDevice(device_), "cudaSetDevice"); }

  std::string name() const { return info_.name; }
  bool is_gpu() const { return true; }
  int multiprocessors() const { return info_.multiprocessors; }

  template <class Loop>
  void run(Dim grid, int threads, const typename Loop::Job& job) const {
    kernel<Loop><<<dim3(grid.x, grid.y), static_cast<unsigned>(threads)>>>(job);
    check(cudaGetLastError(), "a kernel did not start");
  }

  /// Median seconds of `work`.
  template <class Work>
  double seconds(int rounds, const Work& work) const {
    Event begin, end;
    std::vector<float> times;
    work();  // the first run loads the code
    for (int i = 0; i < rounds; ++i) {
      check(cudaEventRecord(begin.get()), "cudaEventRecord");
      work();
      check(cudaEventRecord(end.get()), "cudaEventRecord");
      check(cudaEventSynchronize(end.get()), "a kernel failed");
      float milliseconds = 0.0f;
      check(cudaEventElapsedTime(&milliseconds, begin.get(), end.get()), "cudaEventElapsedTime");
      times.push_back(milliseconds);
    }
    std::sort(times.begin(), times.end());
    return times[times.size() / 2] * 1e-3;
  }

  template <class T>
  void copy(const Buffer<T>& from, Buffer<T>& to) const {
    check(cudaMemcpyAsync(to.get(), from.get(), from.size() * sizeof(T), cudaMemcpyDeviceToDevice), "copy");
  }

 private:
  class Event {
   public:
    Event() { check(cudaEventCreate(&event_), "cudaEventCreate"); }
    ~Event() { cudaEventDestroy(event_); }
    Event(const Event&) = delete;
    Event& operator=(const Event&) = delete;
    cudaEvent_t get() const { return event_; }

   private:
    cudaEvent_t event_;
  };
  int device_;
  DeviceInfo info_;
};

}  // namespace fp8scope::cuda
