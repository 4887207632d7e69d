#include "src/train/run_output.hpp"

#include <fmt/format.h>

#include <filesystem>

#include "src/train/ledger.hpp"
#include "src/version.hpp"

namespace fp8scope::train {

std::vector<h5::Attribute> run_attributes(const RunConfig& config, std::int64_t parameters) {
  return {{"model", config.model},
          {"mode", config.mode},
          {"switches", precision_text(config.precision)},
          {"parameters", parameters},
          {"seed", static_cast<std::int64_t>(config.seed)},
          {"perturbation", config.perturbation},
          {"tokens_per_step", config.spread.all() * config.shape.context},
          {"run", config.text()}};
}

void add_run_tables(Trainer& trainer, Results& results) {
  const Curve& curve = trainer.curve();
  Table& loss = results.add("loss", "training loss");
  loss.signal = "loss";
  loss.add<std::int64_t>("step", "1", "training step") = curve.step;
  loss.add<double>("loss", "nat", "mean cross entropy of the step's tokens, before the update") = curve.loss;
  loss.add<double>("gradient_norm", "1", "norm of all gradients, before clipping") = curve.gradient_norm;
  loss.add<double>("rate", "1", "learning rate") = curve.rate;
  Table& validation = results.add("validation", "loss on held-out text");
  validation.signal = "loss";
  validation.add<std::int64_t>("step", "1", "steps done before") = curve.validation_step;
  validation.add<double>("loss", "nat", "mean cross entropy") = curve.validation_loss;
  const RunConfig& c = trainer.config();
  results.tables.push_back(memory_table(trainer.replicas().first(), c.spread.sequences * c.shape.context));
  const Traffic traffic = trainer.replicas().traffic();
  if (!traffic.counts.empty()) results.tables.push_back(traffic_table(traffic, trainer.steps()));
}

std::vector<h5::Attribute> trace_attributes(const RunConfig& c, std::int64_t parameters, const std::string& corpus) {
  return {{"title", fmt::format("training of a {}-parameter transformer on {}", parameters,
                                std::filesystem::path(corpus).filename().string())},
          {"source", std::string("recorded")},
          {"framework", fmt::format("fp8scope train {}", version)},
          {"corpus", std::filesystem::path(corpus).filename().string()},
          {"corpus_sha256", c.corpus_sha256},
          {"run", c.text()},
          {"model.name", c.model},
          {"model.params", parameters},
          {"model.hidden", c.shape.hidden},
          {"model.layers", c.shape.layers},
          {"model.heads", c.shape.heads},
          {"model.ffn", c.shape.ffn},
          {"model.vocab", c.shape.vocabulary},
          {"model.seq_len", c.shape.context},
          {"model.tokens_per_step", c.spread.all() * c.shape.context},
          {"model.optimizer", std::string("AdamW")},
          {"model.lr", c.optimizer.rate},
          {"model.seed", static_cast<std::int64_t>(c.seed)},
          {"model.recipe_during_training", c.mode + (precision_text(c.precision).empty() ? "" : " " + precision_text(c.precision))}};
}

}  // namespace fp8scope::train
