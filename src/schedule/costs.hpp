#pragma once

#include "src/schedule/simulate.hpp"

namespace fp8scope {

/// A mixture-of-experts model and the machine it trains on. The defaults are DeepSeek-V3 on 2048 H800:
/// 16 stages, experts over 64 ranks, a token sent to at most 4 of 8 nodes (arXiv:2412.19437, sections 3.1, 3.2).
struct TrainingPlan {
  // model
  double layers = 61;
  double hidden = 7168;
  double attention_parameters = 187.1e6;  ///< of a layer
  double mlp_parameters = 396.4e6;        ///< of a layer, those that a token uses: 8 + 1 experts of 3 x 7168 x 2048
  double attention_flops_per_key = 2.0 * 128 * (192 + 128);  ///< of a query: scores and values of every head
  double sequence = 4096;
  double tokens = 4096;                   ///< of a micro-batch
  int ranks = 16, micro_batches = 120;    ///< of a pipeline; 15360 sequences over 128 pipelines
  // machine
  double gemm_tflops = 1979, attention_tflops = 989, efficiency = 0.6;
  int sms = 132, communication_sms = 20, channels = 10;
  double link_gbps = 50, channel_gbps = 5;  ///< GB/s of a rank to other nodes; of a channel (assumed)
  double remote_nodes = 3.5;                ///< nodes that a token is sent to besides its own, on average
  // bytes of a value that is sent
  double dispatch_bytes = 1 + 4.0 / 128, combine_bytes = 2;

  double layers_per_stage() const { return layers / ranks; }
  /// Seconds to send one value per hidden channel of every token of a micro-batch.
  double send_seconds(double bytes_per_value) const;
};

/// Bytes of a value on the wire: "bf16" 2, "fp8" 1 + 4/128 (an FP32 scale for 128), "fp8_ue8m0" 1 + 1/128,
/// "mxfp8" 1 + 1/32, "fp32" 4. Throws UnknownName.
double wire_bytes(std::string_view name);

/// The pieces of one micro-batch in one stage, layer by layer. A product's backward costs as much as its forward
/// for the input, and again for the weights; attention's own products twice as much, all for the input.
/// Throws std::invalid_argument if a number is not positive or all SMs communicate.
ChunkCosts chunk_costs(const TrainingPlan& plan);

}  // namespace fp8scope
