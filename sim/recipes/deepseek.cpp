// DeepSeek: training, and the libraries it published.
#include "sim/recipes/rows.hpp"

namespace fp8scope {
namespace {

constexpr RecipeRow rows[] = {
    {"dsv3", "DeepSeek-V3 (DeepGEMM 2026-06)", "golden", "DeepGEMM deep_gemm/utils/math.py",
     "1x128 activations and gradients, 128x128 weights, FP32 scales, amax floor 1e-4",
     "tile.shape=1x128 amax.nan=propagate amax.floor=1e-4 scale.rule=quotient", "weight: tile.shape=128x128",
     "scales: fp32=() ue8m0=(scale.pow2=up scale.store=e8m0); block -> tile.shape; amax_floor -> amax.floor;"
     "format -> element.format; version: 2026-06=() 2025-02=(scale.apply=reciprocal-max);"
     "device: cpu=() cuda=(scale.quotient=reciprocal)[source]"},
    {"dsv3_report", "DeepSeek-V3 report, section 3.3", "paper", "arXiv:2412.19437",
     "1x128 activations and gradients, 128x128 weights, E4M3, no floor; E5M6 with power-of-two scales after attention",
     "tile.shape=1x128 scale.rule=te scale.big=float32", "weight: tile.shape=128x128",
     "operand: linear=() after_attention=(activation: element.format=e5m6 scale.pow2=down);"
     "scales: fp32=() pow2=(scale.pow2=down)"},
    {"deepgemm_fp4", "DeepGEMM 2026-06", "golden", "DeepGEMM deep_gemm/utils/math.py",
     "E2M1 in tiles of 32, ties toward zero, no negative zero",
     "element.format=e2m1 element.rounding=nearest-zero element.zero=drop tile.shape=1x32 amax.nan=propagate "
     "amax.floor=1e-4 scale.rule=quotient",
     "", "scales: fp32=() ue8m0=(scale.pow2=up scale.store=e8m0); block -> tile.shape"},
    {"deepep", "DeepEP 2026-07, low-latency dispatch", "golden", "DeepEP csrc/kernels/internode_ll.cu",
     "1x128, factor and multiplier rounded apart",
     "tile.shape=1x128 amax.floor=1e-4 scale.rule=quotient scale.quotient=reciprocal scale.apply=max-over-amax", "",
     "scales: fp32=() round_scale=(scale.pow2=up) ue8m0=(scale.pow2=up scale.store=e8m0)"},
    {"dsv3_infer", "DeepSeek-V3 inference", "port", "DeepSeek-V3 inference/kernel.py act_quant",
     "1x128, x / s; 128x128 weights",
     "tile.shape=1x128 amax.floor=1e-4 scale.rule=quotient scale.apply=divide", "weight: tile.shape=128x128 amax.floor=0",
     "version: v3=() v3.2=(scale.quotient=reciprocal); scales: fp32=() ue8m0=(scale.pow2=up)"},
    {"tilekernels", "TileKernels 2026-04", "golden", "TileKernels tile_kernels/quant",
     "any tile, multiplier MAX / amax", "tile.shape=1x128 amax.nan=propagate amax.floor=1e-4 scale.rule=quotient scale.apply=max-over-amax",
     "weight: tile.shape=128x128",
     "format -> element.format: e4m3=() e2m1=(element.format=e2m1 amax.floor=7.052966e-38);"
     "scales: fp32=() round_sf=(scale.pow2=up); block -> tile.shape"},
    {"tilekernels_e5m6", "TileKernels 2026-04", "golden", "TileKernels _cast_to_e5m6",
     "E5M6, one scale for each row; its rounding below 2^-14 is none",
     "element.format=e5m6 element.rounding=deepseek-e5m6 tile.shape=1xall amax.nan=propagate amax.floor=1e-4 "
     "scale.rule=quotient scale.apply=max-over-amax",
     "", "e5m6: deepseek=() rne=(element.rounding=nearest-even); scales: fp32=() round_sf=(scale.pow2=up);"
     "block -> tile.shape"},
};

}  // namespace

std::span<const RecipeRow> deepseek_recipes() { return rows; }

}  // namespace fp8scope
