// Traces that hurt: ragged K, tiles of zeros, NaN, infinities, subnormal and huge numbers. What becomes of their scales is
// the policy that each recipe names.
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <map>

#include "sim/recipes/record.hpp"
#include "src/cast_policy.hpp"
#include "src/errors.hpp"
#include "tests/replay_fixture.hpp"

namespace fp8scope {
namespace {

constexpr float inf = std::numeric_limits<float>::infinity(), nan = std::numeric_limits<float>::quiet_NaN();

enum Tile { zeros, nans, infs, one_nan, one_inf, subnormal, huge, plain, tile_count };

/// One row of tiles of 128 columns, one of each kind.
Fixture hostile() {
  Fixture f;
  f.steps = {1};
  f.add("L0", "x", 1, tile_count * 128, 1);
  const std::span<float> x = f.of_step(0, 0);
  const auto tile = [&](Tile t) { return x.subspan(t * 128, 128); };
  std::ranges::fill(tile(zeros), 0.0f);
  std::ranges::fill(tile(nans), nan);
  std::ranges::fill(tile(infs), -inf);
  for (const Tile t : {one_nan, one_inf, plain}) std::ranges::fill(tile(t), 1.0f), tile(t)[0] = 7.0f;
  tile(one_nan)[5] = nan;
  tile(one_inf)[5] = inf;
  std::ranges::fill(tile(subnormal), 0x1p-133f);  // a bfloat16 subnormal
  std::ranges::fill(tile(huge), bits_float(float_bits(1e36f) & 0xffff0000u));
  return f;
}

/// Stored scales by tile of 128, and what the statistics say.
struct Seen {
  std::vector<TileRow> tiles;
  CastResult result;
};

Seen replayed(const std::string& recipe) {
  const Fixture f = hostile();
  ReplayOptions options;
  options.recipes = {recipe};
  options.tiles.emplace();
  Seen seen;
  replay(f.input(), options, [&](const ReplayItem& item) {
    item.tiles[0].tiles.for_each([&](const TileRow& t) { seen.tiles.push_back(t); });
    seen.result = item.results[0];
  });
  return seen;
}

void expect_scales(const std::string& recipe, const std::vector<float>& scale_inv) {
  const Seen seen = replayed(recipe);
  ASSERT_EQ(seen.tiles.size(), static_cast<std::size_t>(tile_count));
  for (int t = 0; t < tile_count; ++t) {
    const float got = seen.tiles[t].scales.scale_inv;
    EXPECT_TRUE(float_bits(got) == float_bits(scale_inv[t]) || (is_nan(got) && is_nan(scale_inv[t])))
        << recipe << " tile " << t << ": " << got << ", expected " << scale_inv[t];
  }
}

TEST(Policy, TransformerEngineTakesScale1ForZeroAndInfinityAndIgnoresNaN) {
  const float bf16_max = bf16.max_value(), big = bits_float(float_bits(1e36f) & 0xffff0000u);
  expect_scales("te_block:scales=fp32", {1.0f, 1.0f, 1.0f, 1.0f / (448.0f / 7.0f), 1.0f, 1.0f / bf16_max,
                                         1.0f / (448.0f / big), 1.0f / (448.0f / 7.0f)});
  // 2^-127, the reciprocal of the largest power of two below the largest bfloat16, is a binary32 subnormal.
  expect_scales("te_block", {1.0f, 1.0f, 1.0f, 0x1p-6f, 1.0f, 0x1p-127f,
                             1.0f / bits_float(float_bits(448.0f / big) & 0xff800000u), 0x1p-6f});
}

TEST(Policy, DeepSeekRaisesSmallAmaxesToItsFloorAndLetsNaNThrough) {
  const float floor = 1e-4f / 448.0f, big = bits_float(float_bits(1e36f) & 0xffff0000u);
  expect_scales("dsv3", {floor, nan, inf, nan, inf, floor, big / 448.0f, 7.0f / 448.0f});
}

TEST(Policy, MxTakesTheLowestCodeForZero254ForInfinityOrNaNForBoth) {
  const float big = bits_float(float_bits(1e36f) & 0xffff0000u);
  const float up = bits_float((float_bits(big / 448.0f) & 0x7f800000u) + 0x00800000u);
  expect_scales("mxfp8:block=128", {0x1p-127f, 0x1p-127f, 0x1p127f, 0x1p-6f, 0x1p127f, 0x1p-127f, up, 0x1p-6f});
  const float down = bits_float((float_bits(big) & 0x7f800000u) - (8u << 23));
  expect_scales("mxfp8:block=128:scale=floor", {0x1p-127f, nan, nan, nan, nan, 0x1p-127f, down, 0x1p-6f});
}

TEST(Policy, OneScaleForAllIsTakenFromTheWholeTensor) {
  // Infinity in the tensor: Transformer Engine falls back to 1, and everything beyond 448 clips.
  const Seen seen = replayed("te_current");
  ASSERT_EQ(seen.tiles.size(), 1u);
  EXPECT_EQ(seen.tiles[0].scales.scale_inv, 1.0f);
  EXPECT_EQ(seen.result.sums.clipped, 128u);  // the huge ones
  EXPECT_EQ(seen.result.sums.underflow, 128u);  // the subnormal ones
}

TEST(Policy, NonFiniteNumbersNeverEnterASumAndAreCountedWhereTheyAre) {
  for (const char* recipe : {"te_block", "dsv3", "mxfp8:block=128", "te_current"}) {
    const Seen seen = replayed(recipe);
    EXPECT_TRUE(std::isfinite(seen.result.sums.noise())) << recipe;
    std::uint64_t nans_seen = 0, infs_seen = 0;
    for (const TileRow& t : seen.tiles) {
      nans_seen += t.nans, infs_seen += t.infs;
      EXPECT_TRUE(std::isfinite(t.noise) && std::isfinite(t.power)) << recipe;
    }
    EXPECT_EQ(nans_seen, 129u) << recipe;
    EXPECT_EQ(infs_seen, 129u) << recipe;
  }
  // A NaN or infinite factor loses the finite elements of its tile: they are counted as lost.
  const Seen seen = replayed("dsv3");
  EXPECT_EQ(seen.tiles[one_nan].lost, 127u);
  EXPECT_EQ(seen.tiles[one_inf].lost, 127u);
  EXPECT_EQ(seen.tiles[plain].lost, 0u);
}

TEST(Policy, ARaggedKIsPaddedOrRefusedAsTheRecipeSays) {
  Fixture f;
  f.steps = {1};
  f.add("L0", "x", 3, 200, 1);
  int padded = 0, refused = 0;
  for (const NamedRecipe& row : recipes()) {
    const CastRecord cast = resolve(*row.record, {}, "");
    if (cast.tile == BlockShape{} || cast.tile.cols < 16) continue;
    ReplayOptions options;
    options.recipes = {std::string(row.name)};
    const auto run = [&] { replay(f.input(), options, [](const ReplayItem&) {}); };
    if (cast.whole_tiles && 200 % cast.tile.cols != 0) {
      EXPECT_THROW(run(), DataError) << row.name;
      ++refused;
    } else {
      EXPECT_NO_THROW(run()) << row.name;
      ++padded;
    }
  }
  EXPECT_GE(padded, 2);
  EXPECT_GE(refused, 1);
  // The short tile has the scale that its 72 elements make with zeros beside them.
  ReplayOptions options;
  options.recipes = {"te_block"};
  options.tiles.emplace();
  replay(f.input(), options, [&](const ReplayItem& item) {
    item.tiles[0].tiles.for_each([&](const TileRow& t) {
      float amax = 0.0f;
      for (std::int64_t c = t.col * 128; c < std::min<std::int64_t>(200, (t.col + 1) * 128); ++c)
        amax = std::max(amax, std::fabs(f.of_step(0, 0)[t.row * 200 + c]));
      EXPECT_EQ(t.amax, amax);
      EXPECT_EQ(t.n, t.col == 0 ? 128u : 72u);
    });
  });
}

TEST(Policy, NamingALibrarysPolicyLeavesWhatTheRecipeSaysOfZerosRoundingAndOverflow) {
  for (const NamedRecipe& row : recipes()) {
    const CastRule before = make_recipe(row.name, {})->plan().cast;
    CastRule nvidia = before, ml_dtypes = before;
    set_policies(nvidia, {"nvidia"});
    set_policies(ml_dtypes, {"ml_dtypes"});
    EXPECT_EQ(nvidia, before) << row.name;  // it is the default
    EXPECT_EQ(ml_dtypes.zero, before.zero) << row.name;
    EXPECT_EQ(ml_dtypes.rounding, before.rounding) << row.name;
    if (clamps_nan(e4m3, before)) {
      EXPECT_EQ(ml_dtypes.nan, before.nan) << row.name;  // a kernel's own clamp
    }
  }
  CastRule dropped = make_recipe("deepgemm_fp4", {})->plan().cast;
  ASSERT_EQ(dropped.zero, ZeroRule::drop);
  set_policies(dropped, {"ml_dtypes", "nvidia"});
  EXPECT_EQ(encode(parse_format("e2m1"), -0.1f, dropped), 0u);
  EXPECT_EQ(encode(parse_format("e2m1"), -0.1f, CastRule{}), 8u);
}

TEST(Policy, NoRecipeOfTheTableStumblesOverAnyTile) {
  for (const NamedRecipe& row : recipes()) {
    SCOPED_TRACE(row.name);
    const Seen seen = replayed(std::string(row.name));
    EXPECT_TRUE(std::isfinite(seen.result.sums.noise()));
    std::uint64_t n = 0;
    for (const TileRow& t : seen.tiles) n += t.n;
    EXPECT_EQ(n, static_cast<std::uint64_t>(tile_count) * 128u);
  }
}

}  // namespace
}  // namespace fp8scope
