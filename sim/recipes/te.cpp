// Transformer Engine. Versions are options: what changed, and when, is in the tags of its releases.
#include "sim/recipes/rows.hpp"

namespace fp8scope {
namespace {

constexpr RecipeRow rows[] = {
    {"te_delayed", "TransformerEngine 2.x, fused update", "golden", "TransformerEngine delayed_scaling.cu kernel_bulk",
     "per tensor, scale from the amaxes of earlier steps", "history.kind=te-fused",
     "gradient: element.format=e5m2",
     "version: 2.x=() 1.5=(history.zero_step=roll)[source] 1.5-2024-04=(history.zero_step=roll "
     "history.guard_tiny=false)[source];"
     "update: fused=() unfused=(history.kind=te-unfused) jax=(history.kind=te-jax)[source];"
     "amax_history_len -> history.length;"
     "amax_compute_algo: max=(history.algorithm=max) most_recent=(history.algorithm=most_recent);"
     "margin -> history.margin; format -> element.format: hybrid=()"},
    {"te_current", "TransformerEngine 2.x", "golden", "TransformerEngine recipe_common.cuh compute_scale_from_amax",
     "per tensor, scale from this step's amax", "", "gradient: element.format=e5m2",
     "pow2: 0=() 1=(scale.pow2=down); amax_epsilon -> amax.floor; format -> element.format: hybrid=();"
     "inf: kernel=() reference=(scale.infinity=zero)[source]"},
    {"te_block", "TransformerEngine 2.x", "golden", "TransformerEngine quantize_transpose_square_blockwise.cu",
     "1x128 activations and gradients, 128x128 weights, power-of-two scales",
     "tile.shape=1x128 scale.pow2=down scale.big=input gemm.order=first_a", "weight: tile.shape=128x128",
     "scales: pow2=() fp32=(scale.pow2=none); block -> tile.shape; amax_epsilon -> amax.floor; format -> "
     "element.format; inf: kernel=() reference=(scale.infinity=zero)[source]"},
    {"te_mxfp8", "TransformerEngine 2.13", "golden", "TransformerEngine quantize_mxfp8.cuh; ptx.cuh float_to_e8m0",
     "1x32, E8M0 scales rounded up; weights 32x32 if asked for",
     "tile.shape=1x32 tile.ragged=refuse scale.rule=e8m0-rceil scale.store=e8m0", "",
     "weights: 1d=() 2d=(weight: tile.shape=32x32)[source]; version: 2.13=() 2.12=(scale.reciprocal=te-2.12)[source];"
     "format -> element.format: e4m3=() hybrid=(gradient: element.format=e5m2)"},
    {"te_nvfp4", "TransformerEngine 2.15", "golden", "TransformerEngine quantize_transpose_nvfp4.cuh and its reference",
     "1x16 with E4M3 factors below one of the tensor, 16x16 weights, Hadamard in wgrad, stochastic gradients",
     "element.format=e2m1 tile.shape=1x16 tile.ragged=refuse scale.rule=nvfp4 scale.store=e4m3 second.scope=tensor",
     "weight: tile.shape=16x16; wgrad: hadamard.size=16 hadamard.signs=+++-+------+-+--;"
     "gradient: element.rounding=te-e2m1",
     "rht: on=() off=(hadamard.size=0); sr: on=()[source] off=(element.rounding=nearest-even);"
     "weights: 2d=() 1d=(weight: tile.shape=1x16);"
     "row_scaled: off=() on=(activation: second.scope=row);"
     "4over6: off=() mae=(second.select=mae second.order=2.14 second.block_max=256) "
     "mse=(second.select=mse second.order=2.14 second.block_max=256);"
     "e4m3_max -> second.block_max; version: 2.15=() 2.14=(second.order=2.14)[source];"
     "math: exact=() fast=(second.bf16_multiplier=true)[source];"
     "zero: kernel=() reference=(element.zero=drop-exact)"},
};

}  // namespace

std::span<const RecipeRow> te_recipes() { return rows; }

}  // namespace fp8scope
