#pragma once

#include <memory>
#include <string>
#include <vector>

#include "sim/recipe.hpp"
#include "src/train/cast_operand.hpp"

namespace fp8scope::train {

/// The cast of one operand of one linear layer, step after step: "fp32", "bf16" or a recipe.
class OperandCast {
 public:
  /// rounded  what comes is in BF16 already
  /// use      the product that it is cast for
  /// Throws as make_recipe().
  OperandCast(const std::string& spec, Role role, bool rounded = false, Gemm use = Gemm::unknown);

  bool scaled() const { return recipe_ != nullptr; }
  /// One scale or none: the codes of the transpose are the codes, turned.
  bool turns() const { return !recipe_ || (recipe_->plan().block == BlockShape{} && simple()); }

  /// x as it is multiplied. In training a recipe with a memory remembers the step; else it casts as at
  /// the last step of training.
  ///
  /// x  [rows, k]; must outlive `out` if nothing is cast
  void cast(const Executor& execute, const Matrix& x, bool training, CastOperand& out);
  /// The transpose of x [k, rows] as it is multiplied, [rows, k].
  ///
  /// scratch  holds the transpose where the cast needs a pass of its own over it
  void cast_transpose(const Executor& execute, const Matrix& x, bool training, Matrix& scratch, CastOperand& out);

  /// Whether the recipe scales by earlier steps, or draws other random bits in each.
  bool remembers() const { return remembers_; }
  /// Amaxes that a recipe with a memory has been given, in order: its whole state. Of a recipe that draws
  /// random bits one number a step.
  const std::vector<float>& memory() const { return memory_; }
  /// Brings a new recipe to the state that memory() describes.
  void restore(const std::vector<float>& memory);

 private:
  /// Whether the cast is a product with a scale for each block and no more.
  bool simple() const;
  void cast_by_reference(const Matrix& x, bool training, CastOperand& out);
  /// Whether amax, scale and cast of some rows can be done while they are in the cache.
  bool in_one_pass() const;
  void describe(std::int64_t rows, std::int64_t k, CastOperand& out) const;
  void cast_in_one_pass(const Executor& execute, const Matrix& x, CastOperand& out) const;
  void cast_transpose_in_one_pass(const Executor& execute, const Matrix& x, CastOperand& out) const;
  void find_scales(const Executor& execute, const Matrix& x, bool training, std::vector<float>& scale,
                   std::vector<float>& scale_inv);

  std::unique_ptr<Recipe> recipe_;
  bool bf16_ = false, rounded_ = false, remembers_ = false;
  std::vector<float> memory_;
  std::vector<Scales> last_;
};

/// Largest |x|.
float largest_magnitude(const Executor& execute, const Matrix& x);

/// x rounded to bfloat16.
void round_bf16(const Executor& execute, const Matrix& x, Matrix& y);

/// y[c, r] = x[r, c].
void transpose(const Executor& execute, const Matrix& x, Matrix& y);

}  // namespace fp8scope::train
