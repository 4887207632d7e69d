// What the comparison with golden arrays must not miss: one wrong setting in a recipe, and it fails.
#include "tests/golden.hpp"
#include "tests/recipe_golden/golden_case.hpp"

namespace fp8scope {
namespace {

struct Fault {
  const char* right;   ///< recipe that reproduces the arrays
  const char* wrong;   ///< one setting off
  const char* input;
  const char* codes;   ///< array of codes, or ""
  const char* scales;  ///< array of scale_inv, or ""
};

constexpr Fault faults[] = {
    {"dsv3", "dsv3:version=2025-02", "act_bf16", "deepgemm/act_bf16_token_g128_ue8m00_q", ""},
    {"dsv3", "dsv3:device=cuda", "act_bf16", "", "deepgemm/act_bf16_token_g128_ue8m00_sf"},
    {"dsv3", "dsv3:amax_floor=0.1", "act_bf16", "", "deepgemm/act_bf16_token_g128_ue8m00_sf"},
    {"dsv3", "dsv3:scale.max=240", "act_bf16", "deepgemm/act_bf16_token_g128_ue8m00_q", ""},
    {"dsv3", "dsv3:element.rounding=toward-zero", "act_bf16", "deepgemm/act_bf16_token_g128_ue8m00_q", ""},
    {"dsv3", "dsv3:element.rounding=nearest-away", "act_bf16", "deepgemm/act_bf16_token_g128_ue8m00_q", ""},
    {"dsv3", "deepep", "act_bf16", "", "deepgemm/act_bf16_token_g128_ue8m00_sf"},
    {"te_block:scales=fp32", "dsv3:amax_floor=0", "act_bf16", "", "te_blockwise/act_bf16_e4m3_1x128_pow20_sinv"},
    {"deepep", "deepep:scale.apply=inverse", "act_bf16", "deepep/act_bf16_round0_q", ""},
    {"te_mxfp8", "mxfp8:scale=floor", "act_bf16", "te_mxfp8/act_bf16_e4m3_rowwise_q", ""},
    {"tilekernels_e5m6", "tilekernels_e5m6:scale.max=65504", "act_f32", "", "e5m6/act_f32_round0_sf"},
    {"dsv3_infer", "dsv3_infer:version=v3.2", "act_bf16", "", "deepseek_infer/act_bf16_v3_s"},
};

class RecipeGoldenControl : public testing::TestWithParam<Fault> {};

TEST_P(RecipeGoldenControl, AWrongSettingIsSeen) {
  FP8SCOPE_OPEN_GOLDEN(file, "scaling.h5");
  const Golden golden(file);
  const Fault& fault = GetParam();
  const std::string input = fault.input;
  for (const bool wrong : {false, true}) {
    const Output out = run(wrong ? fault.wrong : fault.right, operand_of(input), read_matrix(golden, "inputs/" + input));
    bool same = true;
    if (*fault.codes) same = same && same_bits(golden.codes(fault.codes), out.cast.codes);
    if (*fault.scales) same = same && same_bits(golden.floats(fault.scales), out.scale_inv());
    EXPECT_EQ(same, !wrong) << (wrong ? fault.wrong : fault.right);
  }
}
INSTANTIATE_TEST_SUITE_P(All, RecipeGoldenControl, testing::ValuesIn(faults));

}  // namespace
}  // namespace fp8scope
