#pragma once

#include "sim/stable_math.hpp"

namespace fp8scope {

/// 10 log10(x), the same bits on every machine.
constexpr double decibels(double x) { return stable_log2(x) * 3.0102999566398120; }

}  // namespace fp8scope
