#include "src/train/linear.hpp"

#include "sim/simd/row_math.hpp"

namespace fp8scope::train {
namespace {

/// The operands of a product after the switches that leave one of them alone.
std::string spec_of(const GemmPrecision& gemm, const std::string& cast, char operand) {
  return cast.find(operand) != std::string::npos || gemm.operands == "fp32" || gemm.operands == "bf16" ? gemm.operands : "bf16";
}

/// The cast that a cache keeps, or "" for none.
std::string cache_spec(const std::string& cache, const std::string& scales) {
  if (cache == "input") return "";
  return "te_block:scales=" + scales + (cache == "e5m6" ? ":format=e5m6" : "");
}

}  // namespace

Precision precision_of(const Precision& precision, const std::string& operands) {
  Precision own = precision;
  const bool low = operands != "fp32" && operands != "bf16";
  for (GemmPrecision* gemm : {&own.fprop, &own.dgrad, &own.wgrad}) {
    gemm->operands = operands;
    if (!low) *gemm = {operands, "fma_fp32", "auto"};
  }
  own.activations = "fp32";
  return own;
}

Linear::Linear(LinearShape shape, const Precision& p, const std::string& cache)
    : shape_(std::move(shape)), fprop_(p.fprop), dgrad_(p.dgrad), wgrad_(p.wgrad), bf16_output_(p.activations == "bf16"),
      bf16_sums_(p.gradients == "bf16"), cache_(cache),
      x_fprop_(spec_of(p.fprop, p.cast, 'x'), Role::activation, bf16_output_, Gemm::fprop),
      w_fprop_(spec_of(p.fprop, p.cast, 'w'), Role::weight, true, Gemm::fprop),
      dy_dgrad_(spec_of(p.dgrad, p.cast, 'd'), Role::gradient, bf16_output_, Gemm::dgrad),
      w_dgrad_(spec_of(p.dgrad, p.cast, 'w'), Role::weight, true, Gemm::dgrad),
      dy_wgrad_(spec_of(p.wgrad, p.cast, 'd'), Role::gradient, bf16_output_, Gemm::wgrad),
      x_wgrad_(spec_of(p.wgrad, p.cast, 'x'), Role::activation, bf16_output_, Gemm::wgrad) {
  const std::string spec = cache_spec(cache_, p.cache_scales);
  if (!spec.empty()) cached_ = std::make_unique<OperandCast>(spec, Role::activation);
}

// Recipes cast the BF16 copy of the master weights, as the libraries do.
void Linear::weight_of(const Pass& pass, const Parameters& parameters, const GemmPrecision& gemm) {
  w_.resize(shape_.out, shape_.in);
  const float* master = &parameters.values[shape_.weight];
  std::copy_n(master, w_.values.size(), w_.data());
  if (gemm.operands != "fp32") round_bf16(pass.execute, w_, w_);
}

void Linear::forward(const Pass& pass, const Parameters& parameters, const Matrix& x, Matrix& y) {
  weight_of(pass, parameters, fprop_);
  if (pass.observer) pass.observer->see(pass.execute, shape_, "x", x), pass.observer->see(pass.execute, shape_, "w", w_);
  CastOperand left, right;
  x_fprop_.cast(pass.execute, x, pass.training, left);
  w_fprop_.cast(pass.execute, w_, pass.training, right);
  multiply(pass.execute, left, right, fprop_, bf16_output_, y);
  if (pass.training) keep(pass, x);
}

void Linear::keep(const Pass& pass, const Matrix& x) {
  if (!cached_) {
    x_ = x;
    return;
  }
  CastOperand codes;
  cached_->cast(pass.execute, x, true, codes);
  codes.dequantise(pass.execute, x_);
}

void Linear::receive(const Pass& pass, const Matrix& dy) {
  if (bf16_output_) round_bf16(pass.execute, dy, dy_);
  else dy_ = dy;
  if (pass.observer) pass.observer->see(pass.execute, shape_, "dy", dy_);
}

void Linear::backward_input(const Pass& pass, const Parameters& parameters, Matrix& dx) {
  weight_of(pass, parameters, dgrad_);
  CastOperand left, right;
  Matrix turned;
  dy_dgrad_.cast(pass.execute, dy_, pass.training, left);
  if (!w_dgrad_.scaled() && is_chain(dgrad_)) {
    w_dgrad_.cast(pass.execute, w_, pass.training, right);
    std::swap(right.rows, right.k), std::swap(right.row_stride, right.k_stride);
  } else {
    w_dgrad_.cast_transpose(pass.execute, w_, pass.training, turned, right);
  }
  multiply(pass.execute, left, right, dgrad_, bf16_output_, dx);
}

void Linear::backward_weight(const Pass& pass, Parameters& parameters) {
  CastOperand left, right;
  Matrix dy_turned, x_turned, dw;
  const auto turned = [&](OperandCast& cast, const Matrix& x, Matrix& scratch, CastOperand& out) {
    if (cast.turns() && is_chain(wgrad_)) {
      cast.cast(pass.execute, x, pass.training, out);
      std::swap(out.rows, out.k), std::swap(out.row_stride, out.k_stride);
      return;
    }
    cast.cast_transpose(pass.execute, x, pass.training, scratch, out);
  };
  turned(dy_wgrad_, dy_, dy_turned, left);
  turned(x_wgrad_, x_, x_turned, right);
  multiply(pass.execute, left, right, wgrad_, false, dw);
  float* sum = &parameters.gradients[shape_.weight];
  for_rows(pass.execute, dw.rows, [&](std::int64_t first, std::int64_t last) {
    const auto n = static_cast<std::size_t>((last - first) * dw.cols);
    float* to = sum + first * dw.cols;
    simd::row_math().add(dw.row(first), n, to);
    if (bf16_sums_) simd::row_math().round_bf16(to, n, to);
  });
}

std::map<std::string, OperandCast*> Linear::memories() {
  return {{shape_.name + "/x_fprop", &x_fprop_}, {shape_.name + "/w_fprop", &w_fprop_},
          {shape_.name + "/dy_dgrad", &dy_dgrad_}, {shape_.name + "/w_dgrad", &w_dgrad_},
          {shape_.name + "/dy_wgrad", &dy_wgrad_}, {shape_.name + "/x_wgrad", &x_wgrad_}};
}

double Linear::cache_bytes(std::int64_t rows) const {
  const double elements = static_cast<double>(rows) * static_cast<double>(shape_.in);
  const double tiles = static_cast<double>(rows) * static_cast<double>((shape_.in + 127) / 128);
  if (cache_ == "fp8") return elements + 4 * tiles;
  if (cache_ == "e5m6") return 1.5 * elements + 4 * tiles;
  if (x_wgrad_.scaled() && x_wgrad_.turns()) return elements + 4;  // the codes of fprop serve
  return (bf16_output_ ? 2 : 4) * elements;
}

}  // namespace fp8scope::train
