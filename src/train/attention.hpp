#pragma once

#include "src/train/linear.hpp"

namespace fp8scope::train {

/// Turns of the rotary position embedding, the same on every machine.
struct Rotary {
  std::int64_t half;               ///< pairs of a head
  std::vector<float> cosine, sine; ///< [context, half]
  Rotary(std::int64_t context, std::int64_t head_size);
};

/// Causal attention of every head: softmax(q k^T / sqrt(head)) v, with rotary positions on q and k.
class Attention {
 public:
  /// operands  "fp32", "bf16" or a recipe: what q, k, v and the weights are cast to before products
  Attention(std::int64_t heads, std::int64_t context, const std::string& operands, bool rounded);

  /// qkv  [sequences * context, 3 hidden]; q and k are turned in place, and the matrix is what
  ///      backward() reads
  /// out  [sequences * context, hidden], written
  void forward(const Pass& pass, const Rotary& rotary, Matrix& qkv, Matrix& out);
  /// dqkv  [sequences * context, 3 hidden], written
  void backward(const Pass& pass, const Rotary& rotary, const Matrix& qkv, const Matrix& dout, Matrix& dqkv);

  /// Bytes of the kept queries, keys and values.
  static double cache_bytes(std::int64_t rows, std::int64_t hidden, bool rounded) {
    return (rounded ? 2.0 : 4.0) * 3.0 * static_cast<double>(rows * hidden);
  }

 private:
  void turn(const Pass& pass, const Rotary& rotary, Matrix& qkv, float sign) const;
  void low(float* values, std::int64_t rows, std::int64_t cols, std::int64_t stride) const;

  std::int64_t heads_, context_;
  std::string operands_;
  bool rounded_;
  std::vector<float> weights_;  ///< [sequences, heads, context, context]
};

}  // namespace fp8scope::train
