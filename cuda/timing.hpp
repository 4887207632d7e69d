#pragma once
// Seconds of kernels by the device's own clock. For nvcc.

#include <vector>

#include "cuda/check.hpp"

namespace fp8scope::cuda {

class TimedEvent {
 public:
  TimedEvent() { check(cudaEventCreate(&event_), "cudaEventCreate"); }
  ~TimedEvent() { cudaEventDestroy(event_); }
  TimedEvent(const TimedEvent&) = delete;
  TimedEvent& operator=(const TimedEvent&) = delete;
  void record() { check(cudaEventRecord(event_), "cudaEventRecord"); }
  double seconds_since(const TimedEvent& before) const {
    check(cudaEventSynchronize(event_), "a kernel failed");
    float milliseconds = 0.0f;
    check(cudaEventElapsedTime(&milliseconds, before.event_, event_), "cudaEventElapsedTime");
    return milliseconds * 1e-3;
  }

 private:
  cudaEvent_t event_{};
};

/// Seconds of each of `rounds` runs of `work`, after two that are not counted.
template <class Work>
std::vector<double> kernel_seconds(int rounds, const Work& work) {
  work(), work();
  std::vector<double> seconds;
  TimedEvent begin, end;
  for (int i = 0; i < rounds; ++i) {
    begin.record();
    work();
    end.record();
    seconds.push_back(end.seconds_since(begin));
  }
  return seconds;
}

}  // namespace fp8scope::cuda
