#pragma once

#include <optional>

#include "src/train/optimizer.hpp"
#include "src/train/replicas.hpp"

namespace fp8scope::train {

/// Everything that decides the bits of a run.
struct RunConfig {
  std::string model = "s", mode = "bf16";
  ModelConfig shape;
  Precision precision;
  Spread spread;
  OptimizerConfig optimizer;
  std::uint64_t seed = 1;
  double perturbation = 0.0;  ///< relative change of every initial weight
  std::int64_t validate_every = 100, validation_batches = 8;
  std::string corpus_sha256;

  /// All of it as one line: runs with the same text have the same bits.
  std::string text() const;
};

/// What a run has measured so far.
struct Curve {
  std::vector<std::int64_t> step;
  std::vector<double> loss, gradient_norm, rate;
  std::vector<std::int64_t> validation_step;
  std::vector<double> validation_loss;
};

/// A training run.
class Trainer {
 public:
  Trainer(RunConfig config, const Corpus& corpus, const Executor& execute);

  const RunConfig& config() const { return config_; }
  const Curve& curve() const { return curve_; }
  Replicas& replicas() { return replicas_; }
  Optimizer& optimizer() { return optimizer_; }
  /// Steps that are done.
  std::int64_t steps() const { return steps_; }
  bool finished() const { return steps_ >= config_.optimizer.steps; }

  /// One step: validation where it is due, gradients, update. Returns the loss.
  double step(Observer* observer = nullptr);

  /// Writes the state whole or not at all. Throws IoError.
  void save(const std::string& path);
  /// Continues from a saved state, bit for bit.
  /// Throws DataError if it is of another run, IoError.
  void load(const std::string& path);
  /// Takes only the weights and the moments of a saved state, of any run of the same shape.
  void load_weights(const std::string& path);

 private:
  void validate();

  RunConfig config_;
  const Corpus& corpus_;
  const Executor& execute_;
  Replicas replicas_;
  Optimizer optimizer_;
  Curve curve_;
  std::int64_t steps_ = 0;
};

}  // namespace fp8scope::train
