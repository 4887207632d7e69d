#pragma once

#include <map>
#include <memory>
#include <string>

#include "src/train/observer.hpp"
#include "src/train/operand.hpp"
#include "src/train/parameters.hpp"
#include "src/train/product.hpp"
#include "src/train/routes.hpp"

namespace fp8scope::train {

/// How a pass runs.
struct Pass {
  const Executor& execute;
  bool training = true;         ///< recipes remember, activations are kept
  Observer* observer = nullptr; ///< sees the operands of linear layers
  Routes* routes = nullptr;     ///< where tokens go to, written or obeyed
};

/// What a linear layer is made of.
struct LinearShape {
  std::string name;  ///< "L02.down"
  std::int64_t in, out;
  std::size_t weight;  ///< offset in the parameters, [out, in]
};

/// `precision` for a layer that is kept high: operands of all three products; its output is not rounded.
Precision precision_of(const Precision& precision, const std::string& operands);

/// y = x w^T, its two gradients, and the casts of their operands. The gradients are functions of their
/// own, so that a schedule may run them apart.
class Linear {
 public:
  /// cache  how the input is kept for wgrad: "input", "fp8", "e5m6"
  Linear(LinearShape shape, const Precision& precision, const std::string& cache);

  const LinearShape& shape() const { return shape_; }
  /// Of fprop: "fp32", "bf16" or a recipe.
  const std::string& operands() const { return fprop_.operands; }

  /// y [rows, out], written; remembers x for backward_weight().
  void forward(const Pass& pass, const Parameters& parameters, const Matrix& x, Matrix& y);
  /// Puts another matrix in the place of the remembered x: one that was computed again.
  void replace_input(Matrix x) { x_ = std::move(x); }
  /// Rounds and remembers dy; the two gradients follow, in any order.
  void receive(const Pass& pass, const Matrix& dy);
  /// dx [rows, in], written.
  void backward_input(const Pass& pass, const Parameters& parameters, Matrix& dx);
  /// gradients[weight] += dy^T x.
  void backward_weight(const Pass& pass, Parameters& parameters);

  /// Bytes of the kept input, and what they would be in BF16.
  double cache_bytes(std::int64_t rows) const;

  /// Casts whose recipes remember, by name: their memory is part of a checkpoint.
  std::map<std::string, OperandCast*> memories();

 private:
  void weight_of(const Pass& pass, const Parameters& parameters, const GemmPrecision& gemm);
  void keep(const Pass& pass, const Matrix& x);

  LinearShape shape_;
  GemmPrecision fprop_, dgrad_, wgrad_;
  bool bf16_output_, bf16_sums_;
  std::string cache_;
  OperandCast x_fprop_, w_fprop_, dy_dgrad_, w_dgrad_, dy_wgrad_, x_wgrad_;
  std::unique_ptr<OperandCast> cached_;
  Matrix w_, x_, dy_;
};

}  // namespace fp8scope::train
