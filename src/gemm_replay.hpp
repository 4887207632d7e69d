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
  std::size_t recipe, request;
  std::int64_t m, n, k;
  std::int64_t promote;   ///< N_C that was used; 0: never
  GemmError error;
};

/// A recipe that cannot be multiplied as a request says, and why.
struct LeftOut {
  std::size_t recipe, request;
  std::string reason;
};

/// Computes every product of the trace whose operands were recorded: y = x w^T, dx = dy w,
/// dw = dy^T x, over the rows of w that are there. Each operand is cast along the dimension that *this*
/// product contracts.
///
/// `take` is called in the order of layers, steps, products, recipes, requests.
/// Returns what was left out, each pair once: a unit with block scales takes no others, for instance.
std::vector<LeftOut> replay_gemms(const ReplayInput& input, const ReplayOptions& options,
                                  const std::vector<GemmRequest>& requests,
                                  const std::function<void(const GemmRecord&)>& take);

}  // namespace fp8scope
