// Recipes of papers and their code.
#include "sim/recipes/rows.hpp"

namespace fp8scope {
namespace {

constexpr RecipeRow rows[] = {
    {"coat", "COAT 2025-08, activations", "source", "NVlabs COAT quantize kernels",
     "1x16, 1e-10 added to the amax; divides by a binary32 factor and stores it in BF16",
     "tile.shape=1x16 amax.floor=1e-10 amax.floor_mode=add scale.rule=quotient scale.apply=divide scale.store=bf16",
     "gradient: element.format=e5m2", "block -> tile.shape"},
    {"coat_optimizer", "COAT 2025-08, optimizer states", "source", "NVlabs COAT optimizer kernels",
     "groups of 128 whose dynamic range is expanded to that of E4M3 by a power",
     "element.codec=coat-expand tile.shape=1x128 scale.rule=fixed", "", "block -> tile.shape"},
    {"logfmt", "DeepSeek, LogFMT-nBit", "paper", "arXiv:2505.09343 section 3.2",
     "logarithms on a grid between the smallest and the largest of 1x128, rounded in linear space",
     "element.codec=logfmt8 tile.shape=1x128 scale.rule=fixed", "",
     "bits: 8=() 10=(element.codec=logfmt10); block -> tile.shape"},
    {"moss", "MOSS", "paper", "arXiv:2511.05811",
     "activations: E8M0 for each 32 below a binary32 factor; weights: amax predicted from the learning rate",
     "tile.shape=1x32 scale.rule=moss scale.store=e8m0 second.scope=tensor",
     "weight: tile.shape=tensor scale.rule=quotient scale.floor=1.1754944e-38 scale.store=fp32 second.scope=none "
     "history.kind=predicted",
     "lr -> history.learning_rate; interval -> history.interval"},
    {"unit_scaling", "unit scaling (mu-S)", "paper", "arXiv:2502.05967", "no scale: E4M3 forward, E5M2 backward, clamped",
     "scale.rule=fixed", "gradient: element.format=e5m2", ""},
    {"unit_scaling_library", "Graphcore unit-scaling", "source", "unit-scaling formats.py FPFormat",
     "the same, as its library simulates it: ties toward zero, E4M3 up to 240",
     "element.format=e4m3_ieee element.rounding=nearest-zero scale.rule=fixed", "gradient: element.format=e5m2", ""},
    {"smooth_swiglu", "Smooth-SwiGLU", "paper", "arXiv:2409.12517",
     "one factor for each channel of the input of the third linear layer of a SwiGLU; per tensor else", "",
     "activation: tile.shape=allx1; gradient: element.format=e5m2", ""},
};

}  // namespace

std::span<const RecipeRow> other_recipes() { return rows; }

}  // namespace fp8scope
