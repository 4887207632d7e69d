#pragma once

#include <span>
#include <string_view>

#include "sim/recipes/record.hpp"

namespace fp8scope {

/// A recipe as a row of text; record_of() reads it.
struct RecipeRow {
  std::string_view name, version, evidence, source, summary;
  std::string_view settings;   ///< "key=value key=value"
  std::string_view overrides;  ///< "weight: key=value ...; gradient wgrad: ...", role, gemm or both
  /// "name: value=(settings) value=(role: settings)[evidence]; name -> key: value=()"; an arrow names the
  /// field that takes any other value.
  std::string_view options;
};

/// Throws std::invalid_argument for a row that cannot be read; a test reads them all.
RecipeRecord record_of(const RecipeRow& row);

// The rows, one file for each origin. To add a recipe, add a row; to add a file, also name it in table.cpp.
std::span<const RecipeRow> te_recipes();
std::span<const RecipeRow> deepseek_recipes();
std::span<const RecipeRow> torchao_recipes();
std::span<const RecipeRow> mx_recipes();
std::span<const RecipeRow> inference_recipes();
std::span<const RecipeRow> msamp_recipes();
std::span<const RecipeRow> other_recipes();

}  // namespace fp8scope
