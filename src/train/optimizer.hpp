#pragma once

#include <string>
#include <vector>

#include "src/train/matrix.hpp"
#include "src/train/parameters.hpp"

namespace fp8scope::train {

/// AdamW with clipping by the norm of all gradients.
struct OptimizerConfig {
  double rate = 2e-3;
  std::int64_t warmup = 100, steps = 1000;  ///< linear warm-up, then a cosine down to a tenth at `steps`
  double decay = 0.1, b1 = 0.9, b2 = 0.95, clip = 1.0;
};

/// Learning rate of step 0, 1, ...
double learning_rate(const OptimizerConfig& config, std::int64_t step);

class Optimizer {
 public:
  /// master, moments  formats, as in Precision
  Optimizer(const OptimizerConfig& config, const Parameters& parameters, std::string master, std::string moments);

  /// Updates the values by the gradients; returns the norm of the gradients.
  double step(const Executor& execute, Parameters& parameters, std::int64_t step);

  /// Rounds weights and moments to the formats that they are kept in.
  void round_state(const Executor& execute, Parameters& parameters);

  std::vector<float>& first() { return m_; }
  std::vector<float>& second() { return v_; }
  /// Bytes of both moments of `n` parameters.
  static double moment_bytes(const std::string& format, double n);

 private:
  void round_piece(Parameters& parameters, std::size_t first, std::size_t n);

  OptimizerConfig config_;
  std::string master_, moments_;
  std::vector<float> m_, v_;
};

/// A group of up to 128 numbers as E4M3 with its range expanded: y = (|x|/g)^k fills the format, with
/// g = sqrt(max min) and k from max/min; x becomes what the codes stand for. Powers in binary64.
/// Source: COAT (arXiv:2410.19313), as its code computes k; k is kept within [1/16, 16].
void expand_to_fp8(float* x, std::size_t n);

}  // namespace fp8scope::train
