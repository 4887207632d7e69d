// Casts of inference kernels. They differ in floors, reciprocals and rounding: 3 codes in 10,000, and a
// third to a half of the stored factors.
#include "sim/recipes/rows.hpp"

namespace fp8scope {
namespace {

constexpr RecipeRow rows[] = {
    {"vllm_group", "vLLM per_token_group_quant", "source", "vLLM csrc/quantization/w8a8/fp8/per_token_group_quant.cu",
     "1x128, s = amax / 448, x / s", "tile.shape=1x128 amax.floor=1e-10 scale.rule=quotient scale.apply=divide element.nan=lowest",
     "weight: tile.shape=128x128",
     "scales: fp32=() ue8m0=(scale.pow2=up scale.floor=1e-10); floor: amax=() scale=(amax.floor=0 scale.floor=1e-10);"
     "block -> tile.shape"},
    {"vllm_tensor", "vLLM scaled_fp8_quant", "source", "vLLM csrc/quantization/w8a8/fp8/common.cu",
     "per tensor, s = amax / 448, x times 1 / s; per token, s at least 1 / (448 * 512), x / s",
     "scale.rule=quotient element.nan=max", "",
     "apply: inverted=() divide=(scale.apply=divide);"
     "block -> tile.shape: token=(activation: tile.shape=1xall scale.apply=divide scale.floor=4.359654e-06)"},
    {"sglang_group", "SGLang per_token_group_quant_8bit", "source", "SGLang sgl-kernel per_token_group_quant_8bit.cu",
     "1x128, factor and multiplier rounded apart, amax floor 1e-10",
     "tile.shape=1x128 amax.floor=1e-10 scale.rule=quotient scale.quotient=reciprocal scale.apply=max-over-amax",
     "weight: tile.shape=128x128",
     "scales: fp32=() ue8m0=(scale.pow2=up scale.store=e8m0) "
     "row_ue8m0=(scale.pow2=up scale.store=e8m0 scale.apply=max-over-amax-always); block -> tile.shape"},
    {"trtllm_1x128", "TensorRT-LLM, FlashInfer scale_1x128", "source", "TensorRT-LLM fp8_blockscale_gemm scale_1x128_kernel",
     "1x128, multiplier 448 / amax, factor 1 / multiplier", "tile.shape=1x128 scale.infinity=zero scale.big=infinity",
     "weight: tile.shape=128x128", "scales: fp32=() ue8m0=(scale.pow2=down scale.store=e8m0); block -> tile.shape"},
    {"trtllm_mxfp8", "TensorRT-LLM, FlashInfer mxfp8_quantize", "source", "TensorRT-LLM quantization.cuh",
     "1x32, E8M0 scales rounded up; its approximate reciprocals are those of powers of two and of 448",
     "tile.shape=1x32 scale.rule=e8m0-rceil scale.store=e8m0", "", "block -> tile.shape; format -> element.format"},
};

}  // namespace

std::span<const RecipeRow> inference_recipes() { return rows; }

}  // namespace fp8scope
