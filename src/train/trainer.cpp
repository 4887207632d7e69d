#include "src/train/trainer.hpp"

#include <fmt/format.h>

namespace fp8scope::train {

std::string RunConfig::text() const {
  const ModelConfig& m = shape;
  const OptimizerConfig& o = optimizer;
  return fmt::format(
      "hidden {} layers {} heads {} ffn {} context {} vocabulary {} experts {} top_k {} expert_ranks {}; "
      "sequences {} micro_batches {} data_ranks {}; rate {} warmup {} steps {} decay {} b1 {} b2 {} clip {}; "
      "seed {} perturbation {}; validate_every {} validation_batches {}; corpus {}; {}",
      m.hidden, m.layers, m.heads, m.ffn, m.context, m.vocabulary, m.experts, m.top_k, m.expert_ranks, spread.sequences,
      spread.micro_batches, spread.ranks, o.rate, o.warmup, o.steps, o.decay, o.b1, o.b2, o.clip, seed, perturbation,
      validate_every, validation_batches, corpus_sha256, precision_text(precision));
}

Trainer::Trainer(RunConfig config, const Corpus& corpus, const Executor& execute)
    : config_(std::move(config)), corpus_(corpus), execute_(execute),
      replicas_(config_.shape, config_.precision, config_.spread),
      optimizer_(config_.optimizer, replicas_.first().parameters, config_.precision.master, config_.precision.moments) {
  replicas_.first().parameters.initialise(config_.seed, config_.perturbation);
}

void Trainer::validate() {
  double sum = 0.0;
  for (std::int64_t b = 0; b < config_.validation_batches; ++b)
    sum += replicas_.loss(execute_, corpus_.validation(b, config_.spread.sequences));
  curve_.validation_step.push_back(steps_);
  curve_.validation_loss.push_back(sum / static_cast<double>(config_.validation_batches));
}

double Trainer::step(Observer* observer) {
  if (steps_ == 0) validate();
  const Batch batch = corpus_.training(config_.seed, steps_, config_.spread.all());
  const double loss = replicas_.gradients(execute_, batch, observer);
  const double norm = optimizer_.step(execute_, replicas_.first().parameters, steps_);
  for (auto& model : replicas_.models())
    for (Layer& layer : model->layers()) layer.feed_forward().end_step();
  curve_.step.push_back(steps_);
  curve_.loss.push_back(loss);
  curve_.gradient_norm.push_back(norm);
  curve_.rate.push_back(learning_rate(config_.optimizer, steps_));
  ++steps_;
  if (finished() || (config_.validate_every > 0 && steps_ % config_.validate_every == 0)) validate();
  return loss;
}

}  // namespace fp8scope::train
