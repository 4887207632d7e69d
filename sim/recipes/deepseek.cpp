// DeepSeek: training, and the libraries it published.
#include "sim/recipes/rows.hpp"

namespace fp8scope {
namespace {

constexpr RecipeRow rows[] = {
    {"dsv3", "DeepSeek-V3 (DeepGEMM 2026-06)", "golden", "DeepGEMM deep_gemm/utils/math.py",
     "1x128 activations and gradients, 128x128 weights, FP32 scales, amax floor 1e-4",
     "tile.shape=1x128 amax.nan=propagate amax.floor=1e-4 scale.rule=quotient", "weight: tile.shape=128x128",
     "scales: fp32=() ue8m0=(scale.pow2=up scale.store=e8m0); block -> tile.shape; amax_floor -> amax.floor;"
     "format -> element.format; version: 2026-06=() 2025-02=(scale.apply=reciprocal-max)"},
};

}  // namespace

std::span<const RecipeRow> deepseek_recipes() { return rows; }

}  // namespace fp8scope
