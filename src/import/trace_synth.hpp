#pragma once

#include "src/import/trace_copy.hpp"

namespace fp8scope {

struct SynthOperand {
  std::string name;  ///< "x", "w", "dy"
  double sigma;      ///< standard deviation of the elements that are no outliers
};

/// What a synthetic trace holds.
struct SynthOptions {
  std::int64_t layers = 1, steps = 1;
  std::int64_t rows = 1024, cols = 1024, out = 1024;  ///< tokens, input and output features
  Distribution distribution = Distribution::normal;
  std::vector<SynthOperand> operands;
  std::string dtype = "bfloat16";  ///< "bfloat16", "float16" or "float32"
  Injection injection;  ///< outliers, in the selected layers; and the seed of everything
  std::vector<std::string> outlier_operands;
  int deflate = 1;
};

/// Writes a trace of random tensors x [steps, rows, cols], w [1, out, cols], dy [steps, rows, out] for
/// layers L00, L01, ... The bytes of the tensors depend on the options and the seed alone.
/// Throws UsageError, IoError.
void synthesise_trace(const std::string& output, const TraceSelection& selection, const SynthOptions& options);

}  // namespace fp8scope
