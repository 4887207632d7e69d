// torchao but NVFP4.
#include "sim/recipes/history.hpp"
#include "sim/scale_layout.hpp"
#include "tests/recipe_golden/golden_case.hpp"

namespace fp8scope {
namespace {

/// Codes of MX, packed where they have four bits.
void expect_mx(const Golden& golden, const std::string& codes, const std::string& scales, const Output& out) {
  if (out.plan.format.bits() != 4) expect_codes(golden, codes, out);
  else {
    EXPECT_TRUE(same_bits(golden.codes(codes), widened(pack_fp4(out.cast.codes)))) << codes;
  }
  EXPECT_TRUE(same_bits(golden.codes(scales), out.stored())) << scales;
}

}  // namespace

void check_torchao_float8(const Golden& golden) {
  for (const std::string& name : golden.stems("torchao_float8", "_q")) {
    const std::string input = input_of(name), path = "torchao_float8/" + name;
    const char* tile = names(name, "rowwise") ? "1xall" : names(name, "colwise") ? "allx1" : "tensor";
    const Output out = run(fmt::format("torchao_tensorwise:format={}:pow2={}:tile.shape={}",
                                       names(name, "e5m2") ? "e5m2" : "e4m3", names(name, "pow21") ? 1 : 0, tile),
                           operand_of(input), read_matrix(golden, "inputs/" + input));
    expect_codes(golden, path + "_q", out);
    EXPECT_TRUE(same_bits(golden.floats(path + "_scale"), out.scale())) << name;
  }
  const Output lhs = run("torchao_blockwise", {}, read_matrix(golden, "inputs/act_bf16"));
  expect_codes(golden, "torchao_blockwise/act_bf16_lhs_q", lhs);
  expect_scale_inv(golden, "torchao_blockwise/act_bf16_lhs_sinv", lhs);
  const Matrix whole = read_matrix(golden, "inputs/wt_bf16");
  Matrix part{128, 256, {}};
  for (std::int64_t r = 0; r < 128; ++r)
    part.x.insert(part.x.end(), whole.x.begin() + r * whole.cols, whole.x.begin() + r * whole.cols + 256);
  const Output weight = run("torchao_blockwise", {Role::weight}, part);
  expect_codes(golden, "torchao_blockwise/wt_bf16_128x256_w_q", weight);
  expect_scale_inv(golden, "torchao_blockwise/wt_bf16_128x256_w_sinv", weight);
}

void check_torchao_delayed(const Golden& golden) {
  for (const std::string& name : golden.stems("torchao_delayed_removed", "_init_scale")) {
    const std::string path = "torchao_delayed_removed/" + name;
    const std::string length = name.substr(name.find("_L") + 2);
    const auto seen = golden.floats("te_delayed/seq_" + name.substr(0, name.find("_L")));
    const auto recipe = make_recipe("torchao_delayed:history_len=" + length, {});
    const auto& state = dynamic_cast<const HistoryRecipe&>(*recipe);
    std::vector<float> actual, first;
    for (const float amax : seen) {
      Scales scales;
      recipe->step({&amax, 1}, {&scales, 1});
      if (first.empty()) first.push_back(scales.scale);
      actual.push_back(state.scale());
      const auto history = state.history();
      actual.insert(actual.end(), history.begin(), history.end());
    }
    EXPECT_TRUE(same_bits(golden.floats(path + "_init_scale"), first)) << name;
    EXPECT_TRUE(same_bits(golden.floats(path), actual)) << name;
  }
}

void check_torchao_mx(const Golden& golden) {
  for (const std::string& name : golden.stems("torchao_mx", "_q")) {
    const std::string input = input_of(name), scale = name.substr(name.rfind('_') + 1);
    std::string format;
    for (const char* word : {"e4m3", "e5m2", "e2m1", "e2m3", "e3m2"})
      if (names(name, word)) format = word;
    const Output out = run(fmt::format("torchao_mx:scale={}:format={}", scale, format), operand_of(input),
                           read_matrix(golden, "inputs/" + input));
    expect_mx(golden, "torchao_mx/" + name + "_q", "torchao_mx/" + name + "_e8m0", out);
  }
  for (const std::string& name : golden.stems("torchao_mx_cases", "_inputs")) {
    const std::string path = "torchao_mx_cases/" + name;
    const Output out = run("torchao_mx:scale=" + name.substr(0, name.find('_')), {}, read_matrix(golden, path + "_inputs"));
    expect_mx(golden, path + "_expected_q", path + "_expected_e8m0", out);
  }
  for (const std::string& name : golden.stems("torchao_mx_cases", "_x")) {
    const std::string path = "torchao_mx_cases/" + name;
    const Output out = run("torchao_mx:scale=rceil", {}, Matrix{1, 32, golden.floats(path + "_x")});
    expect_mx(golden, path + "_q", path + "_e8m0", out);
  }
}

}  // namespace fp8scope
