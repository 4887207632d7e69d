#pragma once

#include <string>
#include <vector>

#include "src/kernel_run.hpp"

namespace fp8scope {

/// What the products of a validation have in common.
struct KernelCaseRequest {
  std::string format_a = "e4m3", format_b = "e4m3", output = "f32";
  BlockShape block_a{1, 128}, block_b{128, 128};
  std::vector<std::int64_t> shape{128, 128, 1024};  ///< M, N, K
};

/// Products that tell schedules, orders and units apart: random codes of every exponent, normally
/// distributed values, sums that cancel, positive values, the codes at the edges, and NaN and infinity. FP32
/// scales are no powers of two. The data depend on nothing but the request.
std::vector<KernelCase> kernel_cases(const KernelCaseRequest& request);

}  // namespace fp8scope
