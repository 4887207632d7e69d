#include "sim/simd/row_math.hpp"
#include "src/train/moe.hpp"
#include "src/train/stable_math.hpp"
#include "src/train/transformer.hpp"

namespace fp8scope::train {
namespace {

float sigma(std::int64_t in, double shrink = 1.0) {
  return static_cast<float>(1.0 / stable_sqrt(static_cast<double>(in) * shrink));
}

Norm make_norm(const std::string& name, const ModelConfig& config, const Precision& precision, Parameters& parameters) {
  return {parameters.add(name, "norm", 1, config.hidden, 0.0f), config.hidden, precision.norms == "bf16",
          precision.activations == "bf16"};
}

Linear make_linear(const std::string& name, std::int64_t in, std::int64_t out, float spread, const Precision& precision,
                   const std::string& cache, Parameters& parameters) {
  return Linear({name, in, out, parameters.add(name + ".w", "linear", out, in, spread)}, precision, cache);
}

std::unique_ptr<FeedForward> make_feed_forward(const std::string& name, const ModelConfig& config,
                                               const Precision& precision, Parameters& parameters) {
  if (config.experts > 0) return std::make_unique<Moe>(name, config, precision, parameters);
  return std::make_unique<SwiGlu>(name, config.hidden, config.ffn, config.layers, precision, parameters);
}

}  // namespace

Layer::Layer(const std::string& name, const ModelConfig& config, const Precision& precision, Parameters& parameters)
    : hidden_(config.hidden), bf16_residual_(precision.residual == "bf16"), rounded_(precision.activations == "bf16"),
      norm1_(make_norm(name + ".norm1", config, precision, parameters)),
      qkv_(make_linear(name + ".qkv", config.hidden, 3 * config.hidden, sigma(config.hidden), precision,
                       precision.linear_cache, parameters)),
      attention_(config.heads, config.context, precision.attention, rounded_),
      out_(make_linear(name + ".o", config.hidden, config.hidden,
                       sigma(config.hidden, 2.0 * static_cast<double>(config.layers)), precision,
                       precision.attention_cache == "linear_cache" ? precision.linear_cache : precision.attention_cache,
                       parameters)),
      norm2_(make_norm(name + ".norm2", config, precision, parameters)),
      feed_forward_(make_feed_forward(name, config, precision, parameters)) {}

void Layer::add_residual(const Pass& pass, const Matrix& x, Matrix& h) const {
  const auto& math = simd::row_math();
  for_rows(pass.execute, h.rows, [&](std::int64_t first, std::int64_t last) {
    const auto n = static_cast<std::size_t>((last - first) * h.cols);
    math.add(x.row(first), n, h.row(first));
    if (bf16_residual_) math.round_bf16(h.row(first), n, h.row(first));
  });
}

void Layer::forward(const Pass& pass, const Parameters& parameters, const Rotary& rotary, Matrix& h) {
  Matrix x, y;
  h_ = h;
  norm1_.forward(pass, parameters, h_, x);
  qkv_.forward(pass, parameters, x, projected_);
  attention_.forward(pass, rotary, projected_, y);
  out_.forward(pass, parameters, y, x);
  add_residual(pass, x, h);
  middle_ = h;
  norm2_.forward(pass, parameters, middle_, x);
  feed_forward_->forward(pass, parameters, x, y);
  add_residual(pass, y, h);
}

void Layer::backward(const Pass& pass, Parameters& parameters, const Rotary& rotary, Matrix& dh) {
  Matrix dx, dy;
  feed_forward_->backward(pass, parameters, dh, dx);
  norm2_.backward(pass, parameters, middle_, dx, dh);
  if (bf16_residual_) round_bf16(pass.execute, dh, dh);
  out_.receive(pass, dh);
  out_.backward_input(pass, parameters, dx);
  out_.backward_weight(pass, parameters);
  attention_.backward(pass, rotary, projected_, dx, dy);
  qkv_.receive(pass, dy);
  qkv_.backward_input(pass, parameters, dx);
  qkv_.backward_weight(pass, parameters);
  norm1_.backward(pass, parameters, h_, dx, dh);
  if (bf16_residual_) round_bf16(pass.execute, dh, dh);
}

std::vector<Linear*> Layer::linears() {
  std::vector<Linear*> all{&qkv_, &out_};
  for (Linear* linear : feed_forward_->linears()) all.push_back(linear);
  return all;
}

std::map<std::string, Bytes> Layer::cache_bytes(std::int64_t rows) const {
  std::map<std::string, Bytes> bytes = feed_forward_->cache_bytes(rows);
  const double n = static_cast<double>(rows * hidden_);
  bytes["linear inputs"].add(qkv_.cache_bytes(rows), 2.0 * n);
  bytes["input of the linear after attention"].add(out_.cache_bytes(rows), 2.0 * n);
  bytes["queries, keys, values"].add(Attention::cache_bytes(rows, hidden_, rounded_), 6.0 * n);
  bytes["residual stream"].add((bf16_residual_ ? 4.0 : 8.0) * n, 4.0 * n);
  return bytes;
}

}  // namespace fp8scope::train
