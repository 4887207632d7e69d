#pragma once

#include "cuda/delayed.hpp"
#include "cuda/engine.hpp"

namespace fp8scope::cuda {

template <class Machine>
class DelayedOn final : public DelayedScale {
 public:
  explicit DelayedOn(const DelayedRule& rule) : rule_(rule) {
    const std::vector<float> zeros(static_cast<std::size_t>(rule.length));
    const Scales one;
    history_ = Memory<float>(std::span<const float>(zeros));
    scales_ = Memory<Scales>(std::span<const Scales>(&one, 1));
  }
  Scales scales() const override { return scales_.to_host()[0]; }
  std::vector<float> history() const override { return history_.to_host(); }

  const Scales* device_scales() const { return scales_.get(); }
  HistoryLoop::Job update(const TensorTop* measured, AmaxRule rule) {
    return {measured, rule, rule_, history_.get(), scales_.get()};
  }

 private:
  template <class T>
  using Memory = typename Machine::template Memory<T>;
  Memory<float> history_;
  Memory<Scales> scales_;
  DelayedRule rule_;
};

}  // namespace fp8scope::cuda
