// The recipes against arrays made by the libraries themselves (golden/scaling.h5): bytes of the codes
// and of the scales. A NaN code equals a NaN code: its sign is free.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <map>

#include "sim/amax.hpp"
#include "sim/quantize.hpp"
#include "sim/recipe.hpp"
#include "sim/recipe_delayed.hpp"
#include "tests/golden.hpp"
#include "tests/same_bits.hpp"

namespace fp8scope {
namespace {

struct Matrix {
  std::int64_t rows, cols;
  std::vector<float> x;

  Matrix transposed() const {
    Matrix t{cols, rows, std::vector<float>(x.size())};
    for (std::int64_t r = 0; r < rows; ++r)
      for (std::int64_t c = 0; c < cols; ++c) t.x[c * rows + r] = x[r * cols + c];
    return t;
  }
};

Matrix read_matrix(const h5::Group& golden, const std::string& path) {
  const h5::Dataset dataset = golden.dataset(path);
  return {dataset.shape()[0], dataset.shape()[1], dataset.values<float>()};
}

struct Output {
  Plan plan;
  std::vector<std::uint16_t> codes;
  std::vector<Scales> scales;

  std::vector<float> scale_inv() const {
    std::vector<float> values;
    for (const Scales& s : scales) values.push_back(s.scale_inv);
    return values;
  }
};

Output run(const std::string& spec, const TensorKind& operand, const Matrix& m) {
  const auto recipe = make_recipe(spec, operand);
  const Plan& plan = recipe->plan();
  const BlockGrid grid(m.rows, m.cols, plan.block);
  std::vector<float> amaxes(grid.blocks());
  Output out{plan, std::vector<std::uint16_t>(m.x.size()), std::vector<Scales>(grid.blocks())};
  block_amax(plan.amax_rule, grid, m.x, amaxes);
  recipe->step(amaxes, out.scales);
  quantize(plan.format, plan.cast, grid, m.x, out.scales, out.codes);
  return out;
}

/// All NaN codes made one.
std::vector<std::uint16_t> canonical(const Format& f, std::vector<std::uint16_t> codes) {
  for (std::uint16_t& code : codes)
    if (is_nan(decode(f, code))) code = static_cast<std::uint16_t>(f.nan_code());
  return codes;
}

std::vector<std::uint16_t> read_codes(const h5::Group& golden, const std::string& path) {
  const auto values = golden.dataset(path).values<std::int64_t>();
  return {values.begin(), values.end()};
}

void expect_codes(const h5::Group& golden, const std::string& path, const Output& out) {
  EXPECT_TRUE(same_bits(canonical(out.plan.format, read_codes(golden, path)),
                        canonical(out.plan.format, out.codes)))
      << path;
}

void expect_scale_inv(const h5::Group& golden, const std::string& path, const Output& out) {
  EXPECT_TRUE(same_bits(golden.dataset(path).values<float>(), out.scale_inv())) << path;
}

TensorKind operand_of(const std::string& input) {
  TensorKind operand;
  if (input.starts_with("wt")) operand.role = Role::weight;
  if (input.starts_with("grad")) operand.role = Role::gradient;
  if (input.ends_with("bf16")) operand.input = bf16;
  return operand;
}

/// "act_bf16" of "act_bf16_e4m3_1x128": the first two words name the input.
std::string input_of(const std::string& name) { return name.substr(0, name.find('_', name.find('_') + 1)); }

bool names(const std::string& name, const char* part) { return name.find(part) != std::string::npos; }

TEST(RecipeGolden, DelayedScalingFollowsTransformerEnginesFusedKernelStepByStep) {
  FP8SCOPE_OPEN_GOLDEN(golden, "scaling.h5");
  const h5::Group group = golden.group("te_delayed");
  int checked = 0;
  for (const h5::Entry& entry : group.entries()) {
    const std::string& name = entry.name;
    if (!name.ends_with("_fused") || name.ends_with("_unfused")) continue;
    const std::size_t length_at = name.find("_L") + 2, algorithm_at = name.find('_', length_at) + 1;
    const bool recent = names(name, "most_recent");
    const std::string spec = fmt::format(
        "te_delayed:amax_history_len={}:amax_compute_algo={}:margin={}:format={}",
        name.substr(length_at, algorithm_at - 1 - length_at), recent ? "most_recent" : "max",
        name[name.rfind("_m") + 2], names(name, "e5m2") ? "e5m2" : "e4m3");
    const auto seen = golden.dataset("te_delayed/seq_" + name.substr(0, length_at - 2)).values<float>();
    const auto expected = group.dataset(name).values<float>();
    const auto recipe = make_recipe(spec, {});
    const auto& delayed = dynamic_cast<const DelayedRecipe&>(*recipe);
    std::vector<float> actual;
    for (const float amax : seen) {
      Scales scales;
      recipe->step({&amax, 1}, {&scales, 1});
      actual.push_back(delayed.scale());  // of the next step
      const auto history = delayed.history();
      actual.insert(actual.end(), history.begin(), history.end());
    }
    EXPECT_TRUE(same_bits(expected, actual)) << name << " as " << spec;
    ++checked;
  }
  EXPECT_GE(checked, 75);
}

TEST(RecipeGolden, CurrentScalingHasTransformerEnginesCodesAndScales) {
  FP8SCOPE_OPEN_GOLDEN(golden, "scaling.h5");
  int checked = 0;
  for (const h5::Entry& entry : golden.group("te_current").entries()) {
    if (!entry.name.ends_with("_q")) continue;
    const std::string stem = entry.name.substr(0, entry.name.size() - 2), input = input_of(stem);
    const Output out = run(fmt::format("te_current:format={}:pow2={}:amax_epsilon={}",
                                       names(stem, "e5m2") ? "e5m2" : "e4m3", names(stem, "pow21") ? 1 : 0,
                                       stem.substr(stem.find("eps") + 3)),
                           operand_of(input), read_matrix(golden, "inputs/" + input));
    expect_codes(golden, "te_current/" + entry.name, out);
    const std::vector<float> scales{out.scales[0].scale, out.scales[0].scale_inv};
    EXPECT_TRUE(same_bits(golden.dataset("te_current/" + stem + "_scale_sinv").values<float>(), scales))
        << stem;
    ++checked;
  }
  EXPECT_EQ(checked, 24);
}

TEST(RecipeGolden, BlockScalingHasTransformerEnginesCodesAndScalesInBothDirections) {
  FP8SCOPE_OPEN_GOLDEN(golden, "scaling.h5");
  int checked = 0;
  for (const h5::Entry& entry : golden.group("te_blockwise").entries()) {
    if (!entry.name.ends_with("_q")) continue;
    const std::string stem = "te_blockwise/" + entry.name.substr(0, entry.name.size() - 2);
    const std::string input = input_of(entry.name);
    const std::string spec =
        fmt::format("te_block:format={}:scales={}:block={}", names(stem, "e5m2") ? "e5m2" : "e4m3",
                    names(stem, "pow21") ? "pow2" : "fp32", names(stem, "_1x128_") ? "1x128" : "128x128");
    const Matrix matrix = read_matrix(golden, "inputs/" + input);
    const Output out = run(spec, operand_of(input), matrix);
    expect_codes(golden, stem + "_q", out);
    expect_scale_inv(golden, stem + "_sinv", out);
    // The transposed use is quantised from the source, along its own contracted dimension.
    const Output turned = run(spec, operand_of(input), matrix.transposed());
    expect_codes(golden, stem + "_qt", turned);
    expect_scale_inv(golden, stem + "_sinvt", turned);
    ++checked;
  }
  EXPECT_EQ(checked, 24);
}

TEST(RecipeGolden, DeepSeeksCastHasDeepGemmsCodesAndScales) {
  FP8SCOPE_OPEN_GOLDEN(golden, "scaling.h5");
  const std::map<std::string, std::string> blocks{
      {"_token_g128_", "1x128"}, {"_token_g32_", "1x32"}, {"_block128_", "128x128"}, {"_channel_g32_", "32x1"}};
  int checked = 0;
  for (const h5::Entry& entry : golden.group("deepgemm").entries())
    for (const auto& [part, block] : blocks) {
      if (!entry.name.ends_with("_q") || !names(entry.name, part.c_str())) continue;
      const std::string stem = "deepgemm/" + entry.name.substr(0, entry.name.size() - 2);
      const Output out =
          run(fmt::format("dsv3:block={}:scales={}", block, names(stem, "ue8m01") ? "ue8m0" : "fp32"),
              operand_of(input_of(entry.name)), read_matrix(golden, "inputs/" + input_of(entry.name)));
      expect_codes(golden, stem + "_q", out);
      expect_scale_inv(golden, stem + "_sf", out);
      ++checked;
    }
  EXPECT_GE(checked, 28);
}

/// [rows, cols] to [cols, rows].
template <class T>
std::vector<T> turned(const std::vector<T>& values, std::int64_t rows, std::int64_t cols) {
  std::vector<T> t(values.size());
  for (std::int64_t r = 0; r < rows; ++r)
    for (std::int64_t c = 0; c < cols; ++c) t[c * rows + r] = values[r * cols + c];
  return t;
}

std::vector<std::uint16_t> e8m0_codes(const Output& out) {
  std::vector<std::uint16_t> codes;
  for (const Scales& s : out.scales) codes.push_back(static_cast<std::uint16_t>(e8m0_code(s.scale_inv)));
  return codes;
}

TEST(RecipeGolden, MxHasTransformerEnginesCodesAndScalesAlsoOfColumnsAndSpecials) {
  FP8SCOPE_OPEN_GOLDEN(golden, "scaling.h5");
  int checked = 0;
  for (const h5::Entry& entry : golden.group("te_mxfp8").entries()) {
    if (!entry.name.ends_with("_q")) continue;
    const std::string stem = "te_mxfp8/" + entry.name.substr(0, entry.name.size() - 2);
    Matrix matrix = read_matrix(golden, "inputs/" + input_of(entry.name));
    auto codes = read_codes(golden, stem + "_q"), scales = read_codes(golden, stem + "_e8m0");
    if (names(stem, "colwise")) {
      codes = turned(codes, matrix.rows, matrix.cols);
      scales = turned(scales, matrix.rows / 32, matrix.cols);
      matrix = matrix.transposed();
    }
    const Output out = run(fmt::format("mxfp8:format={}", names(stem, "e5m2") ? "e5m2" : "e4m3"),
                           operand_of(input_of(entry.name)), matrix);
    EXPECT_TRUE(same_bits(canonical(out.plan.format, codes), canonical(out.plan.format, out.codes))) << stem;
    EXPECT_TRUE(same_bits(scales, e8m0_codes(out))) << stem;
    ++checked;
  }
  EXPECT_EQ(checked, 14);
}

TEST(RecipeGolden, MxHasTorchaosCodesAndScalesForFloorAndRceil) {
  FP8SCOPE_OPEN_GOLDEN(golden, "scaling.h5");
  int checked = 0;
  for (const h5::Entry& entry : golden.group("torchao_mx").entries()) {
    const bool floor = names(entry.name, "_floor_q"), ceil = names(entry.name, "_rceil_q");
    if (!floor && !ceil) continue;
    const std::string stem = "torchao_mx/" + entry.name.substr(0, entry.name.size() - 2);
    std::string format;
    for (const char* name : {"e4m3", "e5m2", "e2m1", "e2m3", "e3m2"})
      if (names(stem, name)) format = name;
    const Output out = run(fmt::format("mxfp8:scale={}:specials=torchao:format={}",
                                       floor ? "floor" : "rceil", format),
                           operand_of(input_of(entry.name)), read_matrix(golden, "inputs/" + input_of(entry.name)));
    auto codes = out.codes;
    if (format == "e2m1") {  // two to a byte, the even column low
      for (std::size_t i = 0; i < codes.size() / 2; ++i)
        codes[i] = static_cast<std::uint16_t>(codes[2 * i] | codes[2 * i + 1] << 4);
      codes.resize(codes.size() / 2);
      EXPECT_TRUE(same_bits(read_codes(golden, stem + "_q"), codes)) << stem;
    } else {
      EXPECT_TRUE(same_bits(canonical(out.plan.format, read_codes(golden, stem + "_q")),
                            canonical(out.plan.format, codes))) << stem;
    }
    EXPECT_TRUE(same_bits(read_codes(golden, stem + "_e8m0"), e8m0_codes(out))) << stem;
    ++checked;
  }
  EXPECT_EQ(checked, 28);
}

TEST(RecipeGolden, TheScaleOfAnAmaxIsTransformerEngines) {
  FP8SCOPE_OPEN_GOLDEN(golden, "scaling.h5");
  const auto amaxes = golden.dataset("te_scale_from_amax/amax").values<float>();
  int checked = 0;
  for (const h5::Entry& entry : golden.group("te_scale_from_amax").entries()) {
    if (!entry.name.starts_with("scale_")) continue;
    std::vector<float> scales;
    for (const float amax : amaxes)
      scales.push_back(te_scale(amax, names(entry.name, "max448_") ? 448.0f : 57344.0f,
                                names(entry.name, "pow21"), names(entry.name, "eps0.0001") ? 1e-4f : 0.0f,
                                names(entry.name, "bf16max") ? bf16.max_value() : float_max));
    EXPECT_TRUE(same_bits(golden.dataset("te_scale_from_amax/" + entry.name).values<float>(), scales))
        << entry.name;
    ++checked;
  }
  EXPECT_EQ(checked, 16);
}

TEST(RecipeGolden, TheE8m0CodeAndItsReciprocalAreTransformerEngines) {
  FP8SCOPE_OPEN_GOLDEN(golden, "scaling.h5");
  std::vector<std::uint16_t> codes;
  for (const float v : golden.dataset("te_e8m0/f32").values<float>())
    codes.push_back(static_cast<std::uint16_t>(e8m0_ceil(v, 254)));
  EXPECT_TRUE(same_bits(read_codes(golden, "te_e8m0/code"), codes));
  std::vector<float> reciprocals;
  for (std::uint32_t code = 0; code < 256; ++code) reciprocals.push_back(e8m0_scales(code).scale);
  auto expected = golden.dataset("te_e8m0/exp2f_rcp_all_codes").values<float>();
  ASSERT_TRUE(is_nan(expected[255]) && is_nan(reciprocals[255]));
  expected.pop_back(), reciprocals.pop_back();
  EXPECT_TRUE(same_bits(expected, reciprocals));
}

}  // namespace
}  // namespace fp8scope
