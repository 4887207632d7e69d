// Transformer Engine. Versions are options: what changed, and when, is in the tags of its releases.
#include "sim/recipes/rows.hpp"

namespace fp8scope {
namespace {

constexpr RecipeRow rows[] = {
    {"te_delayed", "TransformerEngine 2.x, fused update", "golden", "TransformerEngine delayed_scaling.cu kernel_bulk",
     "per tensor, scale from the amaxes of earlier steps", "history.kind=te-fused gemm.order=product",
     "gradient: element.format=e5m2",
     "version: 2.x=() 1.5=(history.zero_step=roll) 1.5-2024-04=(history.zero_step=roll history.guard_tiny=false);"
     "update: fused=() unfused=(history.kind=te-unfused) jax=(history.kind=te-jax);"
     "amax_history_len -> history.length; amax_compute_algo: max=(history.algorithm=max) "
     "most_recent=(history.algorithm=most_recent); margin -> history.margin; format -> element.format: hybrid=()"},
    {"te_current", "TransformerEngine 2.x", "golden", "TransformerEngine recipe_common.cuh compute_scale_from_amax",
     "per tensor, scale from this step's amax", "", "gradient: element.format=e5m2",
     "pow2: 0=() 1=(scale.pow2=down); amax_epsilon -> amax.floor; format -> element.format: hybrid=();"
     "inf: kernel=() reference=(scale.infinity=zero)"},
    {"te_block", "TransformerEngine 2.x", "golden", "TransformerEngine quantize_transpose_square_blockwise.cu",
     "1x128 activations and gradients, 128x128 weights, power-of-two scales",
     "tile.shape=1x128 scale.pow2=down scale.big=input gemm.order=first_a", "weight: tile.shape=128x128",
     "scales: pow2=() fp32=(scale.pow2=none); block -> tile.shape; amax_epsilon -> amax.floor; format -> "
     "element.format; inf: kernel=() reference=(scale.infinity=zero)"},
};

}  // namespace

std::span<const RecipeRow> te_recipes() { return rows; }

}  // namespace fp8scope
