// Statistics of tiles: against a second implementation, against the sums of the whole tensor, and through the file.
#include "src/tiles/tile_tables.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <map>

#include "sim/amax.hpp"
#include "sim/names.hpp"
#include "sim/quantize.hpp"
#include "sim/simd/isa.hpp"
#include "sim/tensor_cast.hpp"
#include "src/errors.hpp"
#include "src/stable_log.hpp"
#include "tests/replay_fixture.hpp"
#include "tests/temporary_folder.hpp"

namespace fp8scope {
namespace {

using Tiles = TemporaryFolder;

const std::vector<std::string> several{"te_delayed:amax_history_len=2", "te_current", "te_block", "dsv3",
                                       "te_block:block=4x8:scales=fp32", "mxfp8:block=1"};

ReplayOptions tile_options() {
  ReplayOptions options;
  options.recipes = several;
  options.gemms = "all";
  options.tiles.emplace();
  return options;
}

/// Every tile and every exponent of a replay, as bytes.
std::string everything(const ReplayInput& input, const ReplayOptions& options) {
  std::string all;
  const auto put = [&](const auto& value) { all.append(reinterpret_cast<const char*>(&value), sizeof value); };
  replay(input, options, [&](const ReplayItem& item) {
    for (const CastTiles& cast : item.tiles) {
      cast.tiles.for_each([&](const TileRow& t) {
        put(t.row), put(t.col), put(float_bits(t.amax)), put(float_bits(t.scales.scale_inv)), put(t.stored), put(t.n);
        put(t.underflow), put(t.subnormal), put(t.clipped), put(t.lost), put(t.floored), put(t.noise), put(t.error);
        put(t.power), put(t.cross), put(t.max_rel);
      });
      put(cast.exponents);
    }
  });
  return all;
}

TEST_F(Tiles, AreTheSameForAnyThreadsInstructionsAndMemory) {
  const Fixture f = mixed();
  ReplayOptions options = tile_options();
  const std::string expected = everything(f.input(), options);
  ASSERT_GT(expected.size(), 100000u);
  for (const Isa target : {Isa::scalar, Isa::automatic}) {
    set_isa(target);
    for (const int threads : {1, 4})
      for (const std::uint64_t memory : {std::uint64_t{1} << 30, std::uint64_t{320000}}) {
        options.threads = threads, options.max_memory = memory;
        EXPECT_EQ(expected, everything(f.input(), options)) << threads << " threads, " << memory << " bytes";
      }
  }
  set_isa(Isa::automatic);
}

TEST_F(Tiles, AddUpToTheTensorAndLeaveItsStatisticsAlone) {
  const Fixture f = mixed();
  ReplayOptions with = tile_options(), without = tile_options();
  without.tiles.reset();
  std::vector<double> plain;
  replay(f.input(), without, [&](const ReplayItem& item) {
    EXPECT_TRUE(item.tiles.empty());
    for (const CastResult& r : item.results)
      for (const Statistic& s : statistics()) plain.push_back(s.value(*item.facts, r));
  });
  std::size_t at = 0;
  replay(f.input(), with, [&](const ReplayItem& item) {
    for (std::size_t i = 0; i < item.results.size(); ++i) {
      const CastResult& r = item.results[i];
      for (const Statistic& s : statistics()) {
        const double value = s.value(*item.facts, r);
        EXPECT_TRUE(std::memcmp(&value, &plain[at], sizeof value) == 0 || (std::isnan(value) && std::isnan(plain[at]))) << s.name;
        ++at;
      }
      TileRow sum{};
      std::uint64_t elements = 0, tiles = 0;
      item.tiles[i].tiles.for_each([&](const TileRow& t) {
        ++tiles, sum.n += t.n, sum.underflow += t.underflow, sum.subnormal += t.subnormal, sum.clipped += t.clipped;
        sum.lost += t.lost, sum.noise += t.noise, sum.power += t.power, sum.nans += t.nans, sum.infs += t.infs;
        sum.floored += t.floored;
      });
      for (const std::uint64_t n : item.tiles[i].exponents) elements += n;
      EXPECT_EQ(tiles, r.blocks);
      EXPECT_EQ(sum.floored, r.floored);
      EXPECT_EQ(sum.n, static_cast<std::uint64_t>(item.facts->rows() * item.facts->cols()));
      EXPECT_EQ(sum.underflow, r.sums.underflow);
      EXPECT_EQ(sum.subnormal, r.sums.subnormal);
      EXPECT_EQ(sum.clipped, r.sums.clipped);
      EXPECT_EQ(sum.lost, r.sums.lost);
      EXPECT_EQ(sum.nans, item.facts->moments().nans);
      EXPECT_NEAR(sum.noise / r.sums.noise(), 1.0, 1e-9);
      EXPECT_NEAR(sum.power / item.facts->moments().power2, 1.0, 1e-12);
      EXPECT_EQ(elements, item.facts->moments().finite - item.facts->moments().zeros);
    }
  });
  EXPECT_EQ(at, plain.size());
}

/// A second implementation, element by element.
struct Reference {
  float amax = 0.0f, smallest = 0.0f, max_rel = 0.0f;
  std::uint64_t underflow = 0, subnormal = 0, clipped = 0;
  long double noise = 0, power = 0;
};

TEST_F(Tiles, EqualTheScalarReference) {
  Fixture f = mixed();
  ReplayOptions options = tile_options();
  options.recipes = {"te_block", "dsv3:scales=ue8m0", "te_block:block=3x7:scales=fp32"};
  int compared = 0;
  replay(f.input(), options, [&](const ReplayItem& item) {
    const TensorInfo& info = f.tensors[item.tensor];
    const std::span<const float> x = f.of_step(item.tensor, item.step);
    for (std::size_t i = 0; i < item.casts.size(); ++i) {
      const Plan& plan = item.casts[i].plan;
      const BlockGrid grid(info.rows, info.cols, item.casts[i].block);
      std::vector<float> amaxes(grid.blocks());
      block_amax(plan.amax_rule, grid, x, amaxes);
      item.tiles[i].tiles.for_each([&](const TileRow& t) {
        Reference want;
        EXPECT_EQ(float_bits(amaxes[t.row * grid.across() + t.col]), float_bits(t.amax));
        for (std::int64_t r = t.row * grid.block_rows; r < std::min((t.row + 1) * grid.block_rows, info.rows); ++r)
          for (std::int64_t c = t.col * grid.block_cols; c < std::min((t.col + 1) * grid.block_cols, info.cols); ++c) {
            const float v = x[grid.element(r, c)];
            if (!is_finite(v)) continue;
            const float value = decode(plan.format, quantize_element(plan.format, v, t.scales.scale, plan.cast));
            const float y = value * t.scales.scale_inv, e = v - y;
            if (v != 0.0f && (want.smallest == 0.0f || std::fabs(v) < want.smallest)) want.smallest = std::fabs(v);
            want.power += static_cast<long double>(v) * v;
            if (!is_finite(y)) continue;
            want.noise += static_cast<long double>(e) * e;
            if (v != 0.0f) want.max_rel = std::max(want.max_rel, std::fabs(e) / std::fabs(v));
            want.underflow += v != 0.0f && value == 0.0f;
            want.subnormal += value != 0.0f && std::fabs(value) < 0x1p-6f;
          }
        EXPECT_EQ(t.min_nonzero, want.smallest);
        EXPECT_EQ(t.underflow, want.underflow);
        EXPECT_EQ(t.subnormal, want.subnormal);
        EXPECT_EQ(t.max_rel, want.max_rel);
        EXPECT_NEAR(t.power, static_cast<double>(want.power), 1e-12 * t.power);
        EXPECT_NEAR(t.noise, static_cast<double>(want.noise), 1e-9 * t.noise);
        EXPECT_EQ(t.stored, plan.storage == ScaleStorage::e8m0 ? e8m0_code(t.scales.scale_inv) : float_bits(t.scales.scale_inv));
        ++compared;
      });
    }
  });
  EXPECT_GT(compared, 10000);
}

/// One tensor of ones with one tile that each recipe must find.
Fixture needle() {
  Fixture f;
  f.steps = {7};
  f.add("L0", "x", 64, 256, 1);
  std::ranges::fill(f.of_step(0, 0), 1.0f);
  f.of_step(0, 0)[37 * 256 + 200] = 3.0e-3f;  // flushed by one scale only where the amax is large
  f.of_step(0, 0)[37 * 256 + 201] = 4000.0f;
  return f;
}

TEST_F(Tiles, TheWorstComesFirstAndIsTheOneThatWasPlanted) {
  const Fixture f = needle();
  ReplayOptions options;
  options.recipes = {"te_block", "mxfp8"};
  options.tiles.emplace();
  const ReplayInput input = f.input();
  TileTables tables(input, options, parse_tile_choice("worst:3:underflow"));
  replay(input, options, [&](const ReplayItem& item) { tables.take(item); });
  Results results;
  tables.write_to(results);
  const Table& tiles = results.tables[0];
  EXPECT_EQ(tiles.rows(), 6u);
  const auto cell = [&](const char* column, std::size_t row) {
    return std::get<std::vector<std::int64_t>>(tiles.column(column).values)[row];
  };
  EXPECT_EQ(cell("tile_row", 0), 37);
  EXPECT_EQ(cell("tile_col", 0), 1);
  EXPECT_EQ(cell("tile_row", 3), 37);
  EXPECT_EQ(cell("tile_col", 3), 6);
  EXPECT_EQ(std::get<std::vector<std::uint64_t>>(tiles.column("underflow_count").values)[0], 1u);
  const Table listed = tables.worst(1);
  EXPECT_EQ(listed.rows(), 2u);
  EXPECT_EQ(std::get<std::vector<std::string>>(listed.column("elements").values)[0], "[37:38, 128:256]");
}

TEST_F(Tiles, AllOfThemGoToTheFileInPiecesAndComeBack) {
  Fixture f;
  f.steps = {1};
  f.add("L0", "x", 300, 512, 5);
  ReplayOptions options;
  options.recipes = {"mxfp8:block=2", "te_block"};  // 76,800 tiles and more than one piece
  options.tiles.emplace();
  const ReplayInput input = f.input();
  TileChoice choice = parse_tile_choice("all");
  choice.scales = true;
  TileTables tables(input, options, choice);
  std::vector<TileRow> expected;
  replay(input, options, [&](const ReplayItem& item) {
    tables.take(item);
    for (const CastTiles& cast : item.tiles) cast.tiles.for_each([&](const TileRow& t) { expected.push_back(t); });
  });
  Results results;
  results.title = "tiles";
  tables.write_to(results);
  write_results(path("r.h5"), results, {}, true);
  const Results back = read_results(path("r.h5"));
  for (const char* name : {"tiles", "scales"}) {
    const auto table = std::ranges::find(back.tables, name, &Table::name);
    ASSERT_NE(table, back.tables.end());
    ASSERT_EQ(table->rows(), expected.size());
    const auto& stored = std::get<std::vector<std::uint64_t>>(table->column("scale_stored").values);
    const auto& factor = std::get<std::vector<float>>(table->column("scale_inv").values);
    for (std::size_t i = 0; i < expected.size(); ++i) {
      ASSERT_EQ(stored[i], expected[i].stored) << i;
      ASSERT_EQ(float_bits(factor[i]), float_bits(expected[i].scales.scale_inv)) << i;
    }
  }
  EXPECT_EQ(files(), std::vector<std::string>{"r.h5"});
}

TEST_F(Tiles, OfOneShapeForAllRecipesShowWhereOneScaleLosesMore) {
  const Fixture f = needle();
  ReplayOptions options;
  options.recipes = {"te_current", "te_block"};
  options.tiles.emplace();
  options.tiles->shape = BlockShape{1, 128};
  replay(f.input(), options, [&](const ReplayItem& item) {
    EXPECT_EQ(item.tiles[0].tiles.size(), 128u);
    EXPECT_EQ(item.tiles[1].tiles.size(), 128u);
    double tensor = 0.0, block = 0.0;
    item.tiles[0].tiles.for_each([&](const TileRow& t) { tensor += t.row == 0 ? t.noise : 0.0; });
    item.tiles[1].tiles.for_each([&](const TileRow& t) { block += t.row == 0 ? t.noise : 0.0; });
    EXPECT_EQ(block, 0.0);
    EXPECT_GT(tensor, 0.0);
  });
}

TEST_F(Tiles, ExponentsAreCountedAsTheElementFormatSeesThem) {
  Fixture f;
  f.steps = {1};
  f.add("L0", "x", 1, 128, 1);
  std::ranges::fill(f.of_step(0, 0), 0.0f);
  f.of_step(0, 0)[0] = 448.0f, f.of_step(0, 0)[1] = -1.0f, f.of_step(0, 0)[2] = 0x1p-60f, f.of_step(0, 0)[3] = 1.5f;
  ReplayOptions options;
  options.recipes = {"te_block"};
  options.tiles.emplace();
  replay(f.input(), options, [&](const ReplayItem& item) {
    const ScaledExponents& bins = item.tiles[0].exponents;  // scale_inv is 1
    EXPECT_EQ(bins[8 - scaled_exponent_low], 1u);
    EXPECT_EQ(bins[0 - scaled_exponent_low], 2u);
    EXPECT_EQ(bins[0], 1u);
  });
}

TEST_F(Tiles, TheFloorIsCountedPerBlock) {
  Fixture f;
  f.steps = {1};
  f.add("L0", "dy", 4, 256, 1);
  std::ranges::fill(f.of_step(0, 0), 1.0f);
  std::ranges::fill(f.of_step(0, 0).subspan(256, 128), 1e-5f);
  ReplayOptions options;
  options.recipes = {"dsv3", "te_block"};
  replay(f.input(), options, [&](const ReplayItem& item) {
    EXPECT_EQ(item.results[0].blocks, 8u);
    EXPECT_EQ(item.results[0].floored, 1u);
    EXPECT_EQ(item.results[1].floored, 0u);
  });
}

TEST_F(Tiles, ADelayedScaleSaysHowLongItIsFrozen) {
  Fixture f;
  f.steps = {0, 1, 2, 3, 4, 5, 6, 7};
  f.add("L0", "x", 8, 8, 1);
  f.history.step = f.steps;
  f.history.slot = {"L0/x"};
  f.history.amax = {2.0f, std::numeric_limits<float>::infinity(), 2.0f, 2.0f, 4.0f, 4.0f, 4.0f, 4.0f};
  ReplayOptions options;
  options.recipes = {"te_delayed:amax_history_len=4"};
  std::vector<std::int64_t> frozen;
  replay(f.input(), options, [&](const ReplayItem& item) { frozen.push_back(item.results[0].frozen); });
  // The infinity of step 1 blocks the updates of steps 1 to 4: the casts of 2 to 5 see them.
  EXPECT_EQ(frozen, (std::vector<std::int64_t>{0, 0, 1, 2, 3, 4, 0, 0}));
}

TEST_F(Tiles, HoldTheScalesAndLossesOfThePlainCastForRecipesOfTwoLevelsTransformsAndChoices) {
  Fixture f;
  f.steps = {1};
  f.add("L0", "x", 64, 128, 1);
  f.add("L0", "dy", 32, 64, 2);
  ReplayOptions options;
  options.recipes = {"te_nvfp4:sr=off", "te_nvfp4:4over6=mse:sr=off", "te_nvfp4:row_scaled=on:sr=off", "torchao_nvfp4",
                     "te_mxfp8", "dsv3_infer", "coat", "moss", "microxcaling", "torchao_rowwise"};
  options.gemms = "all";
  options.tiles.emplace();
  int compared = 0;
  replay(f.input(), options, [&](const ReplayItem& item) {
    const TensorInfo& info = f.tensors[item.tensor];
    for (std::size_t i = 0; i < item.casts.size(); ++i) {
      const ReplayCast& cast = item.casts[i];
      const Role role = info.operand == "x" ? Role::activation : Role::gradient;
      const auto recipe = make_recipe(options.recipes[cast.recipe], {role, bf16, by_name(gemm_uses, cast.gemm, "gemm").gemm});
      const BlockGrid grid(info.rows, info.cols, cast.block);
      const bool turned = cast.gemm == info.gemms[1].gemm;
      const TensorCodes made = cast_tensor(cast.plan, *recipe->block_rule(), grid, turned, f.of_step(item.tensor, item.step));
      const std::string where = options.recipes[cast.recipe] + " " + info.name() + " " + cast.gemm;
      std::vector<std::uint64_t> underflow(grid.blocks());
      for (std::int64_t r = 0; r < grid.rows; ++r)
        for (std::int64_t c = 0; c < grid.cols; ++c) {
          const std::int64_t e = grid.element(r, c);
          underflow[grid.block(r, c)] += made.x[e] != 0.0f && decode(cast.plan.format, made.codes[e]) == 0.0f;
        }
      std::size_t b = 0;
      item.tiles[i].tiles.for_each([&](const TileRow& t) {
        EXPECT_EQ(t.stored, made.stored[b]) << where << " tile " << b;
        EXPECT_EQ(float_bits(t.scales.scale_inv), float_bits(made.scales[b].scale_inv)) << where << " tile " << b;
        EXPECT_EQ(t.underflow, underflow[b]) << where << " tile " << b;
        ++b, ++compared;
      });
      EXPECT_EQ(b, made.scales.size()) << where;
    }
  });
  EXPECT_GT(compared, 5000);
}

TEST_F(Tiles, AChoiceThatIsNoneIsRefused) {
  for (const char* text : {"worst", "worst:", "worst:0", "worst:x", "worst:5:sqnr", "some", ""})
    EXPECT_TRUE(is_line_with(message_of<UsageError>([&] { parse_tile_choice(text); }), {"--tiles", "worst:N"})) << text;
}

}  // namespace
}  // namespace fp8scope
