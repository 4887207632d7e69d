// Microscaling (MX): tiles along the contracted dimension that share an E8M0 scale.
#include "sim/recipes/rows.hpp"

namespace fp8scope {
namespace {

constexpr RecipeRow rows[] = {
    {"mxfp8", "TransformerEngine 2.13 (rceil), OCP MX 1.0 (floor)", "golden", "TransformerEngine quantize_mxfp8.cuh; torchao mx_tensor.py",
     "blocks of 32 with E8M0 scales", "tile.shape=1x32 tile.ragged=refuse scale.rule=e8m0-rceil scale.store=e8m0", "",
     "scale: rceil=() floor=(scale.rule=e8m0-floor amax.nan=propagate scale.infinity_code=255);"
     "specials: te=(amax.nan=ignore scale.infinity_code=254) torchao=(amax.nan=propagate scale.infinity_code=255);"
     "block -> tile.shape; format -> element.format"},
};

}  // namespace

std::span<const RecipeRow> mx_recipes() { return rows; }

}  // namespace fp8scope
