#pragma once

#include <string>

#include "src/train/matrix.hpp"

namespace fp8scope::train {

struct LinearShape;

/// Looks at the operands of every linear layer as they come by.
class Observer {
 public:
  virtual ~Observer() = default;
  /// operand  "x" [rows, in], "w" [out, in], "dy" [rows, out], before any cast to 8 bits
  virtual void see(const Executor& execute, const LinearShape& layer, const char* operand, const Matrix& values) = 0;
};

}  // namespace fp8scope::train
