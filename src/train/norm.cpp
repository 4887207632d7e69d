#include "src/train/norm.hpp"

#include "sim/simd/row_math.hpp"

namespace fp8scope::train {

const float* Norm::gain(const Parameters& parameters) {
  const float* own = &parameters.values[gain_];
  if (!low_) return own;
  low_gain_.resize(static_cast<std::size_t>(width_));
  simd::row_math().round_bf16(own, low_gain_.size(), low_gain_.data());
  return low_gain_.data();
}

void Norm::forward(const Pass& pass, const Parameters& parameters, const Matrix& x, Matrix& y) {
  const auto& math = simd::row_math();
  const auto n = static_cast<std::size_t>(width_);
  const float* g = gain(parameters);
  if (low_) round_bf16(pass.execute, x, low_x_);
  const Matrix& in = low_ ? low_x_ : x;
  y.resize(x.rows, width_);
  r_.resize(static_cast<std::size_t>(x.rows));
  for_rows(pass.execute, x.rows, [&](std::int64_t first, std::int64_t last) {
    for (std::int64_t i = first; i < last; ++i)
      r_[static_cast<std::size_t>(i)] = math.rms_norm(in.row(i), g, n, y.row(i));
    if (rounded_) math.round_bf16(y.row(first), static_cast<std::size_t>(last - first) * n, y.row(first));
  });
}

void Norm::backward(const Pass& pass, Parameters& parameters, const Matrix& x, const Matrix& dy, Matrix& dx) {
  const auto& math = simd::row_math();
  const auto n = static_cast<std::size_t>(width_);
  const float* g = gain(parameters);
  const Matrix& in = low_ ? low_x_ : x;
  const std::int64_t pieces = (x.rows + task_rows - 1) / task_rows;
  Matrix parts;
  parts.resize(pieces, width_);
  parts.zero();
  for_rows(pass.execute, x.rows, [&](std::int64_t first, std::int64_t last) {
    float* part = parts.row(first / task_rows);
    for (std::int64_t i = first; i < last; ++i) {
      const float r = r_[static_cast<std::size_t>(i)];
      math.gain_gradient(in.row(i), dy.row(i), r, n, part);
      math.rms_norm_backward(in.row(i), g, dy.row(i), r, n, dx.row(i));
    }
  });
  for (std::int64_t p = 0; p < pieces; ++p) math.add(parts.row(p), n, &parameters.gradients[gain_]);
}

}  // namespace fp8scope::train
