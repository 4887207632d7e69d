#include "sim/recipe.hpp"

#include "sim/names.hpp"
#include "sim/recipe_rows.hpp"
#include "sim/recipe_options.hpp"

namespace fp8scope {
namespace {

// To add a recipe: its own recipe_NAME.cpp, a declaration in recipe_rows.hpp, and a row here.
constexpr NamedRecipe table[] = {
    {"te_delayed", "TransformerEngine 2.x, fused update",
     "per tensor, scale from the amaxes of earlier steps",
     "amax_history_len=1024 amax_compute_algo=max|most_recent margin=0 format=hybrid|e4m3|e5m2",
     make_te_delayed},
    {"te_current", "TransformerEngine 2.x", "per tensor, scale from this step's amax",
     "pow2=0|1 amax_epsilon=0 format=hybrid|e4m3|e5m2", make_te_current},
    {"te_block", "TransformerEngine 2.x",
     "1x128 activations and gradients, 128x128 weights, power-of-two scales",
     "scales=pow2|fp32 block=ROWSxCOLS amax_epsilon=0 format=e4m3", make_te_block},
    {"dsv3", "DeepSeek-V3 (DeepGEMM 2026-06)",
     "1x128 activations and gradients, 128x128 weights, FP32 scales, amax floor 1e-4",
     "scales=fp32|ue8m0 block=ROWSxCOLS amax_floor=1e-4 format=e4m3", make_dsv3},
    {"mxfp8", "TransformerEngine 2.13 (rceil), OCP MX 1.0 (floor)",
     "blocks of 32 with E8M0 scales", "scale=rceil|floor specials=te|torchao block=32 format=e4m3",
     make_mxfp8},
};

}  // namespace

std::span<const NamedRecipe> recipes() { return table; }

std::unique_ptr<Recipe> make_recipe(std::string_view spec, const TensorKind& operand) {
  const std::size_t colon = std::min(spec.find(':'), spec.size());
  const NamedRecipe& row = by_name(table, spec.substr(0, colon), "recipe");
  try {
    RecipeOptions options(spec.substr(std::min(colon + 1, spec.size())));
    auto recipe = row.make(operand, options);
    options.finish();
    return recipe;
  } catch (const UnknownName& error) {
    throw UnknownName("recipe '" + std::string(spec) + "': " + error.what());
  } catch (const std::invalid_argument& error) {
    throw std::invalid_argument("recipe '" + std::string(spec) + "': " + error.what());
  }
}

}  // namespace fp8scope
