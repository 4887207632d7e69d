// PyTorch's torchao: float8 training, MX, NVFP4.
#include "sim/recipes/rows.hpp"

namespace fp8scope {
namespace {

constexpr RecipeRow rows[] = {
    {"torchao_tensorwise", "torchao 2026-08", "golden", "torchao float8_utils.py amax_to_scale",
     "per tensor, divided in binary64, amax floor 1e-12", "amax.nan=propagate scale.rule=torchao",
     "gradient: element.format=e5m2",
     "pow2: 0=() 1=(scale.pow2=down) log2f=(scale.pow2=log2)[source]; format -> element.format: hybrid=()"},
    {"torchao_rowwise", "torchao 2026-08", "golden", "torchao float8 config.py, float8_utils.py",
     "one power-of-two scale for each row, E4M3", "amax.nan=propagate scale.rule=torchao scale.pow2=down tile.shape=1xall",
     "", "pow2: 1=() 0=(scale.pow2=none) log2f=(scale.pow2=log2)[source]; format -> element.format; block -> tile.shape"},
    {"torchao_rowwise_with_gw_hp", "torchao 2026-08", "golden", "torchao float8 config.py",
     "as rowwise; the weight of dgrad has one scale, wgrad stays in BF16",
     "amax.nan=propagate scale.rule=torchao scale.pow2=down tile.shape=1xall",
     "weight dgrad: tile.shape=tensor; wgrad: element.format=bf16 element.overflow=special scale.rule=fixed "
     "scale.pow2=none tile.shape=tensor",
     ""},
    {"torchao_blockwise", "torchao 2026-08, prototype", "golden", "torchao prototype/blockwise_fp8_training",
     "1x128 activations and gradients, 128x128 weights", "amax.nan=propagate scale.rule=torchao tile.shape=1x128",
     "weight: tile.shape=128x128", "block -> tile.shape"},
    {"torchao_delayed", "torchao until 2025-02", "golden", "torchao before d370196, float8_utils.py",
     "per tensor, scale from the largest of 16 amaxes; the first tensor scales itself",
     "amax.nan=propagate scale.rule=torchao history.kind=torchao history.length=16", "gradient: element.format=e5m2",
     "history_len -> history.length; format -> element.format: hybrid=()"},
    {"torchao_mx", "torchao 2026-08", "golden", "torchao prototype/mx_formats/mx_tensor.py",
     "1x32, E8M0 scales by the chosen rule; a NaN or infinity spoils its tile",
     "tile.shape=1x32 tile.ragged=refuse amax.nan=propagate scale.rule=e8m0-floor scale.infinity_code=255 scale.store=e8m0",
     "", "scale: floor=() rceil=(scale.rule=e8m0-rceil) ceil=(scale.rule=e8m0-ceil) even=(scale.rule=e8m0-even);"
     "format -> element.format; block -> tile.shape"},
    {"torchao_mxfp8_training", "torchao 2026-08, prototype", "source", "torchao prototype/mx_formats, MXFP8 training",
     "1x32 E4M3 for all operands, scales rounded up",
     "tile.shape=1x32 tile.ragged=refuse amax.nan=propagate scale.rule=e8m0-rceil scale.infinity_code=255 scale.store=e8m0",
     "", "wgrad: fp8=() hp=(element.format=bf16 scale.rule=fixed scale.store=fp32 tile.shape=tensor)"},
    {"torchao_nvfp4", "torchao 2026-08", "golden", "torchao prototype/mx_formats/nvfp4_tensor.py",
     "1x16 with E4M3 factors of at least 2^-6", "element.format=e2m1 tile.shape=1x16 tile.ragged=refuse amax.nan=propagate "
     "scale.rule=nvfp4-torchao scale.store=e4m3 second.scope=tensor",
     "", "levels: 2=() 1=(second.scope=none)"},
    {"torchao_nvfp4_training", "torchao 2026-08, prototype", "golden", "torchao prototype/moe_training/nvfp4_training",
     "Transformer Engine's NVFP4 as torchao trains with it",
     "element.format=e2m1 tile.shape=1x16 tile.ragged=refuse scale.rule=nvfp4 scale.store=e4m3 second.scope=tensor",
     "weight: tile.shape=16x16; wgrad: hadamard.size=16 hadamard.signs=+++-+------+-+--;"
     "gradient: element.rounding=te-e2m1",
     "rht: on=() off=(hadamard.size=0); sr: on=()[source] off=(element.rounding=nearest-even); signs -> hadamard.signs"},
};

}  // namespace

std::span<const RecipeRow> torchao_recipes() { return rows; }

}  // namespace fp8scope
