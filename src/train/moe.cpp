#include "src/train/moe.hpp"

#include <algorithm>
#include <numeric>

#include "sim/simd/row_math.hpp"
#include "src/train/stable_math.hpp"

namespace fp8scope::train {
namespace {

std::size_t at(std::int64_t n) { return static_cast<std::size_t>(n); }
constexpr float bias_speed = 1e-3f;

/// The precision of the experts where their products have operands of their own.
Precision experts_precision(const Precision& precision) {
  Precision own = precision;
  if (precision.experts == "gemms") return own;
  const bool low = precision.experts != "fp32" && precision.experts != "bf16";
  for (GemmPrecision* gemm : {&own.fprop, &own.dgrad, &own.wgrad}) {
    gemm->operands = precision.experts;
    if (!low) *gemm = {precision.experts, "fma_fp32", "auto"};
  }
  return own;
}

}  // namespace

double rerouted(const Routes& a, const Routes& b, std::int64_t top_k, const std::string& layer) {
  std::size_t moved = 0, all = 0;
  for (const auto& [name, own] : a.experts) {
    if (!layer.empty() && name != layer) continue;
    const std::vector<std::int32_t>& other = b.experts.at(name);
    for (std::size_t i = 0; i < own.size(); ++i) {
      const auto token = other.begin() + static_cast<std::ptrdiff_t>(i / at(top_k) * at(top_k));
      if (std::find(token, token + top_k, own[i]) == token + top_k) ++moved;
    }
    all += own.size();
  }
  return all > 0 ? static_cast<double>(moved) / static_cast<double>(all) : 0.0;
}

Moe::Moe(const std::string& name, const ModelConfig& config, const Precision& precision, Parameters& parameters)
    : name_(name), config_(config),
      gate_({name + ".gate", config.hidden, config.experts,
             parameters.add(name + ".gate.w", "gate", config.experts, config.hidden,
                            static_cast<float>(1.0 / stable_sqrt(static_cast<double>(config.hidden))))},
            precision_of(precision, precision.gate), "input"),
      dispatch_("dispatch", precision.dispatch), combine_("combine", precision.combine),
      dispatch_back_("dispatch of gradients", precision.dispatch), combine_back_("combine of gradients", precision.combine),
      bias_(at(config.experts)), load_(at(config.experts)), chosen_(at(config.experts)), results_(at(config.experts)) {
  for (std::int64_t e = 0; e < config.experts; ++e)
    experts_.push_back(std::make_unique<SwiGlu>(name + ".e" + std::to_string(e), config.hidden, config.ffn,
                                                config.layers, experts_precision(precision), parameters));
}

void Moe::choose(const Pass& pass) {
  const std::size_t k = at(config_.top_k), experts = at(config_.experts);
  weights_.resize(scores_.rows, config_.top_k);
  for (auto& list : chosen_) list.clear();
  std::vector<std::int32_t>* log = pass.routes ? &pass.routes->experts[name_] : nullptr;
  std::size_t* read = pass.routes && pass.routes->held ? &pass.routes->read[name_] : nullptr;
  std::vector<std::size_t> order(experts);
  for (std::int64_t t = 0; t < scores_.rows; ++t) {
    const float* score = scores_.row(t);
    std::iota(order.begin(), order.end(), std::size_t{0});
    if (read)
      for (std::size_t i = 0; i < k; ++i) order[i] = at(log->at((*read)++));
    else
      std::ranges::stable_sort(order, [&](std::size_t a, std::size_t b) { return score[a] + bias_[a] > score[b] + bias_[b]; });
    if (log && !read) log->insert(log->end(), order.begin(), order.begin() + static_cast<std::ptrdiff_t>(k));
    float sum = 0.0f;
    for (std::size_t i = 0; i < k; ++i) sum += score[order[i]];
    for (std::size_t i = 0; i < k; ++i) {
      weights_.row(t)[i] = score[order[i]] / sum;
      chosen_[order[i]].push_back({t, i});
    }
  }
}

std::int64_t Moe::leaving(std::size_t expert) const {
  const std::int64_t ranks = config_.expert_ranks;
  const std::int64_t home = static_cast<std::int64_t>(expert) * ranks / config_.experts;
  return std::ranges::count_if(chosen_[expert],
                               [&](const Choice& c) { return c.token * ranks / scores_.rows != home; });
}

void Moe::forward(const Pass& pass, const Parameters& parameters, const Matrix& x, Matrix& y) {
  const auto& math = simd::row_math();
  const std::size_t width = at(config_.hidden);
  gate_.forward(pass, parameters, x, scores_);
  for (std::int64_t t = 0; t < scores_.rows; ++t) {
    float largest, sum;
    math.softmax(scores_.row(t), at(config_.experts), 1.0f, &largest, &sum);
  }
  choose(pass);
  y.resize(x.rows, config_.hidden);
  y.zero();
  for (std::size_t e = 0; e < experts_.size(); ++e) {
    const auto& list = chosen_[e];
    if (pass.training) load_[e] += std::ssize(list);
    if (list.empty()) continue;
    Matrix sent, received, result;
    sent.resize(std::ssize(list), config_.hidden);
    for (std::size_t i = 0; i < list.size(); ++i) std::copy_n(x.row(list[i].token), width, sent.row(static_cast<std::int64_t>(i)));
    const std::int64_t away = pass.training ? leaving(e) : -1;
    dispatch_.send(pass.execute, sent, away, received);
    experts_[e]->forward(pass, parameters, received, result);
    combine_.send(pass.execute, result, away, results_[e]);
    for (std::size_t i = 0; i < list.size(); ++i)
      math.add_scaled(results_[e].row(static_cast<std::int64_t>(i)), width, weights_.row(list[i].token)[list[i].place],
                      y.row(list[i].token));
  }
}

void Moe::backward(const Pass& pass, Parameters& parameters, const Matrix& dy, Matrix& dx) {
  const auto& math = simd::row_math();
  const std::size_t width = at(config_.hidden), k = at(config_.top_k), experts = at(config_.experts);
  Matrix dweights, dscores;
  dweights.resize(dy.rows, config_.top_k);
  dx.resize(dy.rows, config_.hidden);
  dx.zero();
  for (std::size_t e = 0; e < experts; ++e) {
    const auto& list = chosen_[e];
    if (list.empty()) continue;
    Matrix sent, received, result, back;
    sent.resize(std::ssize(list), config_.hidden);
    for (std::size_t i = 0; i < list.size(); ++i) {
      const auto& [token, place] = list[i];
      const auto row = static_cast<std::int64_t>(i);
      dweights.row(token)[place] = math.dot(dy.row(token), results_[e].row(row), width);
      math.scale(dy.row(token), width, weights_.row(token)[place], sent.row(row));
    }
    dispatch_back_.send(pass.execute, sent, leaving(e), received);
    experts_[e]->backward(pass, parameters, received, result);
    combine_back_.send(pass.execute, result, leaving(e), back);
    for (std::size_t i = 0; i < list.size(); ++i) math.add(back.row(static_cast<std::int64_t>(i)), width, dx.row(list[i].token));
  }
  // Weight i of a token is score_i / S over the chosen: d score_i = (d weight_i - sum_j d weight_j weight_j) / S.
  dscores.resize(dy.rows, config_.experts);
  dscores.zero();
  for (std::size_t e = 0; e < experts; ++e)
    for (const auto& [token, place] : chosen_[e]) {
      const float score = scores_.row(token)[e], weight = weights_.row(token)[place];
      float mean = 0.0f;
      for (std::size_t i = 0; i < k; ++i) mean += dweights.row(token)[i] * weights_.row(token)[i];
      dscores.row(token)[e] = (dweights.row(token)[place] - mean) * (weight / score);
    }
  for (std::int64_t t = 0; t < dy.rows; ++t) math.softmax_backward(scores_.row(t), experts, 1.0f, dscores.row(t));
  Matrix dgate;
  gate_.receive(pass, dscores);
  gate_.backward_input(pass, parameters, dgate);
  gate_.backward_weight(pass, parameters);
  for_rows(pass.execute, dx.rows, [&](std::int64_t first, std::int64_t last) {
    math.add(dgate.row(first), at(last - first) * width, dx.row(first));
  });
}

void Moe::end_step() {
  const double mean = static_cast<double>(std::accumulate(load_.begin(), load_.end(), std::int64_t{0})) /
                      static_cast<double>(load_.size());
  for (std::size_t e = 0; e < bias_.size(); ++e) {
    const auto load = static_cast<double>(load_[e]);
    bias_[e] += load < mean ? bias_speed : load > mean ? -bias_speed : 0.0f;
    load_[e] = 0;
  }
}

std::vector<Linear*> Moe::linears() {
  std::vector<Linear*> all{&gate_};
  for (const auto& expert : experts_)
    for (Linear* linear : expert->linears()) all.push_back(linear);
  return all;
}

std::map<std::string, Bytes> Moe::cache_bytes(std::int64_t rows) const {
  // Every token is kept by top_k experts.
  std::map<std::string, Bytes> bytes = experts_[0]->cache_bytes(rows * config_.top_k);
  const double n = static_cast<double>(rows), width = static_cast<double>(config_.hidden);
  bytes["linear inputs"].add(gate_.cache_bytes(rows), 2.0 * n * width);
  bytes["expert results"].add(2.0 * n * width * static_cast<double>(config_.top_k),
                              2.0 * n * width * static_cast<double>(config_.top_k));
  return bytes;
}

}  // namespace fp8scope::train
