#include "src/train/optimizer.hpp"

#include <algorithm>
#include <cmath>
#include <span>

#include "sim/simd/codec.hpp"
#include "sim/simd/row_math.hpp"
#include "src/train/stable_math.hpp"

namespace fp8scope::train {
namespace {

constexpr std::int64_t piece = 1 << 13;
constexpr std::size_t group = 128;

/// work(first, last) for pieces of [0, n).
void for_pieces(const Executor& execute, std::size_t n, const std::function<void(std::size_t, std::size_t)>& work) {
  execute((n + piece - 1) / piece, [&](std::size_t p) { work(p * piece, std::min((p + 1) * piece, n)); });
}

double sum_of_squares(const Executor& execute, const std::vector<float>& x) {
  std::vector<double> parts((x.size() + piece - 1) / piece);
  for_pieces(execute, x.size(), [&](std::size_t first, std::size_t last) {
    double lanes[8] = {};
    std::size_t i = first;
    for (; i + 8 <= last; i += 8)
      for (std::size_t l = 0; l < 8; ++l) lanes[l] += static_cast<double>(x[i + l]) * x[i + l];
    for (; i < last; ++i) lanes[i % 8] += static_cast<double>(x[i]) * x[i];
    parts[first / piece] = ((lanes[0] + lanes[4]) + (lanes[2] + lanes[6])) + ((lanes[1] + lanes[5]) + (lanes[3] + lanes[7]));
  });
  double sum = 0.0;
  for (const double part : parts) sum += part;
  return sum;
}

void round_moments(const std::string& format, float* x, std::size_t n) {
  if (format == "bf16") return simd::row_math().round_bf16(x, n, x);
  for (std::size_t i = 0; format == "fp8" && i < n; i += group) {
    const std::span<float> some(x + i, std::min(group, n - i));
    codec_values(Codec::coat_expand, some, some);
  }
}

/// b^n by multiplications.
double power(double b, std::int64_t n) {
  double result = 1.0;
  for (; n > 0; n /= 2, b *= b)
    if (n % 2 == 1) result *= b;
  return result;
}

}  // namespace

double learning_rate(const OptimizerConfig& c, std::int64_t step) {
  if (step < c.warmup) return c.rate * static_cast<double>(step + 1) / static_cast<double>(c.warmup);
  const double whole = static_cast<double>(std::max<std::int64_t>(1, c.steps - c.warmup));
  const double part = std::min(1.0, static_cast<double>(step - c.warmup) / whole);
  return c.rate * (0.1 + 0.45 * (1.0 + stable_turn(3.141592653589793 * part).cosine));
}

Optimizer::Optimizer(const OptimizerConfig& config, const Parameters& parameters, std::string master, std::string moments)
    : config_(config), master_(std::move(master)), moments_(std::move(moments)), m_(parameters.values.size()),
      v_(parameters.values.size()) {}

double Optimizer::step(const Executor& execute, Parameters& p, std::int64_t step) {
  const double norm = std::sqrt(sum_of_squares(execute, p.gradients));
  const double c1 = 1.0 / (1.0 - power(config_.b1, step + 1)), c2 = 1.0 / (1.0 - power(config_.b2, step + 1));
  simd::AdamwStep numbers{static_cast<float>(learning_rate(config_, step)), 0.0f, static_cast<float>(config_.b1),
                          static_cast<float>(config_.b2), static_cast<float>(c1), static_cast<float>(c2),
                          static_cast<float>(norm > config_.clip ? config_.clip / norm : 1.0)};
  const auto& math = simd::row_math();
  for (const ParameterTensor& t : p.tensors) {
    numbers.decay = t.decays() ? static_cast<float>(config_.decay) : 0.0f;
    for_pieces(execute, t.size(), [&](std::size_t first, std::size_t last) {
      const std::size_t i = t.offset + first, n = last - first;
      math.adamw(&p.values[i], &p.gradients[i], &m_[i], &v_[i], n, numbers);
      round_piece(p, i, n);
    });
  }
  return norm;
}

void Optimizer::round_piece(Parameters& p, std::size_t first, std::size_t n) {
  round_moments(moments_, &m_[first], n);
  round_moments(moments_, &v_[first], n);
  if (master_ == "bf16") simd::row_math().round_bf16(&p.values[first], n, &p.values[first]);
}

void Optimizer::round_state(const Executor& execute, Parameters& p) {
  for (const ParameterTensor& t : p.tensors)
    for_pieces(execute, t.size(), [&](std::size_t first, std::size_t last) { round_piece(p, t.offset + first, last - first); });
}

double Optimizer::moment_bytes(const std::string& format, double n) {
  if (format == "fp8") return 2.0 * n * (1.0 + 12.0 / group);  // a scale, g and k in binary32 a group
  return (format == "bf16" ? 4.0 : 8.0) * n;
}

}  // namespace fp8scope::train
