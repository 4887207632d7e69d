#pragma once

#include "src/train/feed_forward.hpp"

namespace fp8scope::train {

/// Experts, each a SwiGlu; a gate sends every token to the top_k with the largest softmax score, and
/// their results are added with those scores, scaled to sum 1. A bias that only the choice sees is moved
/// against the load of each expert after every step (DeepSeek-V3's balancing without a loss).
///
/// Experts and tokens are spread over ranks in equal parts; a token whose expert lives elsewhere is
/// sent there and back, in the forward and in the backward pass. Routes of a pass may fix the choice.
class Moe final : public FeedForward {
 public:
  Moe(const std::string& name, const ModelConfig& config, const Precision& precision, Parameters& parameters);

  void forward(const Pass& pass, const Parameters& parameters, const Matrix& x, Matrix& y) override;
  void backward(const Pass& pass, Parameters& parameters, const Matrix& dy, Matrix& dx) override;
  std::vector<Linear*> linears() override;
  std::map<std::string, Bytes> cache_bytes(std::int64_t rows) const override;
  std::vector<float>* state() override { return &bias_; }
  void end_step() override;
  std::vector<RowExchange*> exchanges() { return {&dispatch_, &combine_, &dispatch_back_, &combine_back_}; }

 private:
  struct Choice {
    std::int64_t token;
    std::size_t place;  ///< among the top_k of the token
  };
  void choose(const Pass& pass);
  std::int64_t leaving(std::size_t expert) const;

  std::string name_;
  ModelConfig config_;
  Linear gate_;
  std::vector<std::unique_ptr<SwiGlu>> experts_;
  RowExchange dispatch_, combine_, dispatch_back_, combine_back_;
  std::vector<float> bias_;                 ///< [experts]
  std::vector<std::int64_t> load_;          ///< [experts], tokens since end_step()
  Matrix scores_;                           ///< [tokens, experts], softmax
  Matrix weights_;                          ///< [tokens, top_k]
  std::vector<std::vector<Choice>> chosen_; ///< [experts]
  std::vector<Matrix> results_;             ///< [experts], as received
};

}  // namespace fp8scope::train
