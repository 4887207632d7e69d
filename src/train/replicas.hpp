#pragma once

#include "src/train/corpus.hpp"
#include "src/train/exchange.hpp"

namespace fp8scope::train {

/// How a step's sequences are spread: every rank works on its micro-batches one after the other, then
/// the ranks average their gradients.
struct Spread {
  std::int64_t sequences = 16;     ///< of one micro-batch
  std::int64_t micro_batches = 1;
  std::int64_t ranks = 1;          ///< data-parallel
  std::int64_t all() const { return sequences * micro_batches * ranks; }
};

/// The same model on every data-parallel rank. Recipes with a memory keep one for each rank: amaxes are
/// not reduced between ranks.
class Replicas {
 public:
  Replicas(const ModelConfig& model, const Precision& precision, const Spread& spread);

  Transformer& first() { return *models_[0]; }
  std::vector<std::unique_ptr<Transformer>>& models() { return models_; }

  /// Mean loss of the batch; its mean gradient is left in first().parameters.gradients.
  double gradients(const Executor& execute, const Batch& batch, Observer* observer = nullptr, Routes* routes = nullptr);
  /// Mean loss without training.
  double loss(const Executor& execute, const Batch& batch);

  /// Bytes and errors of everything that was sent since the model was made.
  Traffic traffic();

 private:
  Spread spread_;
  std::vector<std::unique_ptr<Transformer>> models_;
  std::vector<std::size_t> bounds_;
  Traffic::Count reduced_;
};

}  // namespace fp8scope::train
