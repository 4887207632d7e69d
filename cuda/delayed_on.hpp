#pragma once

#include "cuda/delayed.hpp"
#include "cuda/engine.hpp"

namespace fp8scope::cuda {

template <class Machine>
class DelayedOn final : public DelayedScale {
 public:
  DelayedOn(const Machine& machine, const DelayedRule& rule) : machine_(machine), rule_(rule) {
    const std::vector<float> zeros(static_cast<std::size_t>(rule.length));
    const Scales one;
    history_ = Memory<float>(std::span<const float>(zeros));
    scales_ = Memory<Scales>(std::span<const Scales>(&one, 1));
  }
  Scales scales() const override { return scales_.to_host()[0]; }
  std::vector<float> history() const override { return history_.to_host(); }

  const Scales* device_scales() const { return scales_.get(); }
  float* device_history() const { return history_.get(); }
  HistoryLoop::Job learn(const TensorTop* measured, AmaxRule rule) const {
    return {measured, rule, rule_, history_.get(), scales_.get()};
  }
  void update() override {
    machine_.enter();
    machine_.template run<HistoryLoop>({}, most_threads, learn(nullptr, AmaxRule::ignore_nan));
  }

 private:
  template <class T>
  using Memory = typename Machine::template Memory<T>;
  const Machine& machine_;
  Memory<float> history_;
  Memory<Scales> scales_;
  DelayedRule rule_;
};

}  // namespace fp8scope::cuda
