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

/// Two operands of a layer that a product reads.
struct GemmPair {
  std::string gemm;  ///< "fprop", "dgrad", "wgrad"
  std::size_t a, b;  ///< indices of the tensors
};

/// All of them: layer by layer, in the order of the tensors.
std::vector<GemmPair> gemm_pairs(std::span<const TensorInfo> tensors);

/// How a sweep computes a part of the products; see ReplayControl.
struct GemmControl {
  /// Which units are wanted for a product, step and recipe; all of them unless given.
  std::function<std::vector<std::size_t>(std::size_t pair, std::size_t step, std::size_t recipe)> wanted;
  /// Called when all of these have been taken, with the reason if none could be.
  std::function<void(std::size_t pair, std::size_t step, std::size_t recipe, const std::string& why)> finished;
  std::function<bool()> stop;
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

/// The same for the products that `control` wants.
void replay_gemm_parts(const ReplayInput& input, const ReplayOptions& options, const std::vector<GemmRequest>& requests,
                       const std::function<void(const GemmRecord&)>& take, const GemmControl& control);

}  // namespace fp8scope
