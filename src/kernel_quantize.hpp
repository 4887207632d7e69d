#pragma once

#include <string>
#include <vector>

#include "sim/block.hpp"
#include "sim/format.hpp"
#include "src/kernel_checks.hpp"
#include "src/kernel_process.hpp"

namespace fp8scope {

/// One tensor that a quantiser is asked to cast.
struct QuantizeCase {
  CheckTensor tensor;
  BlockGrid grid{0, 0, {}};
  Format code_format, scale_format;  ///< scales: fp32, e8m0 or e4m3
};

/// What became of a case.
struct QuantizeResult {
  bool supported = true;
  std::vector<std::uint16_t> codes;   ///< [rows, cols]
  std::vector<std::uint32_t> scales;  ///< [blocks] codes, or bits of binary32
  std::size_t moved = 0;              ///< words that differ between two calls
  std::size_t unwritten = 0;          ///< words that neither call changed
};

/// Throws UsageError if the C interface has no number for a format; then as call_twice().
QuantizeResult run_quantizer(const KernelName& kernel, const QuantizeCase& c, unsigned seconds);

}  // namespace fp8scope
