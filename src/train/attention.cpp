#include "src/train/attention.hpp"

#include "sim/simd/chain_gemm.hpp"
#include "sim/simd/row_math.hpp"
#include "src/train/stable_math.hpp"

namespace fp8scope::train {
namespace {

std::size_t at(std::int64_t n) { return static_cast<std::size_t>(n); }

/// Where a head's [context, head] part of a matrix lies.
struct Part {
  const float* data;
  std::size_t stride;
  ChainOperand rows() const { return {data, stride, 1}; }      ///< K along the head
  ChainOperand columns() const { return {data, 1, stride}; }   ///< K along the tokens
};

void product(std::size_t m, std::size_t n, std::size_t k, ChainOperand a, ChainOperand b, float* d, std::size_t stride) {
  ChainGemm gemm{m, n, k, a, b};
  gemm.d = d, gemm.d_stride = stride;
  chain_gemm(gemm);
}

}  // namespace

Rotary::Rotary(std::int64_t context, std::int64_t head_size) : half(head_size / 2) {
  cosine.resize(at(context * half)), sine.resize(cosine.size());
  for (std::int64_t i = 0; i < half; ++i) {
    const double angle = stable_exp(-9.210340371976184 * 2.0 * static_cast<double>(i) / static_cast<double>(head_size));
    const Turn step = stable_turn(angle);
    Turn now{1.0, 0.0};
    for (std::int64_t t = 0; t < context; ++t) {
      cosine[at(t * half + i)] = static_cast<float>(now.cosine), sine[at(t * half + i)] = static_cast<float>(now.sine);
      now = {now.cosine * step.cosine - now.sine * step.sine, now.cosine * step.sine + now.sine * step.cosine};
    }
  }
}

Attention::Attention(std::int64_t heads, std::int64_t context, const std::string& operands, bool rounded)
    : heads_(heads), context_(context), operands_(operands), rounded_(rounded) {}

void Attention::turn(const Pass& pass, const Rotary& rotary, Matrix& qkv, float sign) const {
  const std::int64_t hidden = qkv.cols / 3, size = hidden / heads_;
  for_rows(pass.execute, qkv.rows, [&](std::int64_t first, std::int64_t last) {
    for (std::int64_t r = first; r < last; ++r)
      for (std::int64_t h = 0; h < 2 * heads_; ++h)  // the heads of q, then those of k
        simd::row_math().rotate(qkv.row(r) + h * size, at(rotary.half), &rotary.cosine[at(r % context_ * rotary.half)],
                                &rotary.sine[at(r % context_ * rotary.half)], sign);
  });
}

// Values of the cast, scales included: products of attention run on chains, whatever their operands.
void Attention::low(float* values, std::int64_t rows, std::int64_t cols, std::int64_t stride) const {
  if (operands_ == "fp32") return;
  Matrix x, y;
  x.resize(rows, cols);
  for (std::int64_t r = 0; r < rows; ++r) std::copy_n(values + r * stride, cols, x.row(r));
  CastOperand cast;
  OperandCast(operands_, Role::activation).cast(run_in_order, x, true, cast);
  cast.dequantise(run_in_order, y);
  for (std::int64_t r = 0; r < rows; ++r) std::copy_n(y.row(r), cols, values + r * stride);
}

void Attention::forward(const Pass& pass, const Rotary& rotary, Matrix& qkv, Matrix& out) {
  const std::int64_t hidden = qkv.cols / 3, size = hidden / heads_, sequences = qkv.rows / context_;
  const std::size_t t = at(context_), stride = at(3 * hidden);
  turn(pass, rotary, qkv, 1.0f);
  out.resize(qkv.rows, hidden);
  weights_.resize(at(sequences * heads_) * t * t);
  const float scale = 1.0f / static_cast<float>(stable_sqrt(static_cast<double>(size)));
  pass.execute(at(sequences * heads_), [&](std::size_t task) {
    const auto s = static_cast<std::int64_t>(task) / heads_, head = static_cast<std::int64_t>(task) % heads_;
    float* q = qkv.row(s * context_) + head * size;
    float *k = q + hidden, *v = k + hidden, *p = &weights_[task * t * t];
    for (float* x : {q, k, v}) low(x, context_, size, 3 * hidden);
    product(t, t, at(size), Part{q, stride}.rows(), Part{k, stride}.rows(), p, t);
    for (std::size_t i = 0; i < t; ++i) {
      float largest, sum;
      simd::row_math().softmax(p + i * t, i + 1, scale, &largest, &sum);
      std::fill(p + i * t + i + 1, p + (i + 1) * t, 0.0f);
    }
    low(p, context_, context_, context_);
    product(t, at(size), t, Part{p, t}.rows(), Part{v, stride}.columns(), out.row(s * context_) + head * size, at(hidden));
  });
  if (rounded_) round_bf16(pass.execute, out, out);
}

void Attention::backward(const Pass& pass, const Rotary& rotary, const Matrix& qkv, const Matrix& dout, Matrix& dqkv) {
  const std::int64_t hidden = qkv.cols / 3, size = hidden / heads_, sequences = qkv.rows / context_;
  const std::size_t t = at(context_), stride = at(3 * hidden);
  dqkv.resize(qkv.rows, 3 * hidden);
  const float scale = 1.0f / static_cast<float>(stable_sqrt(static_cast<double>(size)));
  pass.execute(at(sequences * heads_), [&](std::size_t task) {
    const auto s = static_cast<std::int64_t>(task) / heads_, head = static_cast<std::int64_t>(task) % heads_;
    const std::int64_t row = s * context_;
    const float* q = qkv.row(row) + head * size;
    const Part query{q, stride}, key{q + hidden, stride}, value{q + 2 * hidden, stride};
    const Part weight{&weights_[task * t * t], t}, dy{dout.row(row) + head * size, at(hidden)};
    float* dq = dqkv.row(row) + head * size;
    thread_local std::vector<float> scores;
    scores.resize(t * t);
    product(t, at(size), t, weight.columns(), dy.columns(), dq + 2 * hidden, stride);
    product(t, t, at(size), dy.rows(), value.rows(), scores.data(), t);
    for (std::size_t i = 0; i < t; ++i) {
      simd::row_math().softmax_backward(weight.data + i * t, i + 1, scale, &scores[i * t]);
      std::fill(&scores[i * t] + i + 1, &scores[i * t] + t, 0.0f);
    }
    const Part ds{scores.data(), t};
    product(t, at(size), t, ds.rows(), key.columns(), dq, stride);
    product(t, at(size), t, ds.columns(), query.columns(), dq + hidden, stride);
  });
  turn(pass, rotary, dqkv, -1.0f);
  if (rounded_) round_bf16(pass.execute, dqkv, dqkv);
}

}  // namespace fp8scope::train
