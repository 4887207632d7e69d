#pragma once

#include <cstdint>
#include <vector>

#include "sim/convert.hpp"

namespace fp8scope {

/// Value of every code of a format of at most 16 bits, [f.codes()].
inline std::vector<float> decode_table(const Format& f) {
  std::vector<float> values(f.codes());
  for (std::uint32_t code = 0; code < f.codes(); ++code) values[code] = decode(f, code);
  return values;
}

}  // namespace fp8scope
