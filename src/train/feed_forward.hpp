#pragma once

#include <memory>

#include "src/train/exchange.hpp"
#include "src/train/linear.hpp"
#include "src/train/model_config.hpp"

namespace fp8scope::train {

/// Bytes kept between forward and backward: as the switches say, and if all were BF16.
struct Bytes {
  double own = 0.0, bf16 = 0.0;
  void add(double own_bytes, double bf16_bytes) { own += own_bytes, bf16 += bf16_bytes; }
};

/// The part of a layer after attention.
class FeedForward {
 public:
  virtual ~FeedForward() = default;
  /// y [rows, hidden], written.
  virtual void forward(const Pass& pass, const Parameters& parameters, const Matrix& x, Matrix& y) = 0;
  /// dx [rows, hidden], written; gradients of the parameters are added.
  virtual void backward(const Pass& pass, Parameters& parameters, const Matrix& dy, Matrix& dx) = 0;
  virtual std::vector<Linear*> linears() = 0;
  /// Kept between forward and backward for `rows` tokens, by name.
  virtual std::map<std::string, Bytes> cache_bytes(std::int64_t rows) const = 0;
  /// State beyond the parameters, or nullptr: part of a checkpoint.
  virtual std::vector<float>* state() { return nullptr; }
  /// Called once a training step.
  virtual void end_step() {}
};

/// y = down(silu(gate(x)) * up(x)), gate and up in one product.
class SwiGlu final : public FeedForward {
 public:
  /// name  "L02" or "L02.e3"
  SwiGlu(const std::string& name, std::int64_t hidden, std::int64_t ffn, std::int64_t layers, const Precision& precision,
         Parameters& parameters);

  void forward(const Pass& pass, const Parameters& parameters, const Matrix& x, Matrix& y) override;
  void backward(const Pass& pass, Parameters& parameters, const Matrix& dy, Matrix& dx) override;
  std::vector<Linear*> linears() override { return {&gate_up_, &down_}; }
  std::map<std::string, Bytes> cache_bytes(std::int64_t rows) const override;

 private:
  void activate(const Pass& pass, const Matrix& gate_up, Matrix& out) const;

  std::int64_t ffn_;
  bool rounded_;
  std::string cache_;
  Linear gate_up_, down_;
  std::unique_ptr<OperandCast> cached_;
  Matrix inner_;  ///< [rows, 2 ffn]: gate, then up
};

}  // namespace fp8scope::train
