#pragma once

#include <memory>
#include <optional>
#include <string>

#include "src/cast_pass.hpp"

namespace fp8scope {

/// The cast of a single tensor that --recipe and --format ask for. Owns the recipe that `cast.rule`
/// points into.
struct RequestedCast {
  std::unique_ptr<Recipe> recipe;  ///< none: scale 1
  TensorCast cast;
};

/// recipe  as make_recipe() takes it, or "none": every scale is 1
/// format  replaces the recipe's element format
/// codecs  whether elements may be no floating-point format (Plan::codec): then the recipe's own codes or their
///         decoded values are wanted, and `format` is that of the latter in a product (the plan's format)
/// A recipe that scales by earlier steps still waits for take_first_step().
/// Throws UsageError if "none" comes without a format, and what make_recipe() throws.
RequestedCast request_cast(const std::string& recipe, const std::optional<std::string>& format,
                           const TensorKind& kind, bool codecs = false);

/// A recipe that scales by earlier steps casts as at its first one, of a tensor of this amax: with scale 1, or by this
/// very amax where it measures its first tensor (MOSS' weights, torchao, MS-AMP). Others stay as they are.
void take_first_step(RequestedCast& request, float amax);

/// What the elements of an array were kept in, for TensorKind::input.
Format input_format(const std::string& dtype);

}  // namespace fp8scope
