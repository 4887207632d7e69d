#include "src/replay.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <fstream>
#include <limits>
#include <map>
#include <nlohmann/json.hpp>
#include <random>

#include "sim/quantize.hpp"
#include "sim/simd/codec.hpp"
#include "sim/simd/isa.hpp"
#include "sim/tensor_cast.hpp"
#include "src/errors.hpp"
#include "src/gemm_replay.hpp"
#include "src/stable_log.hpp"
#include "tests/golden.hpp"
#include "tests/replay_fixture.hpp"

namespace fp8scope {
namespace {

const std::vector<std::string> five{"te_delayed:amax_history_len=2", "te_current", "te_block", "dsv3",
                                    "mxfp8:block=1"};

/// Everything that a replay says, in its order.
std::vector<double> everything(const ReplayInput& input, const ReplayOptions& options) {
  std::vector<double> all;
  replay(input, options, [&](const ReplayItem& item) {
    for (const CastResult& result : item.results) {
      for (const Statistic& s : statistics()) all.push_back(s.value(*item.facts, result));
      for (const Count& c : counts()) all.push_back(static_cast<double>(c.value(*item.facts, result)));
    }
    all.insert(all.end(), item.facts->exponents().begin(), item.facts->exponents().end());
  });
  return all;
}

bool same_doubles(const std::vector<double>& a, const std::vector<double>& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(double)) == 0;
}

TEST(Replay, GivesTheSameBitsForAnyThreadsInstructionsAndMemory) {
  const Fixture f = mixed();
  ReplayOptions options;
  options.recipes = five;
  options.gemms = "all";
  const std::vector<double> expected = everything(f.input(), options);
  ASSERT_GT(expected.size(), 1000u);
  for (const NamedIsa& target : isas) {
    if (!isa_supported(target.isa)) continue;
    set_isa(target.isa);
    for (const int threads : {1, 2, 4})
      for (const std::uint64_t memory : {std::uint64_t{1} << 30, std::uint64_t{320000}}) {
        options.threads = threads;
        options.max_memory = memory;
        EXPECT_TRUE(same_doubles(expected, everything(f.input(), options)))
            << target.name << " " << threads << " threads, " << memory << " bytes";
      }
  }
  set_isa(Isa::automatic);
}

/// A second implementation: whole tensors, the scalar reference, long double.
struct Reference {
  long double noise = 0, power = 0, bulk_noise = 0, bulk_power = 0;
  std::uint64_t lost = 0, underflow = 0;
};

Reference measure(const Plan& plan, const BlockShape& block, std::int64_t rows, std::int64_t cols,
                  std::span<const float> x, Recipe& recipe, float bulk) {
  const BlockGrid grid(rows, cols, block);
  std::vector<float> amaxes(grid.blocks()), y(x.size());
  std::vector<Scales> scales(grid.blocks());
  std::vector<std::uint16_t> codes(x.size());
  block_amax(plan.amax_rule, grid, x, amaxes);
  recipe.step(amaxes, scales);
  quantize(plan.format, plan.cast, grid, x, scales, codes);
  dequantize(plan.format, grid, codes, scales, y);
  Reference sums;
  for (std::size_t i = 0; i < x.size(); ++i) {
    if (!is_finite(x[i])) continue;
    sums.power += static_cast<long double>(x[i]) * x[i];
    const bool in_bulk = std::fabs(x[i]) <= bulk;
    if (in_bulk) sums.bulk_power += static_cast<long double>(x[i]) * x[i];
    if (!is_finite(y[i])) {
      ++sums.lost;
      continue;
    }
    const long double e = static_cast<long double>(x[i]) - y[i];
    sums.noise += e * e;
    if (in_bulk) sums.bulk_noise += e * e;
    sums.underflow += x[i] != 0.0f && decode(plan.format, codes[i]) == 0.0f;
  }
  return sums;
}

TEST(Replay, EqualsTheScalarReferenceForEveryOnlineRecipeInBothDirections) {
  Fixture f = mixed();
  ReplayOptions options;
  options.recipes = {"te_current", "te_block", "dsv3", "dsv3:scales=ue8m0", "te_block:block=32x64:scales=fp32",
                     "mxfp8:block=1:scale=floor", "te_current:format=e3m4", "te_current:format=e5m6"};
  options.gemms = "all";
  int compared = 0;
  replay(f.input(), options, [&](const ReplayItem& item) {
    const TensorInfo& info = f.tensors[item.tensor];
    const Role role = info.operand == "w" ? Role::weight : info.operand == "x" ? Role::activation : Role::gradient;
    // The bulk limit by sorting: at most one in a thousand of the finite elements lies above it.
    std::vector<float> sorted;
    for (const float v : f.of_step(item.tensor, item.step))
      if (is_finite(v)) sorted.push_back(std::fabs(v));
    std::ranges::sort(sorted, std::greater<>());
    EXPECT_EQ(float_bits(item.facts->bulk_limit()) >> 16, float_bits(sorted[sorted.size() / 1000]) >> 16);
    for (std::size_t i = 0; i < item.casts.size(); ++i) {
      const ReplayCast& cast = item.casts[i];
      const auto recipe = make_recipe(options.recipes[cast.recipe], {role, bf16});
      // The second use of every tensor here contracts its rows: blocks lie down, not across.
      BlockShape block = recipe->plan().block;
      if (cast.gemm != info.gemms.front().gemm) std::swap(block.rows, block.cols);
      EXPECT_EQ(cast.block, block);
      const Reference want = measure(cast.plan, cast.block, info.rows, info.cols, f.of_step(item.tensor, item.step),
                                     *recipe, item.facts->bulk_limit());
      const CastResult& got = item.results[i];
      const std::string where = info.name() + " " + options.recipes[cast.recipe] + " " + cast.gemm;
      EXPECT_NEAR(got.sums.noise() / static_cast<double>(want.noise), 1.0, 1e-6) << where;
      EXPECT_NEAR(item.facts->moments().power2 / static_cast<double>(want.power), 1.0, 1e-12) << where;
      EXPECT_NEAR(got.bulk_power / static_cast<double>(want.bulk_power), 1.0, 1e-12) << where;
      EXPECT_NEAR(got.sums.noise_bulk / static_cast<double>(want.bulk_noise), 1.0, 1e-6) << where;
      EXPECT_EQ(got.sums.lost, want.lost) << where;
      EXPECT_EQ(got.sums.underflow, want.underflow) << where;
      ++compared;
    }
  });
  EXPECT_EQ(compared, 3 * 3 * 2 * 8);
}

/// Layers whose sides are multiples of 16, with what is hard about them.
Fixture sixteens() {
  Fixture f;
  f.add("L0", "x", 224, 160, 1);
  f.add("L0", "w", 128, 160, 2);
  f.add("L0", "dy", 64, 128, 3);
  f.of_step(0, 1)[1000] = std::numeric_limits<float>::quiet_NaN();
  f.of_step(1, 0)[5] = 3000.0f;
  std::ranges::fill(f.of_step(2, 1), 0.0f);  // a factor of 0: some kernels clamp its NaNs
  return f;
}

const std::vector<std::string> second_kinds{
    "te_nvfp4:sr=off", "te_nvfp4", "te_nvfp4:row_scaled=on", "te_nvfp4:4over6=mse:weights=1d", "te_nvfp4:rht=off:4over6=mae",
    "torchao_nvfp4", "torchao_nvfp4:levels=1", "moss", "coat", "vllm_group", "vllm_tensor", "vllm_tensor:block=token", "vllm_tensor:apply=divide", "dsv3_infer:scales=ue8m0", "microxcaling",
    "microxcaling:round=floor:format=int8", "deepgemm_fp4", "tilekernels_e5m6", "tilekernels_e5m6:e5m6=rne",
    "torchao_rowwise_with_gw_hp", "logfmt", "coat_optimizer", "torchao_mx:scale=even:format=e2m3", "sglang_group:scales=row_ue8m0", "unit_scaling_library",
    "te_current:hadamard.size=16", "te_current:hadamard.size=16:tile.shape=allx1", "torchao_rowwise:hadamard.size=16",
    "te_current:hadamard.size=16:tile.shape=allx16:amax.nan=propagate", "dsv3:element.rounding=toward-zero", "dsv3:element.rounding=nearest-away"};

TEST(Replay, DrivesAutomaticScalingByTheShareOfSaturatedCodesOfEveryStep) {
  Fixture f;
  f.steps.clear();
  for (std::int64_t s = 0; s < 24; ++s) f.steps.push_back(s);
  f.add("L0", "dy", 8, 64, 24);
  std::mt19937 random(4);
  for (std::int64_t s = 0; s < 24; ++s) {
    const std::span<float> x = f.of_step(0, s);
    // Flat steps saturate many codes: their amax rounds to MAX under any scale of the rule; others few.
    const bool flat = s % 5 != 0;
    for (std::size_t i = 0; i < x.size(); ++i) x[i] = to_bf16(flat ? 7.0f : std::ldexp(1.0f, -static_cast<int>(random() % 9)));
    x[0] = s > 12 ? 7000.0f : 7.0f;  // beyond MAX the scale is a reciprocal and mu divides it
  }
  ReplayOptions options;
  const std::string start = "msamp_weight_grad:mu=0.35355338:";
  options.recipes = {start + "auto=r1e-3_w100:history.mu_frequency=3", start + "auto=r1e-5_w1000", start + "auto=r1e-3_w100:auto_ratio=0.9",
                     start + "auto=off"};
  const struct {
    float ratio;
    int window, frequency;
  } rules[] = {{1e-3f, 100, 3}, {1e-5f, 1000, 1}, {0.9f, 100, 10}, {2.0f, 1, 1 << 20}};
  std::vector<float> mu(4, 0.35355338f), previous(4, 1.0f);
  int halved = 0, grown = 0;
  replay(f.input(), options, [&](const ReplayItem& item) {
    const std::span x = f.of_step(0, static_cast<std::int64_t>(item.step));
    float amax = 0.0f;
    for (const float v : x) amax = std::max(amax, std::fabs(v));
    for (std::size_t r = 0; r < 4; ++r) {
      // MS-AMP pull request 140, in time: 2^|e| mu, or its reciprocal.
      const int e = static_cast<int>(std::floor(std::log2(448.0f / amax)));
      const float size = std::ldexp(1.0f, std::abs(e)) * mu[r], scale = e < 0 ? 1.0f / size : size;
      EXPECT_EQ(item.results[r].scale_inv_min, 1.0f / scale) << options.recipes[r] << " step " << item.step;
      std::size_t saturated = 0;
      for (const float v : x) saturated += (encode(e4m3, v * scale) & 0x7f) == 0x7e;
      const float share = static_cast<float>(saturated) / static_cast<float>(x.size());
      if ((item.step + 1) % rules[r].frequency != 0) continue;
      const bool above = share > rules[r].ratio;
      mu[r] = above ? mu[r] / 2.0f : mu[r] * static_cast<float>(std::exp2(1.0 / rules[r].window));
      above ? ++halved : ++grown;
    }
  });
  EXPECT_GT(halved, 3);
  EXPECT_GT(grown, 10);
}

/// Sum of squared errors of a codec over the tiles of a tensor.
double codec_noise(Codec codec, const BlockGrid& grid, bool turned, std::span<const float> x) {
  double noise = 0.0;
  for (std::int64_t i = 0; i < grid.down(); ++i)
    for (std::int64_t j = 0; j < grid.across(); ++j) {
      std::vector<float> tile;
      const std::int64_t length = turned ? grid.block_rows : grid.block_cols;
      for (std::int64_t k = 0; k < length; ++k) {
        const std::int64_t r = turned ? i * grid.block_rows + k : i, c = turned ? j : j * grid.block_cols + k;
        if (r < grid.rows && c < grid.cols) tile.push_back(x[grid.element(r, c)]);
      }
      std::vector<float> y(tile.size());
      codec_values(codec, tile, y);
      for (std::size_t k = 0; k < tile.size(); ++k)
        if (is_finite(tile[k])) noise += static_cast<double>(tile[k] - y[k]) * (tile[k] - y[k]);
    }
  return noise;
}

TEST(Replay, EqualsTheWholeTensorCastOfEveryKindOfRecipeForEveryProduct) {
  Fixture f = sixteens();
  ReplayOptions options;
  options.recipes = second_kinds;
  options.gemms = "all";
  int compared = 0;
  replay(f.input(), options, [&](const ReplayItem& item) {
    const TensorInfo& info = f.tensors[item.tensor];
    const auto* role = std::ranges::find(roles, info.operand, &NamedRole::operand);
    for (std::size_t i = 0; i < item.casts.size(); ++i) {
      const ReplayCast& cast = item.casts[i];
      const auto* gemm = std::ranges::find(gemm_uses, cast.gemm, &NamedGemm::name);
      const auto recipe = make_recipe(options.recipes[cast.recipe], {role->role, bf16, gemm->gemm});
      const bool turned = std::ranges::find(info.gemms, cast.gemm, &GemmUse::gemm)->axis == 1;
      const auto* rule = recipe->block_rule();
      if (!rule) continue;
      const std::span x = f.of_step(item.tensor, item.step);
      const BlockGrid grid(info.rows, info.cols, cast.block);
      if (cast.plan.codec != Codec::none) {
        const double noise = codec_noise(cast.plan.codec, grid, turned, x);
        EXPECT_NEAR(item.results[i].sums.noise(), noise, 1e-9 * noise) << cast.gemm;
        continue;
      }
      const TensorCodes codes = cast_tensor(recipe->plan(), *rule, grid, turned, x);
      const std::vector<float> y = tensor_values(recipe->plan(), grid, codes);
      long double noise = 0;
      std::uint64_t lost = 0, underflow = 0;
      for (std::size_t e = 0; e < x.size(); ++e) {
        if (!is_finite(codes.x[e])) continue;
        if (!is_finite(y[e])) {
          ++lost;
          continue;
        }
        const float d = codes.x[e] - y[e];
        noise += static_cast<long double>(d) * d;
        underflow += codes.x[e] != 0.0f && decode(cast.plan.format, codes.codes[e]) == 0.0f;
      }
      const CastResult& got = item.results[i];
      const std::string where = info.name() + " " + options.recipes[cast.recipe] + " " + cast.gemm;
      if (noise > 0) {
        EXPECT_NEAR(got.sums.noise() / static_cast<double>(noise), 1.0, 1e-9) << where;
      }
      EXPECT_EQ(got.sums.lost, lost) << where;
      EXPECT_EQ(got.sums.underflow, underflow) << where;
      ++compared;
    }
  });
  EXPECT_GE(compared, 3 * 3 * 2 * 22);
}

TEST(Replay, GivesTheSameBitsOfEveryKindOfRecipeForAnyThreadsInstructionsAndMemory) {
  const Fixture f = sixteens();
  ReplayOptions options;
  options.recipes = second_kinds;
  options.gemms = "all";
  const std::vector<double> expected = everything(f.input(), options);
  for (const Isa target : {Isa::scalar, Isa::automatic}) {
    set_isa(target);
    for (const std::uint64_t memory : {std::uint64_t{1} << 30, std::uint64_t{250000}}) {
      options.threads = 2;
      options.max_memory = memory;
      EXPECT_TRUE(same_doubles(expected, everything(f.input(), options))) << isa_name(target) << " " << memory;
    }
  }
  set_isa(Isa::automatic);
}

TEST(Replay, StepsDelayedRecipesThroughTheUnrecordedPast) {
  Fixture f;
  f.add("L0", "x", 16, 16, 1);
  for (std::size_t s = 0; s < 3; ++s) std::ranges::fill(f.of_step(0, s), s == 1 ? 64.0f : 1.0f);
  f.history.step = {0, 1, 2, 3, 4, 5};
  f.history.slot = {"L0.other/x", "L0/x"};
  for (const float a : {1.0f, 8.0f, 2.0f, 1.0f, 64.0f, 1.0f}) f.history.amax.insert(f.history.amax.end(), {9.0f, a});
  ReplayOptions options;
  options.recipes = {"te_delayed:amax_history_len=2"};
  std::vector<double> scale, age, clipped, staleness, headroom;
  replay(f.input(), options, [&](const ReplayItem& item) {
    const CastResult& r = item.results[0];
    scale.push_back(1.0 / r.scale_inv_max);
    age.push_back(static_cast<double>(r.age));
    clipped.push_back(static_cast<double>(r.sums.clipped));
    staleness.push_back(r.amax_in_use / r.amax);
    headroom.push_back(stable_log2(r.headroom));
  });
  for (std::size_t s = 0; s < 3; ++s) {  // from 8, 2, 64
    EXPECT_NEAR(scale[s], (std::vector<double>{56.0, 224.0, 7.0})[s], 1e-4);
    EXPECT_NEAR(headroom[s], (std::vector<double>{3.0, -5.0, 6.0})[s], 1e-6);
  }
  EXPECT_EQ(age, (std::vector<double>{2, 2, 1}));
  EXPECT_EQ(clipped, (std::vector<double>{0, 256, 0}));
  EXPECT_EQ(staleness, (std::vector<double>{8.0, 2.0 / 64.0, 64.0}));
}

TEST(Replay, StepsDelayedRecipesThroughTheTensorsWhereThereIsNoHistory) {
  Fixture f;
  f.add("L0", "x", 8, 8, 1);
  for (std::size_t s = 0; s < 3; ++s) std::ranges::fill(f.of_step(0, s), static_cast<float>(s + 1));
  ReplayOptions options;
  options.recipes = {"te_delayed"};
  std::vector<float> scale_inv;
  replay(f.input(), options, [&](const ReplayItem& item) { scale_inv.push_back(item.results[0].scale_inv_max); });
  EXPECT_EQ(scale_inv, (std::vector<float>{1.0f, 1.0f / 448.0f, 1.0f / 224.0f}));
}

TEST(Replay, TakesTheAmaxOfTheWholeOperandWhereOnlySomeRowsWereRecorded) {
  Fixture f;
  f.add("L0", "w", 8, 8, 1);
  f.tensors[0].row_sampling = "first";
  f.history.step = {3, 4, 5};
  f.history.slot = {"L0/w"};
  f.history.amax = {896.0f, 896.0f, 896.0f};
  ReplayOptions options;
  options.recipes = {"te_current"};
  replay(f.input(), options, [&](const ReplayItem& item) {
    EXPECT_EQ(item.results[0].scale_inv_max, 2.0f);
    EXPECT_EQ(item.results[0].amax, 896.0f);
  });
}

TEST(Replay, SaysWhichTensorIsWrong) {
  Fixture f = mixed();
  ReplayOptions options;
  options.recipes = {"mxfp8"};
  try {
    replay(f.input(), options, [](const ReplayItem&) {});
    FAIL();
  } catch (const DataError& error) {
    EXPECT_NE(std::string(error.what()).find("L0/x: recipe mxfp8: shape [200, 300] is no multiple of 1x32"),
              std::string::npos);
  }
  options.recipes = {"te_delayed"};
  f.history.step = {3, 4};
  f.history.slot = {"L0/x"};
  f.history.amax = {1.0f, 1.0f};
  EXPECT_THROW(replay(f.input(), options, [](const ReplayItem&) {}), DataError);
}

/// One layer with all three operands, so that all three products can be computed.
Fixture layer() {
  Fixture f;
  f.add("L0", "x", 256, 128, 1);
  f.add("L0", "w", 256, 128, 2);
  f.add("L0", "dy", 256, 256, 3);
  return f;
}

std::map<std::string, std::vector<GemmError>> products_of(const Fixture& f, const std::string& recipe,
                                                          const std::string& unit, bool requantise) {
  ReplayOptions options;
  options.recipes = {recipe};
  options.requantise = requantise;
  options.threads = 2;
  std::map<std::string, std::vector<GemmError>> errors;
  const auto left_out = replay_gemms(f.input(), options, {{.accumulator = unit}}, [&](const GemmRecord& r) {
    errors[r.gemm].push_back(r.error);
    EXPECT_EQ(r.k, r.gemm == "fprop" ? 128 : 256);
    EXPECT_EQ(r.promote, 128);
  });
  EXPECT_TRUE(left_out.empty());
  return errors;
}

TEST(ReplayGemms, ComputesAllThreeProductsOfALayerAndTheSharesAddUp) {
  const auto errors = products_of(layer(), "dsv3", "hopper_wgmma", false);
  ASSERT_EQ(errors.size(), 3u);
  for (const auto& [gemm, steps] : errors) {
    ASSERT_EQ(steps.size(), 3u) << gemm;
    for (const GemmError& e : steps) {
      EXPECT_GT(e.from_a, 0.01) << gemm;
      EXPECT_GT(e.from_b, 0.01) << gemm;
      EXPECT_GT(e.from_accumulator, 1e-6) << gemm;
      EXPECT_EQ(e.from_output, 0.0) << gemm;
      EXPECT_LE(e.total, e.from_a + e.from_b + e.from_accumulator + e.from_output) << gemm;
      EXPECT_GE(e.total, 0.7 * std::max(e.from_a, e.from_b)) << gemm;
      EXPECT_LE(e.p50, e.p99);
      EXPECT_LE(e.p99, e.p999);
    }
  }
}

TEST(ReplayGemms, AWiderUnitOwnsLess) {
  const auto hopper = products_of(layer(), "dsv3", "hopper_wgmma", false);
  const auto blackwell = products_of(layer(), "dsv3", "blackwell_tcgen05", false);
  const auto exact = products_of(layer(), "dsv3", "exact", false);
  const auto owned = [](const auto& errors) { return errors.at("fprop")[0].from_accumulator; };
  EXPECT_GT(owned(hopper), 100 * owned(blackwell));
  EXPECT_LT(owned(exact), 1e-6);
}

TEST(ReplayGemms, FollowTheRequestAndSayWhatTheyLeaveOut) {
  const Fixture f = layer();
  ReplayOptions options;
  options.recipes = {"dsv3", "mxfp8"};
  const std::vector<GemmRequest> requests{{.accumulator = "hopper_wgmma", .promote = "32"},
                                          {.accumulator = "hopper_wgmma", .promote = "128"},
                                          {.accumulator = "hopper_wgmma", .promote = "32", .bf16_output = true},
                                          {.accumulator = "blackwell_mxfp8"}};
  std::map<std::pair<std::size_t, std::size_t>, GemmError> fprop;
  const auto left_out = replay_gemms(f.input(), options, requests, [&](const GemmRecord& r) {
    if (r.gemm == "fprop") fprop[{r.recipe, r.request}] = r.error;
  });
  EXPECT_LT((fprop[{0, 0}].from_accumulator), (fprop[{0, 1}].from_accumulator));
  EXPECT_EQ((fprop[{0, 0}].from_output), 0.0);
  EXPECT_GT((fprop[{0, 2}].from_output), 1e-3);
  EXPECT_LT((fprop[{0, 2}].from_output), 1.0 / 256);
  ASSERT_EQ(left_out.size(), 2u);
  EXPECT_NE(left_out[0].reason.find("E8M0 scales of blocks of 32"), std::string::npos) << left_out[0].reason;
  EXPECT_NE(left_out[1].reason.find("must not change within N_C"), std::string::npos) << left_out[1].reason;
  EXPECT_EQ(fprop.count({0, 3}), 0u);
  EXPECT_EQ(fprop.count({1, 3}), 1u);
}

TEST(ReplayGemms, RequantisingFreeScalesLosesMoreThanCastingTheSourceButOnlyInWgrad) {
  const auto source = products_of(layer(), "dsv3", "exact", false), again = products_of(layer(), "dsv3", "exact", true);
  EXPECT_EQ(source.at("fprop")[0].total, again.at("fprop")[0].total);
  EXPECT_GT(again.at("wgrad")[0].from_b, 1.2 * source.at("wgrad")[0].from_b);
  // Power-of-two scales move values by whole octaves: what was rounded once is not rounded again.
  const auto source2 = products_of(layer(), "te_block", "exact", false), again2 = products_of(layer(), "te_block", "exact", true);
  EXPECT_LT(again2.at("wgrad")[0].from_b, 1.05 * source2.at("wgrad")[0].from_b);
}

TEST(Statistics, EqualTransformerEnginesTorchaosAndDeepGemms) {
  FP8SCOPE_OPEN_GOLDEN(golden, "scaling.h5");
  std::ifstream file(std::string(FP8SCOPE_GOLDEN) + "/scaling_metrics.json");
  const nlohmann::json cases = nlohmann::json::parse(file);
  for (const auto& [name, expected] : cases.items()) {
    const std::string input = name.substr(0, name.find("_scale"));
    const h5::Dataset dataset = golden.dataset("inputs/" + input);
    std::vector<float> x = dataset.values<float>();
    const std::int64_t rows = dataset.shape()[0], cols = dataset.shape()[1];
    if (input == "act_bf16") std::fill_n(x.begin() + 3 * cols, 2 * cols, 0.0f);
    TensorFacts facts(rows, cols);
    facts.add(0, rows, x.data());
    facts.finish();
    TensorCast cast;
    cast.given = true;
    const auto scale = expected.at("scale").get<float>();
    cast.scales = {scale, 1.0f / scale};
    CastPass pass(facts, {cast}, -1.0f);
    pass.add(0, rows, x.data());
    const CastResult result = pass.finish()[0];
    std::map<std::string, double> got;
    for (const Statistic& s : statistics()) got[std::string(s.name)] = s.value(facts, result);
    const auto& stats = expected.at("stats");
    const auto want = [&](const char* key) { return stats.at(key).get<double>(); };
    EXPECT_EQ(got["amax"], want("te_cur_amax")) << name;
    EXPECT_EQ(static_cast<double>(result.sums.underflow), want("te_underflows_num")) << name;
    EXPECT_FLOAT_EQ(static_cast<float>(100.0 * got["underflow"]), static_cast<float>(want("te_underflows%"))) << name;
    EXPECT_EQ(static_cast<double>(result.sums.overflow), want("te_overflows_num")) << name;
    EXPECT_NEAR(got["mse"] / want("te_mse"), 1.0, 1e-5) << name;
    EXPECT_NEAR(got["sqnr_db"], want("torchao_compute_error_db"), 1e-4) << name;
    EXPECT_NEAR(got["calc_diff"] / want("deepgemm_calc_diff"), 1.0, 1e-6) << name;
    EXPECT_EQ(got["scale_inv_max"], want("te_scale_inv_max")) << name;
    EXPECT_EQ(got["scale_inv_min"], want("te_scale_inv_min")) << name;
    EXPECT_FLOAT_EQ(static_cast<float>(got["underflows%"]), static_cast<float>(want("te_underflows%"))) << name;
    EXPECT_FLOAT_EQ(static_cast<float>(got["overflows%"]), static_cast<float>(want("te_overflows%"))) << name;
  }
}

TEST(StableLog, IsTheLogarithm) {
  EXPECT_EQ(stable_log2(1.0), 0.0);
  EXPECT_EQ(stable_log2(0x1p-1074), -1074.0);
  EXPECT_EQ(stable_log2(8.0), 3.0);
  EXPECT_EQ(stable_log2(0.0), -std::numeric_limits<double>::infinity());
  EXPECT_EQ(stable_log2(std::numeric_limits<double>::infinity()), std::numeric_limits<double>::infinity());
  EXPECT_TRUE(std::isnan(stable_log2(-1.0)));
  std::mt19937_64 random(1);
  for (int i = 0; i < 100000; ++i) {
    const double x = std::ldexp(1.0 + static_cast<double>(random() >> 12) * 0x1p-52, static_cast<int>(random() % 200) - 100);
    EXPECT_NEAR(stable_log2(x), std::log2(x), 4e-16 * std::max(1.0, std::fabs(std::log2(x)))) << x;
  }
}

}  // namespace
}  // namespace fp8scope
