// Differences of results and of recipes.
#include <gtest/gtest.h>

#include <cmath>

#include "src/diff/recipe_diff.hpp"
#include "src/diff/result_diff.hpp"
#include "src/replay_tables.hpp"
#include "src/tiles/tile_tables.hpp"
#include "tests/replay_fixture.hpp"

namespace fp8scope {
namespace {

Results results_of(const Fixture& f, const std::vector<std::string>& recipes) {
  ReplayOptions options;
  options.recipes = recipes;
  options.tiles.emplace();
  const ReplayInput input = f.input();
  ReplayTables tables(input, options);
  TileTables tiles(input, options, parse_tile_choice("worst:100000"));
  replay(input, options, [&](const ReplayItem& item) { tables.take(item), tiles.take(item); });
  Results results;
  tables.write_to(results);
  tiles.write_to(results);
  return results;
}

TEST(ResultDiff, EqualResultsAreEqualAlsoWithTheRecipesInAnotherOrder) {
  const Fixture f = mixed();
  const Results a = results_of(f, {"te_block", "dsv3"}), b = results_of(f, {"dsv3", "te_block"});
  EXPECT_TRUE(diff_results(a, a, {}).same());
  const ResultDiff diff = diff_results(a, b, {});
  EXPECT_TRUE(diff.same());
  for (const TableDiff& t : diff.tables) EXPECT_EQ(t.matched, t.rows_a) << t.table;
}

TEST(ResultDiff, OneChangedBitIsFoundAndNamed) {
  const Fixture f = mixed();
  const Results a = results_of(f, {"te_block"});
  Results b = results_of(f, {"te_block"});
  for (Table& table : b.tables)
    if (table.name == "results")
      for (Column& column : table.columns)
        if (column.name == "mse") {
          auto& values = std::get<std::vector<double>>(column.values);
          values[4] = std::nextafter(values[4], 1.0);
        }
  const ResultDiff diff = diff_results(a, b, {});
  ASSERT_FALSE(diff.same());
  const TableDiff& t = diff.tables[0];
  ASSERT_EQ(t.columns.size(), 1u);
  EXPECT_EQ(t.columns[0].column, "mse");
  EXPECT_EQ(t.columns[0].differ, 1u);
  EXPECT_NE(t.columns[0].first.find("tensor L0/w, step 4, recipe te_block"), std::string::npos) << t.columns[0].first;
  EXPECT_TRUE(diff_results(a, b, {0.0, 1e-12, {}}).same());
  EXPECT_TRUE(diff_results(a, b, {0.0, 0.0, {"mse"}}).same());
}

TEST(ResultDiff, TwoRecipesAreComparedWhereTheRecipeIsLeftOutOfTheKey) {
  const Fixture f = mixed();
  const ResultDiff diff = diff_results(results_of(f, {"te_block:scales=fp32"}), results_of(f, {"dsv3"}), {0.0, 0.0, {"recipe_id"}});
  const auto tiles = std::ranges::find(diff.tables, "tiles", &TableDiff::table);
  ASSERT_NE(tiles, diff.tables.end());
  EXPECT_EQ(tiles->matched, tiles->rows_a);
  EXPECT_GT(tiles->scale_steps[0], tiles->scales / 10);  // 1/fl(MAX/a) against a/MAX: one unit in the last place
  const ResultDiff strict = diff_results(results_of(f, {"te_block"}), results_of(f, {"dsv3"}), {});
  EXPECT_EQ(strict.tables[0].matched, 0u);
  EXPECT_GT(strict.tables[0].only_a, 0u);
}

TEST(ResultDiff, MissingTablesAndColumnsAreDifferences) {
  const Fixture f = mixed();
  const Results a = results_of(f, {"te_block"});
  Results b = a;
  b.tables.pop_back();
  EXPECT_EQ(diff_results(a, b, {}).tables_only_a.size(), 1u);
  Results c = a;
  c.tables[0].columns.pop_back();
  EXPECT_FALSE(diff_results(a, c, {}).same());
}

TEST(RecipeDiff, EqualsAreEqualAndVersionsDifferByOne) {
  const Fixture f = mixed();
  ReplayOptions options;
  int compared = 0;
  diff_recipes(f.input(), "te_block", "te_block:format=e4m3", options, [&](const RecipeDiff& d) {
    EXPECT_EQ(d.scales.differ + d.codes.differ + d.codes.zero_signs + d.values, 0u);
    ++compared;
  });
  EXPECT_EQ(compared, 9);
  CodeDiff codes, scales;
  diff_recipes(f.input(), "dsv3", "dsv3:version=2025-02", options, [&](const RecipeDiff& d) {
    codes.merge(d.codes), scales.merge(d.scales);
  });
  EXPECT_EQ(scales.differ, 0u);
  EXPECT_GT(codes.differ, 0u);
  EXPECT_EQ(codes.differ, codes.steps[0]);  // each by one step
  EXPECT_LT(codes.share(), 0.01);
}

TEST(RecipeDiff, AgreesWithDirectCasts) {
  const Fixture f = mixed();
  ReplayOptions options;
  diff_recipes(f.input(), "te_block", "mxfp8:block=1", options, [&](const RecipeDiff& d) {
    EXPECT_FALSE(d.same_blocks);
    EXPECT_EQ(d.scales.compared, 0u);
    EXPECT_EQ(d.codes.compared, d.x.size());
    EXPECT_EQ(d.first->codes.size(), d.x.size());
  });
}

TEST(CodeDiff, CountsStepsZeroSignsAndNaN) {
  CodeDiff d;
  d.add(e4m3, 0, 0x00, 0x80);   // zeros
  d.add(e4m3, 1, 0x7f, 0xff);   // NaNs
  d.add(e4m3, 2, 0x7f, 0x01);   // a NaN and a number
  d.add(e4m3, 3, 0x01, 0x81);   // two steps through zero
  d.add(e4m3, 4, 0x40, 0x41);
  d.add(e4m3, 5, 0x40, 0x40);
  EXPECT_EQ(d.compared, 6u);
  EXPECT_EQ(d.zero_signs, 1u);
  EXPECT_EQ(d.nan_only, 1u);
  EXPECT_EQ(d.differ, 3u);
  EXPECT_EQ(d.steps[0], 1u);
  EXPECT_EQ(d.steps[1], 1u);
  EXPECT_EQ(d.first, (std::vector<std::int64_t>{2, 3, 4}));
}

}  // namespace
}  // namespace fp8scope
