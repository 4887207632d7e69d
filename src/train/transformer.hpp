#pragma once

#include "src/train/attention.hpp"
#include "src/train/feed_forward.hpp"
#include "src/train/norm.hpp"

namespace fp8scope::train {

/// Sequences of tokens and what follows each of them.
struct Batch {
  std::vector<std::int32_t> inputs, targets;  ///< [sequences * context]
};

/// One layer: h += o(attention(qkv(norm(h)))), h += feed_forward(norm(h)).
class Layer {
 public:
  Layer(const std::string& name, const ModelConfig& config, const Precision& precision, Parameters& parameters);

  void forward(const Pass& pass, const Parameters& parameters, const Rotary& rotary, Matrix& h);
  void backward(const Pass& pass, Parameters& parameters, const Rotary& rotary, Matrix& dh);

  std::vector<Linear*> linears();
  FeedForward& feed_forward() { return *feed_forward_; }
  /// Kept between forward and backward for `rows` tokens, by name.
  std::map<std::string, Bytes> cache_bytes(std::int64_t rows) const;

 private:
  void add_residual(const Pass& pass, const Matrix& x, Matrix& h) const;

  std::int64_t hidden_;
  bool bf16_residual_, rounded_;
  Norm norm1_;
  Linear qkv_;
  Attention attention_;
  Linear out_;
  Norm norm2_;
  std::unique_ptr<FeedForward> feed_forward_;
  Matrix h_, middle_, projected_;  ///< input, after attention, queries keys values
};

/// A decoder-only language model: embedding, layers, norm, output layer of its own.
class Transformer {
 public:
  Transformer(const ModelConfig& config, const Precision& precision);

  Parameters parameters;

  const ModelConfig& config() const { return config_; }
  const Precision& precision() const { return precision_; }

  /// Mean cross entropy in nats. In training everything backward() needs is kept.
  double forward(const Pass& pass, const Batch& batch);
  /// Adds the gradients of that loss to those of the parameters.
  void backward(const Pass& pass, const Batch& batch);

  /// Every linear layer, the output layer last.
  std::vector<Linear*> linears();
  std::vector<Layer>& layers() { return layers_; }

 private:
  void embed(const Pass& pass, const Batch& batch, Matrix& h);
  double loss(const Pass& pass, const Batch& batch);

  ModelConfig config_;
  Precision precision_;
  Rotary rotary_;
  std::size_t embedding_;
  OperandCast embedding_cast_;
  std::vector<Layer> layers_;
  Norm norm_;
  Linear head_;
  Matrix h_, logits_;
};

}  // namespace fp8scope::train
