#include "sim/recipe.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>

#include "sim/names.hpp"
#include "sim/quantize.hpp"
#include "sim/tensor_cast.hpp"

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

/// What a recipe makes of [2, 256] under a role: values of the codes.
std::vector<float> cast_values(std::string_view recipe, Role role, const std::vector<float>& x) {
  const auto made = make_recipe(recipe, {role});
  const Plan& plan = made->plan();
  const BlockGrid grid(2, static_cast<std::int64_t>(x.size()) / 2, plan.block);
  if (const ScaleRule* rule = made->block_rule()) return tensor_values(plan, grid, cast_tensor(plan, *rule, grid, false, x));
  const float amax = std::fabs(*std::ranges::max_element(x, {}, [](float v) { return std::fabs(v); }));
  Scales scales;
  made->step({&amax, 1}, {&scales, 1});
  std::vector<float> values;
  for (const float v : x)
    values.push_back(decode(plan.format, quantize_element(plan.format, v, scales.scale, plan.cast, {}, plan.apply)) * scales.scale_inv);
  return values;
}

// Gradients of a model have blocks of zeros: of tokens that a layer does not see, of experts without tokens.
TEST(Recipes, MakeZerosOfZeros) {
  // These divide by 0 as the code does that they follow.
  const auto divides_by_zero = [](std::string_view name, Role role, bool whole) {
    return (name == "dsv3_infer" && role == Role::weight) || (whole && name == "torchao_nvfp4");
  };
  for (const NamedRecipe& row : recipes())
    for (const NamedRole& role : roles)
      for (const bool whole : {false, true}) {
        if (make_recipe(row.name, {role.role})->plan().codec != Codec::none) continue;
        std::vector<float> x(2 * 256, 0.0f);
        if (!whole) x[7] = 1e-3f, x[40] = -2e-3f, x[256 + 7] = 3e-4f, x[256 + 100] = 1e-3f;  // the right half is 0
        const auto values = cast_values(row.name, role.role, x);
        const bool nan = std::ranges::any_of(values, [](float v) { return is_nan(v); });
        EXPECT_EQ(nan, divides_by_zero(row.name, role.role, whole)) << row.name << " " << role.name << (whole ? ", all 0" : "");
      }
}

// fminf(NaN, 448) is 448, and the factor of a tensor of zeros is 0: zeros come back, under code 0x7e. Per token the
// factor has a floor, and elements are divided by it.
TEST(VllmTensor, MultipliesByTheReciprocalAndClampsNan) {
  const auto tensor = make_recipe("vllm_tensor", {}), token = make_recipe("vllm_tensor:block=token", {});
  const std::vector<float> zeros(2 * 256, 0.0f);
  const BlockGrid whole(2, 256, tensor->plan().block), rows(2, 256, token->plan().block);
  const TensorCodes of_zeros = cast_tensor(tensor->plan(), *tensor->block_rule(), whole, false, zeros);
  EXPECT_EQ(of_zeros.scales[0].scale_inv, 0.0f);
  EXPECT_EQ(of_zeros.codes[3], 0x7e);
  const TensorCodes of_rows = cast_tensor(token->plan(), *token->block_rule(), rows, false, zeros);
  EXPECT_EQ(of_rows.scales[1].scale_inv, 1.0f / (448.0f * 512.0f));
  EXPECT_EQ(of_rows.codes[3], 0);

  std::mt19937 random(3);
  std::vector<float> x(2 * 256);
  for (float& v : x) v = to_bf16(std::normal_distribution<float>(0.0f, 3.0f)(random));
  x[300] = std::numeric_limits<float>::quiet_NaN();
  float amax[2] = {};
  for (int i = 0; i < 512; ++i) amax[i / 256] = std::fmax(amax[i / 256], std::fabs(x[i]));
  const float s = std::fmax(amax[0], amax[1]) / 448.0f, inverse = 1.0f / s;
  const TensorCodes by_tensor = cast_tensor(tensor->plan(), *tensor->block_rule(), whole, false, x);
  const TensorCodes by_token = cast_tensor(token->plan(), *token->block_rule(), rows, false, x);
  for (int i = 0; i < 512; ++i) {
    EXPECT_EQ(by_tensor.codes[i], encode(e4m3, std::fmax(-448.0f, std::fmin(x[i] * inverse, 448.0f)))) << i;
    EXPECT_EQ(by_token.codes[i], encode(e4m3, std::fmax(-448.0f, std::fmin(x[i] / (amax[i / 256] / 448.0f), 448.0f)))) << i;
  }
}

