// MS-AMP and FP8-LM.
#include "sim/recipes/rows.hpp"

namespace fp8scope {
namespace {

constexpr RecipeRow rows[] = {
    {"msamp", "MS-AMP 2025-12", "source", "MS-AMP msamp/common/tensor/meta.py, msamp/nn/functional.py",
     "per tensor, power-of-two scales from a window of 16 amaxes, in time until it is full; weights in time",
     "scale.rule=msamp history.kind=msamp history.length=16", "gradient: element.format=e5m2; weight: history.length=1",
     "window -> history.length; margin -> history.margin; mu -> history.mu; format -> element.format: hybrid=();"
     "auto: off=() r1e-3_w100=(history.mu_ratio=0.001 history.mu_window=100 history.mu_frequency=10) "
     "r1e-5_w1000=(history.mu_ratio=1e-05 history.mu_window=1000 history.mu_frequency=1); auto_ratio -> history.mu_ratio"},
    {"msamp_weight_grad", "MS-AMP 2025-12", "golden", "MS-AMP ScalingMeta.compute_scaling_factor; pull request 140",
     "weight gradients: E4M3, in time; mu multiplies the scale before the all-reduce",
     "scale.rule=msamp history.kind=msamp history.length=1", "",
     "margin -> history.margin; mu -> history.mu;"
     "auto: off=() r1e-3_w100=(history.mu_ratio=0.001 history.mu_window=100 history.mu_frequency=10) "
     "r1e-5_w1000=(history.mu_ratio=1e-05 history.mu_window=1000 history.mu_frequency=1); auto_ratio -> history.mu_ratio"},
    {"msamp_moment1", "MS-AMP 2025-12", "source", "MS-AMP msamp/optim", "first moment of the optimizer: E4M3",
     "scale.rule=msamp", "", ""},
    {"msamp_moment2", "MS-AMP 2025-12", "source", "MS-AMP msamp/optim",
     "second moment and master weights: FP16 with a scale", "element.format=fp16 scale.rule=msamp", "", ""},
};

}  // namespace

std::span<const RecipeRow> msamp_recipes() { return rows; }

}  // namespace fp8scope
