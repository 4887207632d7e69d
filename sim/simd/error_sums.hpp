#pragma once

#include <span>

#include "sim/error_sums.hpp"

namespace fp8scope {

/// error_sums_scalar() of one row, by the vector instructions in use: the same bits.
ErrorSums error_sums(const CastLimits& limits, const CastRow& row);

/// moment_sums_scalar() of one row, by the vector instructions in use: the same bits.
MomentSums moment_sums(std::span<const float> x);

/// bulk_power_scalar() of one row, by the vector instructions in use: the same bits.
double bulk_power(std::span<const float> x, float bulk);

}  // namespace fp8scope
