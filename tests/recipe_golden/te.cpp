// Transformer Engine but NVFP4.
#include <algorithm>

#include "sim/recipe_delayed.hpp"
#include "sim/recipes/history.hpp"
#include "sim/scale_layout.hpp"
#include "tests/recipe_golden/golden_case.hpp"

namespace fp8scope {
namespace {

std::string delayed_spec(const std::string& name, const char* update) {
  const std::size_t length_at = name.find("_L") + 2, algorithm_at = name.find('_', length_at) + 1;
  return fmt::format("te_delayed:update={}:amax_history_len={}:amax_compute_algo={}:margin={}:format={}", update,
                     name.substr(length_at, algorithm_at - 1 - length_at),
                     names(name, "most_recent") ? "most_recent" : "max", name[name.rfind("_m") + 2],
                     names(name, "e5m2") ? "e5m2" : "e4m3");
}

std::vector<float> rolled(const HistoryRecipe& recipe) {
  std::vector<float> slots = recipe.history();  // newest first; stored: 0, then L - 1, oldest first
  std::ranges::reverse(slots);
  slots.front() = 0.0f;
  return slots;
}

}  // namespace

void check_te_delayed(const Golden& golden) {
  for (const char* update : {"fused", "unfused"})
    for (const std::string& stem : golden.stems("te_delayed", std::string("_") + update)) {
      const std::string name = stem + "_" + update, spec = delayed_spec(name, update);
      const auto seen = golden.floats("te_delayed/seq_" + stem.substr(0, stem.find("_L")));
      const auto recipe = make_recipe(spec, {});
      const auto* fused = dynamic_cast<const DelayedRecipe*>(recipe.get());
      const auto* unfused = dynamic_cast<const HistoryRecipe*>(recipe.get());
      std::vector<float> actual;
      for (const float amax : seen) {
        Scales scales;
        recipe->step({&amax, 1}, {&scales, 1});
        actual.push_back(fused ? fused->scale() : unfused->scale());  // of the next step
        const auto history = fused ? fused->history() : rolled(*unfused);
        actual.insert(actual.end(), history.begin(), history.end());
      }
      EXPECT_TRUE(same_bits(golden.floats("te_delayed/" + name), actual)) << name << " as " << spec;
    }
}

void check_te_current(const Golden& golden) {
  for (const std::string& stem : golden.stems("te_current", "_q")) {
    const std::string input = input_of(stem);
    const Output out = run(fmt::format("te_current:format={}:pow2={}:amax_epsilon={}",
                                       names(stem, "e5m2") ? "e5m2" : "e4m3", names(stem, "pow21") ? 1 : 0,
                                       stem.substr(stem.find("eps") + 3)),
                           operand_of(input), read_matrix(golden, "inputs/" + input));
    expect_codes(golden, "te_current/" + stem + "_q", out);
    const std::vector<float> scales{out.cast.scales[0].scale, out.cast.scales[0].scale_inv};
    EXPECT_TRUE(same_bits(golden.floats("te_current/" + stem + "_scale_sinv"), scales)) << stem;
  }
}

void check_te_block(const Golden& golden) {
  for (const std::string& name : golden.stems("te_blockwise", "_q")) {
    const std::string stem = "te_blockwise/" + name, input = input_of(name);
    const std::string spec =
        fmt::format("te_block:format={}:scales={}:block={}", names(stem, "e5m2") ? "e5m2" : "e4m3",
                    names(stem, "pow21") ? "pow2" : "fp32", names(stem, "_1x128_") ? "1x128" : "128x128");
    const Matrix matrix = read_matrix(golden, "inputs/" + input);
    const Output out = run(spec, operand_of(input), matrix);
    expect_codes(golden, stem + "_q", out);
    expect_scale_inv(golden, stem + "_sinv", out);
    // The transposed use is quantised from the source, along its own contracted dimension.
    const Output t = run(spec, operand_of(input), matrix.transposed());
    expect_codes(golden, stem + "_qt", t);
    expect_scale_inv(golden, stem + "_sinvt", t);
    if (!golden.has("te_blockwise", name + "_sinv_gemmready")) continue;
    EXPECT_TRUE(same_bits(golden.floats(stem + "_sinv_gemmready"),
                          cublas_1x128_scales(out.scale_inv(), out.grid.down(), out.grid.across())))
        << stem;
  }
}

void check_te_mxfp8(const Golden& golden) {
  for (const std::string& name : golden.stems("te_mxfp8", "_q")) {
    const std::string stem = "te_mxfp8/" + name, input = input_of(name);
    const Matrix matrix = read_matrix(golden, "inputs/" + input);
    const bool columns = names(stem, "colwise");
    for (const char* recipe : {"te_mxfp8", "mxfp8"}) {
      const Output out = run(fmt::format("{}:format={}", recipe, names(stem, "e5m2") ? "e5m2" : "e4m3"),
                             operand_of(input), matrix, columns);
      expect_codes(golden, stem + "_q", out);
      EXPECT_TRUE(same_bits(golden.codes(stem + "_e8m0"), out.stored())) << stem;
    }
  }
}

void check_te_primitives(const Golden& golden) {
  const auto amaxes = golden.floats("te_scale_from_amax/amax");
  for (const std::string& name : golden.stems("te_scale_from_amax", "max")) {
    if (!name.starts_with("scale_")) continue;
    std::vector<float> scales;
    for (const float amax : amaxes)
      scales.push_back(te_scale(amax, names(name, "max448_") ? 448.0f : 57344.0f, names(name, "pow21"),
                                names(name, "eps0.0001") ? 1e-4f : 0.0f,
                                names(name, "bf16") ? bf16.max_value() : float_max));
    EXPECT_TRUE(same_bits(golden.floats("te_scale_from_amax/" + name + "max"), scales)) << name;
  }
  std::vector<std::uint16_t> codes;
  for (const float v : golden.floats("te_e8m0/f32")) codes.push_back(static_cast<std::uint16_t>(e8m0_ceil(v, 254)));
  EXPECT_TRUE(same_bits(golden.codes("te_e8m0/code"), codes));
  std::vector<float> reciprocals;
  for (std::uint32_t code = 0; code < 256; ++code) reciprocals.push_back(e8m0_reciprocal(code));
  auto expected = golden.floats("te_e8m0/exp2f_rcp_all_codes");
  ASSERT_TRUE(is_nan(expected[255]) && is_nan(reciprocals[255]));
  expected.pop_back(), reciprocals.pop_back();
  EXPECT_TRUE(same_bits(expected, reciprocals));
}

}  // namespace fp8scope
