#include "src/schedule/costs.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <stdexcept>

#include "sim/names.hpp"

namespace fp8scope {
namespace {

struct Wire {
  std::string_view name;
  double bytes;
};

constexpr Wire wires[] = {{"fp8", 1 + 4.0 / 128}, {"fp8_ue8m0", 1 + 1.0 / 128}, {"mxfp8", 1 + 1.0 / 32},
                          {"bf16", 2},            {"fp32", 4}};

}  // namespace

double wire_bytes(std::string_view name) { return by_name(wires, name, "wire format").bytes; }

double TrainingPlan::send_seconds(double bytes_per_value) const {
  const double rate = std::min(link_gbps, channels * channel_gbps) * 1e9;
  return tokens * hidden * bytes_per_value * remote_nodes / rate;
}

ChunkCosts chunk_costs(const TrainingPlan& plan) {
  for (const double each : {plan.layers, plan.hidden, plan.tokens, plan.gemm_tflops, plan.attention_tflops,
                            plan.efficiency, plan.link_gbps, plan.channel_gbps, double(plan.channels)})
    if (!(each > 0.0) || !std::isfinite(each))
      throw std::invalid_argument(fmt::format("schedule: {} is no positive number", each));
  if (plan.communication_sms < 0 || plan.communication_sms >= plan.sms)
    throw std::invalid_argument(fmt::format("schedule: {} of {} SMs communicate; some must compute",
                                            plan.communication_sms, plan.sms));
  const double share = double(plan.sms - plan.communication_sms) / plan.sms * plan.efficiency * 1e12;
  const double attention = plan.tokens * 2 * plan.attention_parameters / (plan.gemm_tflops * share);
  const double mlp = plan.tokens * 2 * plan.mlp_parameters / (plan.gemm_tflops * share);
  const double scores = plan.tokens * plan.attention_flops_per_key * (plan.sequence / 2) /  // a causal mask
                        (plan.attention_tflops * share);
  const double dispatch = plan.send_seconds(plan.dispatch_bytes), combine = plan.send_seconds(plan.combine_bytes);

  ChunkCosts costs;
  costs.hop_seconds = plan.tokens * plan.hidden * 2 / (plan.link_gbps * 1e9);
  const auto add = [](std::vector<Segment>& to, std::initializer_list<Segment> pieces) {
    to.insert(to.end(), pieces);
  };
  const auto C = LaneKind::compute, N = LaneKind::communication;
  // A stage may hold a fraction of a layer on average: its last layer is then a smaller one.
  for (double left = plan.layers_per_stage(); left > 1e-9; left -= 1.0) {
    const double part = std::min(left, 1.0);
    const Segment mlp_input{C, Part::mlp_input, part * mlp}, mlp_weights{C, Part::mlp_weights, part * mlp};
    const Segment attention_input{C, Part::attention_input, part * (attention + 2 * scores)};
    const Segment attention_weights{C, Part::attention_weights, part * attention};
    const Segment send{N, Part::dispatch, part * dispatch}, gather{N, Part::combine, part * combine};
    add(costs.forward, {{C, Part::attention, part * (attention + scores)}, send, {C, Part::mlp, part * mlp}, gather});
    // The gradient of a combine is a dispatch, and the other way round.
    add(costs.backward, {send, mlp_input, mlp_weights, gather, attention_input, attention_weights});
    add(costs.backward_input, {send, mlp_input, gather, attention_input});
    add(costs.weights, {mlp_weights, attention_weights});
  }
  return costs;
}

}  // namespace fp8scope
