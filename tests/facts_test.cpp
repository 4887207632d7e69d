// Facts that were measured with the libraries' own code on these inputs, out of replay() on the same inputs.
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "sim/amax.hpp"
#include "sim/operand.hpp"
#include "src/diff/recipe_diff.hpp"
#include "tests/golden.hpp"
#include "tests/replay_fixture.hpp"

namespace fp8scope {
namespace {

/// An input of the golden file as a trace of one step.
Fixture trace_of(const h5::Group& golden, const std::string& input, const std::string& operand) {
  const h5::Dataset dataset = golden.dataset("inputs/" + input);
  Fixture f;
  f.steps = {0};
  f.add("L0", operand, dataset.shape()[0], dataset.shape()[1], 1);
  f.data[0] = dataset.values<float>();
  if (!input.ends_with("bf16")) f.tensors[0].format = TensorKind{}.input, f.tensors[0].dtype = "float32";
  return f;
}

/// Share of the non-zero elements that became zero, in %.
double lost(const Fixture& f, const std::string& recipe) {
  ReplayOptions options;
  options.recipes = {recipe};
  double share = -1.0;
  replay(f.input(), options, [&](const ReplayItem& item) {
    const MomentSums& m = item.facts->moments();
    share = 100.0 * static_cast<double>(item.results[0].sums.underflow) / static_cast<double>(m.finite - m.zeros);
  });
  return share;
}

/// The same from the codes that the library made.
double lost(const h5::Group& golden, const std::string& input, const std::string& codes_name) {
  const auto x = golden.dataset("inputs/" + input).values<float>();
  const auto codes = golden.dataset(codes_name).values<std::int64_t>();
  std::uint64_t nonzero = 0, flushed = 0;
  for (std::size_t i = 0; i < x.size(); ++i) nonzero += x[i] != 0.0f, flushed += x[i] != 0.0f && (codes[i] & 0x7f) == 0;
  return 100.0 * static_cast<double>(flushed) / static_cast<double>(nonzero);
}

TEST(Facts, TheFloorOfDeepSeekFlushesElevenPercentOfASmallGradient) {
  FP8SCOPE_OPEN_GOLDEN(golden, "scaling.h5");
  const Fixture f = trace_of(golden, "grad_bf16", "dy");
  const struct {
    const char *recipe, *codes;
    double said;  // %, as published with the arrays
  } facts[] = {
      {"dsv3", "deepgemm/grad_bf16_token_g128_ue8m00_q", 11.9},
      {"te_block:scales=fp32", "te_blockwise/grad_bf16_e4m3_1x128_pow20_q", 2.1},
      {"te_block", "te_blockwise/grad_bf16_e4m3_1x128_pow21_q", 2.7},
      {"mxfp8", "te_mxfp8/grad_bf16_e4m3_rowwise_q", 1.2},
      {"te_current:format=e4m3", "te_current/grad_bf16_e4m3_pow20_eps0_q", 11.5},
      {"te_current", "te_current/grad_bf16_e5m2_pow20_eps0_q", 0.0},
  };
  for (const auto& fact : facts) {
    const double ours = lost(f, fact.recipe);
    EXPECT_EQ(ours, lost(golden, "grad_bf16", fact.codes)) << fact.recipe;
    EXPECT_NEAR(ours, fact.said, 0.06) << fact.recipe;
  }
  EXPECT_GT(std::abs(lost(f, "dsv3:amax_floor=0") - 11.9), 5.0);  // it is the floor
}

/// Differences of scales and codes over the blocks whose amax is at least 1e-4.
void diff_above_the_floor(const RecipeDiff& d, CodeDiff& scales, CodeDiff& codes) {
  const WholeCast &a = *d.first, &b = *d.second;
  std::vector<float> amaxes(a.grid.blocks());
  block_amax(AmaxRule::ignore_nan, a.grid, d.x, amaxes);
  for (std::size_t i = 0; i < amaxes.size(); ++i)
    if (amaxes[i] >= 1e-4f) scales.add(fp32, 0, float_bits(a.scales[i].scale_inv), float_bits(b.scales[i].scale_inv));
  for (std::int64_t r = 0; r < a.grid.rows; ++r)
    for (std::int64_t c = 0; c < a.grid.cols; ++c)
      if (amaxes[a.grid.block(r, c)] >= 1e-4f) codes.add(e4m3, 0, a.codes[a.grid.element(r, c)], b.codes[a.grid.element(r, c)]);
}

TEST(Facts, AThirdOfTheFactorsDifferBetweenTransformerEngineAndDeepGemm) {
  FP8SCOPE_OPEN_GOLDEN(golden, "scaling.h5");
  CodeDiff scales, codes, pow2_scales, pow2_codes;
  for (const char* input : {"act_bf16", "act_f32", "wt_bf16"}) {
    const Fixture f = trace_of(golden, input, "x");
    diff_recipes(f.input(), "te_block:scales=fp32", "dsv3", {}, [&](const RecipeDiff& d) { diff_above_the_floor(d, scales, codes); });
    diff_recipes(f.input(), "te_block", "dsv3:scales=ue8m0", {},
                 [&](const RecipeDiff& d) { diff_above_the_floor(d, pow2_scales, pow2_codes); });
  }
  EXPECT_GT(scales.compared, 900u);
  EXPECT_GT(scales.share(), 0.28);
  EXPECT_LT(scales.share(), 0.40);
  EXPECT_EQ(scales.steps[0], scales.differ);  // one unit in the last place
  EXPECT_LT(codes.share(), 5e-4);
  EXPECT_EQ(pow2_scales.differ, 0u);
  EXPECT_EQ(pow2_codes.differ, 0u);
}

TEST(Facts, AnInfinityFreezesADelayedScale) {
  Fixture f;
  for (std::int64_t s = 0; s < 12; ++s) f.history.step.push_back(s);
  f.steps = f.history.step;
  f.add("L0", "dy", 4, 4, 1);
  f.history.slot = {"L0/dy"};
  for (std::int64_t s = 0; s < 12; ++s)
    f.history.amax.push_back(s == 2 ? std::numeric_limits<float>::infinity() : std::ldexp(1.0f, static_cast<int>(s)));
  ReplayOptions options;
  options.recipes = {"te_delayed:amax_history_len=4:format=e4m3", "te_delayed:amax_history_len=1024:format=e4m3"};
  std::vector<std::int64_t> frozen_short, frozen_long;
  std::vector<float> scale_long;
  replay(f.input(), options, [&](const ReplayItem& item) {
    frozen_short.push_back(item.results[0].frozen), frozen_long.push_back(item.results[1].frozen);
    scale_long.push_back(item.results[1].scale_inv_max);
  });
  EXPECT_EQ(frozen_short, (std::vector<std::int64_t>{0, 0, 0, 1, 2, 3, 4, 0, 0, 0, 0, 0}));
  EXPECT_EQ(frozen_long.back(), 9);
  for (std::size_t s = 2; s < scale_long.size(); ++s) EXPECT_EQ(scale_long[s], scale_long[2]);
}

TEST(Facts, TorchaosRemovedDelayedScalingSaturatesTheTensorAfterAWindowOfZeros) {
  Fixture f;
  f.steps = {0, 1, 2, 3, 4, 5};
  f.add("L0", "x", 8, 16, 1);
  for (std::size_t s = 0; s < 6; ++s) std::ranges::fill(f.of_step(0, s), s == 4 ? 2.0f : 0.0f);
  ReplayOptions options;
  options.recipes = {"torchao_delayed:history_len=4"};
  std::vector<float> scale;
  std::vector<std::uint64_t> clipped;
  replay(f.input(), options, [&](const ReplayItem& item) {
    scale.push_back(1.0f / item.results[0].scale_inv_max);
    clipped.push_back(item.results[0].sums.clipped);
  });
  EXPECT_NEAR(scale[4] / 4.48e14, 1.0, 1e-6);
  EXPECT_EQ(clipped[4], 128u);  // every element
  EXPECT_FLOAT_EQ(scale[5], 224.0f);
}

TEST(Facts, LibrariesThatAgreeAgree) {
  FP8SCOPE_OPEN_GOLDEN(golden, "scaling.h5");
  const struct {
    const char *first, *second;
  } pairs[] = {
      {"te_mxfp8", "torchao_mx:scale=rceil"},                          // on finite data
      {"torchao_mx", "microxcaling:element.rounding=nearest-even"},    // floor
      {"te_nvfp4:sr=off", "torchao_nvfp4_training:sr=off"},
  };
  for (const auto& [first, second] : pairs)
    for (const char* input : {"act_bf16", "grad_bf16"})
      diff_recipes(trace_of(golden, input, "x").input(), first, second, {}, [&](const RecipeDiff& d) {
        EXPECT_EQ(d.scales.differ + d.codes.differ + d.values, 0u) << first << " " << second << " " << input;
      });
  CodeDiff away;
  diff_recipes(trace_of(golden, "act_bf16", "x").input(), "torchao_mx", "microxcaling", {},
               [&](const RecipeDiff& d) { away.merge(d.codes); });
  EXPECT_GT(away.differ, 0u);  // microxcaling rounds ties away
}

TEST(Facts, DeepGemmsFirstReleaseDiffersInOneCodeOfAThousand) {
  FP8SCOPE_OPEN_GOLDEN(golden, "scaling.h5");
  CodeDiff codes;
  for (const char* input : {"act_bf16", "grad_bf16", "wt_bf16"})
    diff_recipes(trace_of(golden, input, "x").input(), "dsv3", "dsv3:version=2025-02", {},
                 [&](const RecipeDiff& d) { codes.merge(d.codes); });
  EXPECT_GT(codes.share(), 1e-4);
  EXPECT_LT(codes.share(), 3e-3);
  EXPECT_EQ(codes.steps[0], codes.differ);
}

}  // namespace
}  // namespace fp8scope