// fmaxf(NaN, -448) comes first.
TEST(VllmGroup, ClampsNanFromBelow) {
  const auto made = make_recipe("vllm_group", {});
  std::vector<float> x(2 * 128, 1.0f);
  x[5] = std::numeric_limits<float>::quiet_NaN();
  EXPECT_EQ(cast_tensor(made->plan(), *made->block_rule(), BlockGrid(2, 128, made->plan().block), false, x).codes[5], 0xfe);
}

// quant = amax != 0 ? 448 / amax : 1, factor 1 / quant; or the factor rounded up to a power of two and turned over.
TEST(TrtLlm1x128, IsItsTwoLinesForEveryBfloat16) {
  const ScaleRule fp32 = *make_recipe("trtllm_1x128", {})->block_rule();
  const ScaleRule ue8m0 = *make_recipe("trtllm_1x128:scales=ue8m0", {})->block_rule();
  for (std::uint32_t word = 0; word <= inf_bits >> 16; ++word) {
    const float amax = bits_float(word << 16), quant = amax != 0.0f ? 448.0f / amax : 1.0f;
    const Scales s = block_scales(fp32, amax);
    EXPECT_EQ(s.scale, quant) << amax;
    EXPECT_EQ(s.scale_inv, 1.0f / quant) << amax;
    if (amax < 0x1p-110f && amax != 0.0f) continue;  // the factor would leave E8M0
    if (!is_finite(amax)) continue;
    const float raw = 1.0f / quant, factor = std::exp2(std::ceil(std::log2(static_cast<double>(raw))));
    EXPECT_EQ(block_scales(ue8m0, amax).scale_inv, factor) << amax;
    EXPECT_EQ(block_scales(ue8m0, amax).scale, 1.0f / factor) << amax;
  }
}

// The tensor factor 448 / amax times the local 2^127 of a block of zeros was infinite, and infinity times 0 is NaN.
TEST(MossRecipe, KeepsTheMultiplierOfEveryBlockFinite) {
  const auto made = make_recipe("moss", {});
  for (const float tensor : {0.0f, 0x1p-149f, 1e-40f, 1e-30f, 1e-3f, 1.0f, 448.0f, 1e30f, float_max}) {
    const ScaleRule rule = with_tensor_amax(*made->block_rule(), tensor);
    for (const float block : {0.0f, 0x1p-149f, 1e-40f, 1e-35f, 1e-30f, 1e-3f, 1.0f, 448.0f, 1e30f, float_max}) {
      if (block > tensor) continue;
      const Scales s = block_scales(rule, block);
      EXPECT_TRUE(is_finite(s.scale) && s.scale > 0.0f) << tensor << " " << block;
      EXPECT_TRUE(is_finite(s.scale_inv) && s.scale_inv > 0.0f) << tensor << " " << block;
      EXPECT_LE(block * s.scale, 448.0f * 1.0001f) << tensor << " " << block;
      if (block > 1e-34f) {
        EXPECT_NEAR(s.scale * s.scale_inv, 1.0f, 1e-6f) << tensor << " " << block;
      }
      if (block >= 1e-3f * tensor && block > 1e-30f) {
        EXPECT_GT(block * s.scale, 223.9f) << tensor << " " << block;
      }
    }
  }
}

TEST(MossRecipe, MeasuresItsWeightsAtTheFirstStep) {
  std::vector<float> w(2 * 256);
  for (std::size_t i = 0; i < w.size(); ++i) w[i] = std::sin(static_cast<float>(i)) * 0.02f;
  const auto values = cast_values("moss", Role::weight, w);
  for (std::size_t i = 0; i < w.size(); ++i) EXPECT_NEAR(values[i], w[i], 0.0625f * std::fabs(w[i]) + 1e-6f);
}

TEST(RecipeSpec, NamesWhatIsWrong) {
  EXPECT_EQ(message_of("DSv3").find("unknown recipe 'DSv3'; did you mean 'dsv3'?"), 0u) << message_of("DSv3");
  EXPECT_EQ(message_of("dsv3 mxfp8").find("unknown recipe 'dsv3 mxfp8' (part names by commas);"), 0u) << message_of("dsv3 mxfp8");
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
