#pragma once

#include "src/train/linear.hpp"

namespace fp8scope::train {

/// y = x / sqrt(mean(x^2) + 1e-5) * gain, row by row (RMSNorm), and its gradients.
class Norm {
 public:
  /// low      "bf16": the input and the gain are rounded to BF16 first
  /// rounded  the output is BF16
  Norm(std::size_t gain, std::int64_t width, bool low, bool rounded)
      : gain_(gain), width_(width), low_(low), rounded_(rounded) {}

  /// x must stay as it is until backward(), unless the norm is low.
  void forward(const Pass& pass, const Parameters& parameters, const Matrix& x, Matrix& y);
  /// dx += gradient; the gradient of the gain is added to the parameters'.
  ///
  /// x, dy  [rows, width]; x as it was in forward()
  void backward(const Pass& pass, Parameters& parameters, const Matrix& x, const Matrix& dy, Matrix& dx);

 private:
  const float* gain(const Parameters& parameters);

  std::size_t gain_;
  std::int64_t width_;
  bool low_, rounded_;
  std::vector<float> r_, low_gain_;
  Matrix low_x_;
};

}  // namespace fp8scope::train
