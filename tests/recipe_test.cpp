#include "sim/recipe.hpp"

#include <gtest/gtest.h>

#include <limits>

#include "sim/names.hpp"

namespace fp8scope {
namespace {

float step(Recipe& recipe, float amax) {
  Scales scales;
  recipe.step({&amax, 1}, {&scales, 1});
  return scales.scale;
}

std::string message_of(const std::string& spec) {
  try {
    make_recipe(spec, {});
  } catch (const std::invalid_argument& error) {
    return error.what();
  }
  return "";
}

TEST(DelayedRecipe, SeesASpikeOneStepLate) {
  const auto recipe = make_recipe("te_delayed:amax_history_len=4", {});
  EXPECT_EQ(step(*recipe, 2.0f), 1.0f);      // no past
  EXPECT_EQ(step(*recipe, 100.0f), 224.0f);  // 448 / 2: the spike itself clips
  EXPECT_EQ(step(*recipe, 2.0f), 4.48f);     // and only then is seen
}

TEST(DelayedRecipe, ForgetsASpikeAfterItsHistory) {
  const auto recipe = make_recipe("te_delayed:amax_history_len=3", {});
  step(*recipe, 100.0f);
  for (int i = 0; i < 3; ++i) EXPECT_EQ(step(*recipe, 2.0f), 4.48f);
  EXPECT_EQ(step(*recipe, 2.0f), 224.0f);
}

TEST(DelayedRecipe, TellsTheAgeOfTheAmaxInUse) {
  const auto recipe = make_recipe("te_delayed:amax_history_len=3", {});
  EXPECT_EQ(recipe->amax_age(), -1);
  step(*recipe, 7.0f);
  EXPECT_EQ(recipe->amax_age(), 1);
  step(*recipe, 2.0f);
  EXPECT_EQ(recipe->amax_age(), 2);
  EXPECT_EQ(recipe->amax_in_use(), 7.0f);
  step(*recipe, 3.0f);
  step(*recipe, 2.0f);
  EXPECT_EQ(recipe->amax_age(), 2);  // the 3, two steps ago
  EXPECT_EQ(recipe->amax_in_use(), 3.0f);
}

TEST(DelayedRecipe, FreezesWhileAnInfinityIsInItsHistory) {
  const auto recipe = make_recipe("te_delayed:amax_history_len=2", {});
  step(*recipe, 2.0f);
  step(*recipe, std::numeric_limits<float>::infinity());
  EXPECT_EQ(step(*recipe, 8.0f), 224.0f);
  EXPECT_EQ(recipe->amax_in_use(), 2.0f);
  EXPECT_EQ(recipe->amax_age(), 3);
  step(*recipe, 8.0f);
  EXPECT_EQ(step(*recipe, 8.0f), 56.0f);
}

TEST(CurrentRecipe, UsesThisStepsAmax) {
  const auto recipe = make_recipe("te_current", {});
  EXPECT_EQ(step(*recipe, 2.0f), 224.0f);
  EXPECT_EQ(step(*recipe, 100.0f), 4.48f);
  EXPECT_EQ(recipe->amax_age(), 0);
}

TEST(Recipes, ScaleGradientsByTheE5m2OfTransformerEnginesHybrid) {
  EXPECT_EQ(make_recipe("te_current", {Role::gradient})->plan().format, e5m2);
  EXPECT_EQ(make_recipe("te_current", {Role::weight})->plan().format, e4m3);
  EXPECT_EQ(make_recipe("te_current:format=e4m3", {Role::gradient})->plan().format, e4m3);
  EXPECT_EQ(make_recipe("dsv3", {Role::gradient})->plan().format, e4m3);
  EXPECT_EQ(make_recipe("te_block", {Role::gradient})->plan().format, e4m3);
}

TEST(Recipes, GiveWeightsSquareBlocks) {
  for (const char* name : {"te_block", "dsv3"}) {
    EXPECT_EQ(make_recipe(name, {Role::weight})->plan().block, (BlockShape{128, 128})) << name;
    EXPECT_EQ(make_recipe(name, {Role::activation})->plan().block, (BlockShape{1, 128})) << name;
  }
  EXPECT_EQ(make_recipe("te_delayed", {Role::weight})->plan().block, BlockShape{});
}

TEST(Recipes, DeepSeeksScaleIsTheRoundedReciprocalOfItsDequantiseFactor) {
  const auto recipe = make_recipe("dsv3", {});
  Scales scales;
  const float amax = 1.3f;
  recipe->step({&amax, 1}, {&scales, 1});
  EXPECT_EQ(scales.scale_inv, 1.3f / 448.0f);
  EXPECT_EQ(scales.scale, 1.0f / (1.3f / 448.0f));
  const float zero = 0.0f;
  recipe->step({&zero, 1}, {&scales, 1});
  EXPECT_EQ(scales.scale_inv, 1e-4f / 448.0f);
}

TEST(Recipes, DescribeEveryRowAndMakeIt) {
  for (const NamedRecipe& row : recipes()) {
    EXPECT_FALSE(row.summary.empty()) << row.name;
    EXPECT_FALSE(row.version.empty()) << row.name;
    for (const NamedRole& role : roles) EXPECT_NE(make_recipe(row.name, {role.role}), nullptr);
  }
}

TEST(RecipeSpec, NamesWhatIsWrong) {
  EXPECT_EQ(message_of("te_delayde").find("unknown recipe 'te_delayde'; did you mean 'te_delayed'?"), 0u);
  EXPECT_NE(message_of("te_delayed:amax_history_length=3").find("did you mean 'amax_history_len'?"),
            std::string::npos);
  EXPECT_NE(message_of("te_delayed:margin=-1").find("margin=-1: wanted an integer from 0"), std::string::npos);
  EXPECT_NE(message_of("te_delayed:margin").find("is not key=value"), std::string::npos);
  EXPECT_NE(message_of("te_delayed:margin=1:margin=2").find("given twice"), std::string::npos);
  EXPECT_NE(message_of("te_block:block=0x128").find("wanted ROWSxCOLUMNS"), std::string::npos);
  EXPECT_NE(message_of("te_block:scales=fp16").find("wanted pow2 or fp32"), std::string::npos);
  EXPECT_NE(message_of("mxfp8:format=e8m0").find("wanted a signed element format"), std::string::npos);
  EXPECT_NE(message_of("te_current:amax_epsilon=nan").find("wanted a finite number"), std::string::npos);
}

}  // namespace
}  // namespace fp8scope
