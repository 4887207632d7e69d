#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include "sim/error_sums.hpp"
#include "src/tensor_facts.hpp"

namespace fp8scope {

/// Everything measured when one recipe cast one tensor of one step.
struct CastResult {
  ErrorSums sums;
  double bulk_power = 0.0;        ///< sum x^2 over |x| <= facts.bulk_limit()
  double median_row_noise = 0.0;  ///< sum e^2 / sum x^2 of the median row
  float scale_inv_min = 0.0f, scale_inv_max = 0.0f;
  double headroom = 0.0;    ///< min over the blocks of MAX * scale_inv / amax
  float amax = 0.0f;        ///< of the tensor, by the recipe's NaN rule
  std::int64_t age = 0;     ///< steps since the amax behind the scale was seen; -1: none yet
  float amax_in_use = 0.0f; ///< that amax
  std::int64_t frozen = 0;  ///< updates in a row that left the scale as it was: amax 0, infinite or NaN
  std::uint64_t blocks = 0, floored = 0;  ///< blocks, and those whose amax lies below the recipe's floor
};

/// A statistic of a cast: a row of the table below. To add one, add a row.
struct Statistic {
  std::string_view name, unit, long_name;
  double (*value)(const TensorFacts&, const CastResult&);
};

/// Where x is the tensor, y = decode(code) * scale_inv in binary32, e = fl(x - y) and all sums run
/// over the elements whose x and y are finite. A statistic of nothing (0/0) is NaN.
std::span<const Statistic> statistics();

/// A count of elements. The same idea as Statistic.
struct Count {
  std::string_view name, long_name;
  std::uint64_t (*value)(const TensorFacts&, const CastResult&);
};
std::span<const Count> counts();

}  // namespace fp8scope
