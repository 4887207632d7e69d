#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "sim/scaled_gemm.hpp"
#include "src/kernel_process.hpp"

namespace fp8scope {

/// One product that a kernel is asked for.
struct KernelCase {
  std::string name;  ///< of the kind of data, "random"
  std::string format_a, format_b, output;  ///< "e4m3" or "e5m2"; "f32" or "bf16"
  std::int64_t m, n, k;
  std::vector<std::uint8_t> a, b;          ///< [m, k], [n, k] codes
  BlockShape block_a, block_b;
  std::vector<float> scale_a, scale_b;     ///< one per block
};

/// What became of a case.
struct KernelResult {
  bool supported = true;
  std::vector<std::uint32_t> d, again;  ///< [m, n] words of the first and of the second call
  std::size_t unwritten = 0;            ///< words that neither call changed from either of two fillings
};

/// Calls the function for every case. Throws as call_twice().
std::vector<KernelResult> run_kernel(const KernelName& kernel, const std::vector<KernelCase>& cases, unsigned seconds);

}  // namespace fp8scope
