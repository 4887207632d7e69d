// Facts that were measured with the libraries' own code on these inputs, out of replay() on the same inputs.
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

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

double to_a_tenth(double percent) { return std::round(10.0 * percent) / 10.0; }

TEST(Facts, TheFloorOfDeepSeekFlushesElevenPercentOfASmallGradient) {
  FP8SCOPE_OPEN_GOLDEN(golden, "scaling.h5");
  const Fixture f = trace_of(golden, "grad_bf16", "dy");
  EXPECT_EQ(to_a_tenth(lost(f, "dsv3")), 11.9);
  EXPECT_EQ(to_a_tenth(lost(f, "te_block")), 2.1);
  EXPECT_EQ(to_a_tenth(lost(f, "mxfp8")), 1.2);
  EXPECT_EQ(to_a_tenth(lost(f, "te_current:format=e4m3")), 11.5);
  EXPECT_EQ(to_a_tenth(lost(f, "te_current")), 0.0);  // E5M2
}

TEST(Facts, AThirdOfTheFactorsDifferBetweenTransformerEngineAndDeepGemm) {
  FP8SCOPE_OPEN_GOLDEN(golden, "scaling.h5");
  CodeDiff scales, codes, pow2_scales, pow2_codes;
  for (const char* input : {"act_bf16", "act_f32"}) {
    const Fixture f = trace_of(golden, input, "x");
    diff_recipes(f.input(), "te_block:scales=fp32", "dsv3:amax_floor=0", {}, [&](const RecipeDiff& d) {
      scales.merge(d.scales), codes.merge(d.codes);
    });
    diff_recipes(f.input(), "te_block", "dsv3:scales=ue8m0", {}, [&](const RecipeDiff& d) {
      const WholeCast &a = *d.first, &b = *d.second;
      for (std::size_t i = 0; i < a.scales.size(); ++i) {
        const float one = a.scales[i].scale_inv, other = b.scales[i].scale_inv;
        if (one * 448.0f >= 1e-4f) pow2_scales.add(e8m0, 0, e8m0_code(one), e8m0_code(other));
      }
    });
  }
  EXPECT_GT(scales.share(), 0.25);
  EXPECT_LT(scales.share(), 0.42);
  EXPECT_LT(codes.share(), 1e-3);
  EXPECT_EQ(pow2_scales.differ, 0u);
  EXPECT_GT(pow2_scales.compared, 300u);
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
