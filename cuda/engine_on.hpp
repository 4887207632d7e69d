#pragma once
// The engine, for any machine that can run loops: GpuMachine of launch.hpp, HostMachine of
// host_machine.hpp. What is launched, and with which job, is the same on both.

#include "cuda/conversions.hpp"
#include "cuda/delayed_on.hpp"
#include "cuda/dequantize.hpp"
#include "cuda/loop_choice.hpp"
#include "sim/code_table.hpp"
#include "sim/require.hpp"

namespace fp8scope::cuda {

/// A tensor of elements In; defined in tensor_on.hpp, which takes long to compile for a GPU: a file each.
template <class Machine, class In>
std::unique_ptr<DeviceTensor> make_tensor(const Machine& machine, std::int64_t rows, std::int64_t cols);

template <class Machine>
class EngineOn final : public Engine {
 public:
  explicit EngineOn(Machine machine) : machine_(std::move(machine)) {}

  std::string name() const override { return machine_.name(); }
  std::unique_ptr<DeviceTensor> tensor(Element element, std::int64_t rows, std::int64_t cols) override {
    require(rows > 0 && cols > 0, "a tensor needs at least one element");
    machine_.enter();
    switch (element) {
      case Element::bf16: return make_tensor<Machine, Bf16>(machine_, rows, cols);
      case Element::fp16: return make_tensor<Machine, Fp16>(machine_, rows, cols);
      default: return make_tensor<Machine, Fp32>(machine_, rows, cols);
    }
  }
  std::unique_ptr<DelayedScale> delayed(const DelayedRule& rule) override {
    require(rule.length > 0, "a history of amaxes needs a length");
    machine_.enter();
    return std::make_unique<DelayedOn<Machine>>(machine_, rule);
  }
  std::vector<float> dequantize(const Format& f, const BlockGrid& grid, const std::vector<std::uint8_t>& codes,
                                const std::vector<float>& inverse) override {
    require(f.bits() <= 8, "dequantize: codes have at most 8 bits");
    require(std::ssize(codes) == grid.size() && std::ssize(inverse) == grid.blocks(), "dequantize: sizes that do not fit");
    machine_.enter();
    std::vector<float> values = decode_table(f);
    values.resize(256);
    Memory<std::uint8_t> code(std::span<const std::uint8_t>{codes});
    Memory<float> scale(std::span<const float>{inverse}), value(std::span<const float>{values}), y(codes.size());
    const DequantizeLoop::Job job{code.get(), grid, scale.get(), value.get(), y.get(), grid.cols % chunk == 0};
    machine_.template run<DequantizeLoop>({ceil_div(grid.cols, most_threads * chunk), grid_y(grid.rows)}, most_threads, job);
    return y.to_host();
  }
  Conversions conversions(const Format& f, const CastRule& rule, std::uint32_t stride) override {
    const CastPlan plan = make_plan(f, rule);
    require(plan.vectorised && fast_codes(plan, Apply::multiply) && stride > 0, "conversions: not a cast of the fast loops");
    machine_.enter();
    const ConversionCount none;
    Memory<ConversionCount> count(std::span<const ConversionCount>(&none, 1));
    const std::uint64_t chunks = ((std::uint64_t{1} << 28) + stride - 1) / stride;
    machine_.template run<ConversionLoop>({static_cast<std::uint32_t>(machine_.multiprocessors() * 8)}, most_threads,
                                          {make_coding(plan, 0, 0), chunks, stride, count.get()});
    const ConversionCount found = count.to_host()[0];
    return {chunks * chunk, found.differ, found.lowest};
  }
  bool is_gpu() const override { return machine_.is_gpu(); }
  double copy_rate(std::size_t bytes, int rounds) override {
    machine_.enter();
    Memory<std::uint8_t> from(bytes), to(bytes);
    const double seconds = machine_.seconds(rounds, [&] { machine_.copy(from, to); });
    return seconds > 0.0 ? 2.0 * static_cast<double>(bytes) / seconds : 0.0;
  }

 private:
  template <class T>
  using Memory = typename Machine::template Memory<T>;
  Machine machine_;
};

}  // namespace fp8scope::cuda
