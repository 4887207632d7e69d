#include "src/train/transformer.hpp"

#include "sim/simd/row_math.hpp"
#include "src/train/stable_math.hpp"

namespace fp8scope::train {
namespace {

std::size_t at(std::int64_t n) { return static_cast<std::size_t>(n); }

}  // namespace

Transformer::Transformer(const ModelConfig& config, const Precision& precision)
    : config_(config), precision_(precision), rotary_(config.context, config.hidden / config.heads),
      embedding_(parameters.add("embedding", "embedding", config.vocabulary, config.hidden, 0.5f)),
      embedding_cast_(precision.embedding, Role::weight),
      layers_([&] {
        std::vector<Layer> layers;
        for (std::int64_t l = 0; l < config.layers; ++l) {
          std::string name = std::to_string(l);
          layers.emplace_back((l < 10 ? "L0" : "L") + name, config, precision, parameters);
        }
        return layers;
      }()),
      norm_(parameters.add("norm", "norm", 1, config.hidden, 0.0f), config.hidden, precision.norms == "bf16",
            precision.activations == "bf16"),
      head_({"head", config.hidden, config.vocabulary,
             parameters.add("head.w", "head", config.vocabulary, config.hidden,
                            static_cast<float>(0.5 / stable_sqrt(static_cast<double>(config.hidden))))},
            precision_of(precision, precision.head), "input") {}

void Transformer::embed(const Pass& pass, const Batch& batch, Matrix& h) {
  Matrix table, low;
  table.resize(config_.vocabulary, config_.hidden);
  std::copy_n(&parameters.values[embedding_], table.values.size(), table.data());
  if (precision_.embedding != "fp32") {
    CastOperand cast;
    embedding_cast_.cast(pass.execute, table, pass.training, cast);
    cast.dequantise(pass.execute, low);
    table = std::move(low);
  }
  h.resize(std::ssize(batch.inputs), config_.hidden);
  for_rows(pass.execute, h.rows, [&](std::int64_t first, std::int64_t last) {
    for (std::int64_t r = first; r < last; ++r) std::copy_n(table.row(batch.inputs[at(r)]), h.cols, h.row(r));
  });
}

// The logits become their gradient, softmax - target, divided by the tokens.
double Transformer::loss(const Pass& pass, const Batch& batch) {
  const std::int64_t rows = logits_.rows;
  std::vector<double> parts(at((rows + task_rows - 1) / task_rows));
  for_rows(pass.execute, rows, [&](std::int64_t first, std::int64_t last) {
    double sum = 0.0;
    for (std::int64_t r = first; r < last; ++r) {
      float* row = logits_.row(r);
      const auto target = at(batch.targets[at(r)]);
      const double logit = row[target];
      float largest, total;
      simd::row_math().softmax(row, at(logits_.cols), 1.0f, &largest, &total);
      sum += stable_log(total) + static_cast<double>(largest) - logit;
      row[target] -= 1.0f;
      simd::row_math().scale(row, at(logits_.cols), 1.0f / static_cast<float>(rows), row);
    }
    parts[at(first / task_rows)] = sum;
  });
  double all = 0.0;
  for (const double part : parts) all += part;
  return all / static_cast<double>(rows);
}

double Transformer::forward(const Pass& pass, const Batch& batch) {
  Matrix x;
  embed(pass, batch, h_);
  for (Layer& layer : layers_) layer.forward(pass, parameters, rotary_, h_);
  norm_.forward(pass, parameters, h_, x);
  head_.forward(pass, parameters, x, logits_);
  return loss(pass, batch);
}

void Transformer::backward(const Pass& pass, const Batch& batch) {
  Matrix dx, dh;
  head_.receive(pass, logits_);
  head_.backward_input(pass, parameters, dx);
  head_.backward_weight(pass, parameters);
  dh.resize(h_.rows, h_.cols);
  dh.zero();
  norm_.backward(pass, parameters, h_, dx, dh);
  for (auto layer = layers_.rbegin(); layer != layers_.rend(); ++layer) layer->backward(pass, parameters, rotary_, dh);
  for (std::int64_t r = 0; r < dh.rows; ++r)  // in the order of the tokens: rows of the table occur often
    simd::row_math().add(dh.row(r), at(dh.cols),
                         &parameters.gradients[embedding_ + at(batch.inputs[at(r)] * config_.hidden)]);
}

std::vector<Linear*> Transformer::linears() {
  std::vector<Linear*> all;
  for (Layer& layer : layers_)
    for (Linear* linear : layer.linears()) all.push_back(linear);
  all.push_back(&head_);
  return all;
}

}  // namespace fp8scope::train
