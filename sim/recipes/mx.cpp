// Microscaling (MX): tiles along the contracted dimension that share an E8M0 scale.
#include "sim/recipes/rows.hpp"

namespace fp8scope {
namespace {

constexpr RecipeRow rows[] = {
    {"mxfp8", "TransformerEngine 2.13 (rceil), OCP MX 1.0 (floor)", "golden",
     "TransformerEngine quantize_mxfp8.cuh; torchao mx_tensor.py",
     "blocks of 32 with E8M0 scales", "tile.shape=1x32 tile.ragged=refuse scale.rule=e8m0-rceil scale.store=e8m0", "",
     "scale: rceil=() floor=(scale.rule=e8m0-floor amax.nan=propagate scale.infinity_code=255);"
     "specials: te=(amax.nan=ignore scale.infinity_code=254) torchao=(amax.nan=propagate scale.infinity_code=255);"
     "block -> tile.shape; format -> element.format"},
    {"microxcaling", "microxcaling 2024-08", "golden", "microxcaling mx/mx_ops.py",
     "OCP MX as its reference does it: ties away from zero unless asked otherwise",
     "element.rounding=nearest-away tile.shape=1x32 amax.nan=propagate scale.rule=e8m0-floor scale.infinity_code=255 "
     "scale.store=e8m0",
     "", "round: nearest=() even=(element.rounding=nearest-even) floor=(element.rounding=toward-zero);"
     "format -> element.format: int8=(element.format=e1m6b1finite); block -> tile.shape; scale_bits -> scale.exponent_bits;"
     "flush_fp32_subnorms: 0=() 1=(amax.flush_subnormal=true)"},
};

}  // namespace

std::span<const RecipeRow> mx_recipes() { return rows; }

}  // namespace fp8scope
