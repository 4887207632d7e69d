#include "src/train/replicas.hpp"

#if defined(__GLIBC__)
#include <malloc.h>
#endif

#include "sim/simd/row_math.hpp"
#include "src/train/moe.hpp"

namespace fp8scope::train {
namespace {

/// Sequences [first, first + count) of a batch.
Batch part_of(const Batch& batch, std::int64_t first, std::int64_t count, std::int64_t context) {
  const auto begin = first * context, end = (first + count) * context;
  return {{batch.inputs.begin() + begin, batch.inputs.begin() + end},
          {batch.targets.begin() + begin, batch.targets.begin() + end}};
}

/// Matrices of some megabytes come and go in every step; pages given back would have to be cleared again.
void keep_memory() {
#if defined(__GLIBC__)
  mallopt(M_MMAP_THRESHOLD, 1 << 30);
  mallopt(M_TRIM_THRESHOLD, 1 << 30);
#endif
}

}  // namespace

Replicas::Replicas(const ModelConfig& model, const Precision& precision, const Spread& spread) : spread_(spread) {
  keep_memory();
  for (std::int64_t r = 0; r < spread.ranks; ++r) models_.push_back(std::make_unique<Transformer>(model, precision));
  for (const ParameterTensor& t : first().parameters.tensors) bounds_.push_back(t.offset);
  bounds_.push_back(first().parameters.values.size());
}

double Replicas::gradients(const Executor& execute, const Batch& batch, Observer* observer, Routes* routes) {
  const std::int64_t context = first().config().context;
  double loss = 0.0;
  for (std::int64_t r = 0; r < spread_.ranks; ++r) {
    Transformer& model = *models_[static_cast<std::size_t>(r)];
    Parameters& p = model.parameters;
    if (r > 0) p.values = first().parameters.values;
    std::fill(p.gradients.begin(), p.gradients.end(), 0.0f);
    for (std::int64_t m = 0; m < spread_.micro_batches; ++m) {
      const std::int64_t number = r * spread_.micro_batches + m;
      const Batch part = part_of(batch, number * spread_.sequences, spread_.sequences, context);
      const Pass pass{execute, true, number == 0 ? observer : nullptr, routes};
      loss += model.forward(pass, part);
      model.backward(pass, part);
    }
    if (spread_.micro_batches > 1)
      simd::row_math().scale(p.gradients.data(), p.gradients.size(), 1.0f / static_cast<float>(spread_.micro_batches),
                             p.gradients.data());
  }
  if (spread_.ranks > 1) {
    std::vector<std::vector<float>> all;
    for (auto& model : models_) all.push_back(std::move(model->parameters.gradients));
    all_reduce(execute, first().precision().allreduce, all, bounds_, reduced_);
    for (std::size_t r = 0; r < models_.size(); ++r) models_[r]->parameters.gradients = std::move(all[r]);
  }
  return loss / static_cast<double>(spread_.ranks * spread_.micro_batches);
}

double Replicas::loss(const Executor& execute, const Batch& batch) {
  return first().forward({execute, false, nullptr}, batch);
}

Traffic Replicas::traffic() {
  Traffic traffic;
  if (spread_.ranks > 1) traffic.counts["all-reduce of gradients"] = reduced_;
  for (auto& model : models_)
    for (Layer& layer : model->layers())
      if (auto* moe = dynamic_cast<Moe*>(&layer.feed_forward()))
        for (RowExchange* exchange : moe->exchanges()) {
          Traffic::Count &all = traffic.counts[exchange->what()], &one = exchange->count();
          all.bytes += one.bytes, all.bf16_bytes += one.bf16_bytes, all.signal += one.signal, all.noise += one.noise;
        }
  return traffic;
}

}  // namespace fp8scope::train
