#pragma once

#include <functional>
#include <string>
#include <vector>

#include "src/gemm_error.hpp"
#include "src/replay.hpp"

namespace fp8scope {

/// One product of one layer at one step, under one recipe and one matrix unit.
struct GemmRecord {
  std::size_t a, b;       ///< indices of the tensors
  std::size_t step;       ///< index of the recorded step
  std::string gemm;       ///< "fprop", "dgrad", "wgrad"
  std::size_t recipe, accumulator;
  std::int64_t m, n, k;
  std::int64_t promote;   ///< N_C that was used; 0: never
  GemmError error;
};

/// Computes every product of the trace whose operands were recorded: y = x w^T, dx = dy w,
/// dw = dy^T x, over the rows of w that are there. Each operand is cast along the dimension that *this*
/// product contracts. A recipe that a unit with block scales cannot take is left out.
///
/// accumulators  as parse_model() takes them
/// `take` is called in the order of layers, steps, products, recipes, accumulators.
void replay_gemms(const ReplayInput& input, const ReplayOptions& options,
                  const std::vector<std::string>& accumulators,
                  const std::function<void(const GemmRecord&)>& take);

}  // namespace fp8scope
