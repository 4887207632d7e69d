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
/// product contracts. A recipe that a unit with block scales cannot take is left out.
///
/// accumulators  as parse_model() takes them
/// `take` is called in the order of layers, steps, products, recipes, accumulators.
void replay_gemms(const ReplayInput& input, const ReplayOptions& options,
                  const std::vector<std::string>& accumulators,
                  const std::function<void(const GemmRecord&)>& take);

/// The same for the products that `control` wants, on units that may be fed differently.
void replay_gemm_units(const ReplayInput& input, const ReplayOptions& options, const std::vector<GemmRequest>& units,
                       const std::function<void(const GemmRecord&)>& take, const GemmControl& control);

}  // namespace fp8scope
