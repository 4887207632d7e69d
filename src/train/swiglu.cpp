#include "sim/simd/row_math.hpp"
#include "src/train/feed_forward.hpp"
#include "src/train/stable_math.hpp"

namespace fp8scope::train {
namespace {

std::size_t at(std::int64_t n) { return static_cast<std::size_t>(n); }

float sigma(std::int64_t in, double shrink = 1.0) {
  return static_cast<float>(1.0 / stable_sqrt(static_cast<double>(in) * shrink));
}

}  // namespace

SwiGlu::SwiGlu(const std::string& name, std::int64_t hidden, std::int64_t ffn, std::int64_t layers,
               const Precision& precision, Parameters& parameters)
    : ffn_(ffn), rounded_(precision.activations == "bf16"), cache_(precision.swiglu_cache),
      gate_up_({name + ".gateup", hidden, 2 * ffn,
                parameters.add(name + ".gateup.w", "linear", 2 * ffn, hidden, sigma(hidden))},
               precision, precision.linear_cache),
      down_({name + ".down", ffn, hidden,
             parameters.add(name + ".down.w", "linear", hidden, ffn, sigma(ffn, 2.0 * static_cast<double>(layers)))},
            precision, precision.linear_cache) {
  if (cache_ == "fp8")
    cached_ = std::make_unique<OperandCast>("te_block:scales=" + precision.cache_scales, Role::activation);
}

void SwiGlu::activate(const Pass& pass, const Matrix& gate_up, Matrix& out) const {
  const auto& math = simd::row_math();
  out.resize(gate_up.rows, ffn_);
  for_rows(pass.execute, gate_up.rows, [&](std::int64_t first, std::int64_t last) {
    for (std::int64_t r = first; r < last; ++r) {
      math.silu_mul(gate_up.row(r), gate_up.row(r) + ffn_, at(ffn_), out.row(r));
      if (rounded_) math.round_bf16(out.row(r), at(ffn_), out.row(r));
    }
  });
}

void SwiGlu::forward(const Pass& pass, const Parameters& parameters, const Matrix& x, Matrix& y) {
  Matrix out;
  gate_up_.forward(pass, parameters, x, inner_);
  activate(pass, inner_, out);
  down_.forward(pass, parameters, out, y);
  if (!pass.training || !cached_) return;
  CastOperand codes;
  cached_->cast(pass.execute, inner_, true, codes);
  Matrix kept;
  codes.dequantise(pass.execute, kept);
  inner_ = std::move(kept);
}

void SwiGlu::backward(const Pass& pass, Parameters& parameters, const Matrix& dy, Matrix& dx) {
  const auto& math = simd::row_math();
  if (cache_ != "keep") {
    Matrix again;
    activate(pass, inner_, again);
    down_.replace_input(std::move(again));
  }
  Matrix dout, dinner;
  down_.receive(pass, dy);
  down_.backward_input(pass, parameters, dout);
  down_.backward_weight(pass, parameters);
  dinner.resize(inner_.rows, 2 * ffn_);
  for_rows(pass.execute, inner_.rows, [&](std::int64_t first, std::int64_t last) {
    for (std::int64_t r = first; r < last; ++r)
      math.silu_mul_backward(inner_.row(r), inner_.row(r) + ffn_, dout.row(r), at(ffn_), dinner.row(r),
                             dinner.row(r) + ffn_);
  });
  gate_up_.receive(pass, dinner);
  gate_up_.backward_input(pass, parameters, dx);
  gate_up_.backward_weight(pass, parameters);
}

std::map<std::string, Bytes> SwiGlu::cache_bytes(std::int64_t rows) const {
  const double n = static_cast<double>(rows), ffn = static_cast<double>(ffn_);
  const double width = rounded_ ? 2.0 : 4.0, tiles = static_cast<double>((2 * ffn_ + 127) / 128);
  std::map<std::string, Bytes> bytes;
  bytes["linear inputs"].add(gate_up_.cache_bytes(rows), 2.0 * n * static_cast<double>(gate_up_.shape().in));
  bytes["SwiGLU inputs"].add(cache_ == "fp8" ? n * (2.0 * ffn + 4.0 * tiles) : width * 2.0 * n * ffn, 4.0 * n * ffn);
  bytes["SwiGLU output"].add(cache_ == "keep" ? down_.cache_bytes(rows) : 0.0, 2.0 * n * ffn);
  return bytes;
}

}  // namespace fp8scope::train
