#pragma once

#include "cuda/cast_on.hpp"
#include "cuda/engine_on.hpp"
#include "cuda/measure_on.hpp"

namespace fp8scope::cuda {

template <class Machine, class In>
class TensorOn final : public DeviceTensor {
 public:
  TensorOn(const Machine& machine, std::int64_t rows, std::int64_t cols)
      : machine_(machine), rows_(rows), cols_(cols), x_(static_cast<std::size_t>(rows * cols)) {}
  ~TensorOn() override { machine_.enter(); }

  void upload(std::int64_t first, std::int64_t count, const void* stored) override {
    machine_.enter();
    require(first >= 0 && count >= 0 && first + count <= rows_, "upload: rows beyond the tensor");
    x_.upload({static_cast<const typename In::Stored*>(stored), static_cast<std::size_t>(count * cols_)},
              static_cast<std::size_t>(first * cols_));
  }
  Quantized quantize(const BlockCast& cast) override {
    machine_.enter();
    CastOn<Machine, In> work(machine_, x_.get(), rows_, cols_, cast);
    work.run();
    return work.result();
  }
  Quantized quantize_delayed(const BlockCast& cast, DelayedScale& state) override {
    BlockCast whole = cast;
    whole.block = {};
    machine_.enter();
    CastOn<Machine, In> work(machine_, x_.get(), rows_, cols_, whole);
    work.run_delayed(dynamic_cast<DelayedOn<Machine>&>(state));
    return work.result();
  }
  Quantized quantize_recorded(const BlockCast& cast, DelayedScale& state) override {
    BlockCast whole = cast;
    whole.block = {};
    machine_.enter();
    CastOn<Machine, In> work(machine_, x_.get(), rows_, cols_, whole);
    work.run_recorded(dynamic_cast<DelayedOn<Machine>&>(state));
    return work.result();
  }
  TensorMoments moments() override {
    machine_.enter();
    return moments_on<Machine, In>(machine_, x_.get(), rows_, cols_);
  }
  CastErrors measure(const BlockCast& cast, float bulk) override {
    machine_.enter();
    CastOn<Machine, In> work(machine_, x_.get(), rows_, cols_, cast);
    work.run_scales();
    return measure_on<Machine, In>(machine_, x_.get(), cast, work, bulk);
  }
  double seconds(const BlockCast& cast, int rounds) override {
    machine_.enter();
    CastOn<Machine, In> work(machine_, x_.get(), rows_, cols_, cast);
    return machine_.seconds(rounds, [&] { work.run(); });
  }
  double seconds_delayed(const BlockCast& cast, DelayedScale& state, int rounds) override {
    BlockCast whole = cast;
    whole.block = {};
    machine_.enter();
    CastOn<Machine, In> work(machine_, x_.get(), rows_, cols_, whole);
    auto& delayed = dynamic_cast<DelayedOn<Machine>&>(state);
    return machine_.seconds(rounds, [&] { work.run_delayed(delayed); });
  }

 private:
  const Machine& machine_;
  std::int64_t rows_, cols_;
  typename Machine::template Memory<typename In::Stored> x_;
};

template <class Machine, class In>
std::unique_ptr<DeviceTensor> make_tensor(const Machine& machine, std::int64_t rows, std::int64_t cols) {
  return std::make_unique<TensorOn<Machine, In>>(machine, rows, cols);
}

}  // namespace fp8scope::cuda
