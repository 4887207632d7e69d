#pragma once

#include <cstdint>
#include <string_view>
#include <variant>
#include <vector>

#include "src/coded/coded_tensor.hpp"

namespace fp8scope {

/// Codes or scales as a library keeps them in memory.
struct LaidOut {
  h5::Shape shape;
  std::variant<std::vector<std::uint8_t>, std::vector<std::uint32_t>, std::vector<float>> values;
};

/// A layout of sim/scale_layout.hpp by name. To add one, add a row.
struct NamedLayout {
  std::string_view name;
  bool of_codes;  ///< else of scales
  std::string_view summary;
  /// Throws DataError where the tensor's codes or scales are not of the kind that the layout is for.
  LaidOut (*make)(const CodedTensor& t);
};

/// Every layout.
std::span<const NamedLayout> layouts();

}  // namespace fp8scope
