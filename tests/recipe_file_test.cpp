// Recipes as files: every row printed and read back is the same record, and what is wrong in a file is
// said with its place.
#include "src/recipes/recipe_file.hpp"

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "src/errors.hpp"
#include "src/recipes/recipe_docs.hpp"
#include "tests/temporary_folder.hpp"

namespace fp8scope {
namespace {

std::string message_of(const std::string& toml) {
  try {
    parse_recipe(toml, "my.toml");
  } catch (const UsageError& error) {
    return error.what();
  }
  return "";
}

TEST(RecipeFile, GivesBackEveryRowThatWasPrinted) {
  for (const NamedRecipe& row : recipes()) {
    const RecipeRecord read = parse_recipe(recipe_toml(*row.record), "x.toml");
    EXPECT_TRUE(read == *row.record) << row.name << "\n" << recipe_toml(*row.record) << "\n" << recipe_toml(read);
  }
}

TEST(RecipeFile, GivesBackEveryKeyAtAValueThatIsNotItsDefault) {
  const std::vector<RecipeSetting> settings{
      {"element.format", "e5m6"},        {"element.rounding", "nearest-away"}, {"element.overflow", "special"},
      {"element.zero", "drop-exact"},    {"element.nan", "lowest"}, {"tile.shape", "1x48"},              {"tile.ragged", "refuse"},
      {"amax.nan", "propagate"},         {"amax.floor", "1.1754944e-38"},      {"amax.floor_mode", "add"},
      {"amax.flush_subnormal", "true"},  {"scale.rule", "quotient"},           {"scale.max", "447.99997"},
      {"scale.pow2", "up"},              {"scale.quotient", "reciprocal"},     {"scale.floor", "1e-10"},
      {"scale.big", "input"},            {"scale.infinity", "zero"},           {"scale.infinity_code", "255"},
      {"scale.exponent_bits", "5"},      {"scale.reciprocal", "te-2.12"},      {"scale.store", "e8m0"},
      {"scale.apply", "divide"},         {"second.block_max", "256"},          {"second.order", "2.14"},
      {"second.bf16_multiplier", "true"}, {"hadamard.size", "16"},             {"hadamard.signs", "+-++-+------+-+-"},
      {"hadamard.round", "none"},        {"history.length", "7"},              {"history.algorithm", "most_recent"},
      {"history.margin", "3"},           {"history.zero_step", "roll"},        {"history.guard_tiny", "false"},
      {"history.interval", "9"},         {"history.learning_rate", "0.1"},     {"history.mu", "0.35355338"},
      {"history.mu_window", "7"},        {"history.mu_frequency", "2"},
      {"gemm.order", "first_b"}};
  RecipeRecord record;
  record.name = "all \"quoted\" \\ keys";
  record.evidence = "paper";
  for (const RecipeSetting& s : settings) apply_setting(record.cast, s);
  const CastRecord defaults;
  std::vector<std::string> left;  // keys whose other values contradict the ones above
  for (const RecipeField& field : recipe_fields())
    if (field.get(record.cast) == field.get(defaults)) left.emplace_back(field.key);
  EXPECT_EQ(left, (std::vector<std::string>{"element.codec", "second.scope", "second.select", "history.kind", "history.mu_ratio"}));
  EXPECT_TRUE(parse_recipe(recipe_toml(record), "x.toml") == record) << recipe_toml(record);
}

TEST(RecipeFile, SaysWhereAndWhatIsWrong) {
  EXPECT_EQ(message_of("[tile]\nshap = '1x128'"),
            "my.toml:2:1: unknown key 'tile.shap'; did you mean 'tile.shape'? 'fp8scope recipes --keys' lists all");
  EXPECT_EQ(message_of("[scale]\nrule = 'quotient'\n  store = 'e8m0'"),
            "my.toml:3:11: scale.store: e8m0 stores powers of two, and scale.pow2 is none");
  EXPECT_EQ(message_of("amax.floor = nan"),
            "my.toml:1:14: amax.floor=nan: wanted a finite number that is not negative");
  EXPECT_EQ(message_of("[amax]\nfloor = -inf"),
            "my.toml:2:9: amax.floor=-inf: wanted a finite number that is not negative");
  EXPECT_EQ(message_of("[element]\nformat = 'e4m33'").rfind("my.toml:2:10: ", 0), 0u);
  EXPECT_NE(message_of("[element]\nrounding = 'nearest'").find("wanted nearest-even or"), std::string::npos);
  EXPECT_EQ(message_of("[tile\n").rfind("my.toml:1:6: ", 0), 0u);
  EXPECT_EQ(message_of("[[override]]\nrole = 'weights'\n").rfind("my.toml:2:8: unknown role 'weights'; did you mean 'weight'?", 0), 0u);
  EXPECT_EQ(message_of("[[override]]\ntile.shape = '1x16'\n").rfind("my.toml:1:1: an override needs", 0), 0u);
  EXPECT_EQ(message_of("[[override]]\nrole = 'weight'\ntile.shape = '1y16'\n").rfind("my.toml:3:14: tile.shape=1y16: wanted ROWSx", 0), 0u);
  EXPECT_EQ(message_of("[[option]]\nname = 'a'\nfield = 'tile.shap'\n").rfind("my.toml:3:9: unknown key", 0), 0u);
  EXPECT_EQ(message_of("evidence = 'goldn'").rfind("my.toml:1:12: unknown evidence 'goldn'; did you mean 'golden'?", 0), 0u);
  EXPECT_EQ(message_of("[history]\nlength = 1.5").rfind("my.toml:2:10: history.length=1.5: wanted an integer", 0), 0u);
}

TEST(RecipeFile, RefusesContradictions) {
  const std::pair<const char*, const char*> files[] = {
      {"scale.rule='nvfp4'\nsecond.scope='tensor'\ntile.shape='1x16'", "nvfp4 stores its tile factors as e4m3"},
      {"scale.store='e4m3'", "need scale.rule = nvfp4"},
      {"scale.rule='nvfp4'\nscale.store='e4m3'", "needs a factor above the tiles'"},
      {"second.scope='tensor'", "only the rules nvfp4"},
      {"element.rounding='te-e2m1'", "te-e2m1 rounds to e2m1"},
      {"history.kind='msamp'\ntile.shape='1x128'", "one per tensor"},
      {"scale.pow2='up'", "rounds its multiplier down"},
      {"element.codec='logfmt8'", "scale.rule must be fixed"},
      {"history.mu_ratio=1e-3", "only msamp has a factor mu"},
      {"scale.apply='divide'", "only scale.rule = quotient"},
      {"second.select='mse'", "4over6"},
      {"[[override]]\nrole='weight'\nscale.store='e8m0'", "powers of two"}};
  for (const auto& [toml, why] : files) EXPECT_NE(message_of(toml).find(why), std::string::npos) << toml << "\n" << message_of(toml);
}

using RecipeFiles = TemporaryFolder;

TEST_F(RecipeFiles, AreRecipesWhereverANameIs) {
  const std::string path = TemporaryFolder::path("my.toml");
  std::ofstream(path) << "[element]\nformat = 'e5m2'\n[tile]\nshape = '1x64'\n[scale]\nrule = 'quotient'\n"
                         "[[override]]\nrole = 'weight'\ntile.shape = '64x64'\n"
                         "[[option]]\nname = 'fine'\n[[option.choice]]\nvalue = 'yes'\ntile.shape = '1x16'\n";
  read_recipe_files_with(read_recipe_file);
  EXPECT_EQ(make_recipe(path, {})->plan().block, (BlockShape{1, 64}));
  EXPECT_EQ(make_recipe(path, {})->plan().format, e5m2);
  EXPECT_EQ(make_recipe(path, {Role::weight})->plan().block, (BlockShape{64, 64}));
  EXPECT_EQ(make_recipe(path + ":fine=yes", {})->plan().block, (BlockShape{1, 16}));
  EXPECT_EQ(make_recipe(path + ":tile.shape=1x8", {})->plan().block, (BlockShape{1, 8}));
  EXPECT_EQ(recipe_name(path + ":fine=yes"), path);
  EXPECT_EQ(find_recipe(path).name, "my");
  EXPECT_THROW(make_recipe(TemporaryFolder::path("none.toml"), {}), IoError);
}

TEST(RecipeDocs, AreThoseOfTheTables) {
  std::ifstream file(std::string(FP8SCOPE_SOURCE) + "/notebooks-data/docs/recipes.md");
  const std::string text{std::istreambuf_iterator<char>(file), {}};
  EXPECT_TRUE(text == recipe_docs()) << "run: build/release/fp8scope recipes --docs > notebooks-data/docs/recipes.md";
}

}  // namespace
}  // namespace fp8scope
