#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "sim/convert.hpp"

namespace fp8scope {

/// "saturate" or "special". Throws UnknownName.
Overflow overflow_by_name(std::string_view name);

/// Changes what a cast makes of NaN, of infinity and of numbers that are no scale. Each word, in the
/// order typed, is "nvidia" or "ml_dtypes", which set every choice to that library's, or KEY=VALUE
/// with the members of CastRule: inf, nan, no_nan, negative_scale, zero_scale.
/// Throws UnknownName for another key or value.
void set_policies(CastRule& rule, const std::vector<std::string>& words);

}  // namespace fp8scope
