#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace fp8scope::train {

/// One tensor of parameters.
struct ParameterTensor {
  std::string name;     ///< "L02.down.w"
  std::string group;    ///< "linear", "norm", "embedding", "head", "gate"
  std::size_t offset;   ///< of its first element in all
  std::int64_t rows, cols;
  float sigma;          ///< of the initial numbers; 0: all are 1

  std::size_t size() const { return static_cast<std::size_t>(rows * cols); }
  bool decays() const { return group == "linear" || group == "head" || group == "gate"; }
};

/// All parameters of a model, one after the other, with their gradients.
struct Parameters {
  std::vector<ParameterTensor> tensors;
  std::vector<float> values, gradients;

  /// Appends a tensor, whose numbers initialise() will set; returns its offset.
  std::size_t add(std::string name, std::string group, std::int64_t rows, std::int64_t cols, float sigma);
  const ParameterTensor& tensor(const std::string& name) const;

  /// Normal numbers (sums of 12 uniform ones, so the same everywhere) from `seed`; each then times
  /// 1 + perturbation * another one.
  void initialise(std::uint64_t seed, double perturbation);
};

/// Name of the tensor nearest to the loss with a gradient that is NaN or infinite, so the first that the backward pass
/// came to; "" if there is none.
std::string nearest_not_finite(const Parameters& parameters);

}  // namespace fp8scope::train
