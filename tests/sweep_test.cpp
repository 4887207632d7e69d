// The parts of a sweep: specification, grid, parts, journal, lock.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmath>
#include <map>
#include <random>
#include <set>

#include "src/errors.hpp"
#include "src/sweep/crc32c.hpp"
#include "src/sweep/grid.hpp"
#include "src/sweep/journal.hpp"
#include "src/sweep/lock.hpp"
#include "src/sweep/plan.hpp"
#include "src/random_values.hpp"
#include "src/sweep/shard.hpp"
#include "src/sweep/spec.hpp"
#include "tests/temporary_folder.hpp"

namespace fp8scope {
namespace {

Config config_of(const std::string& toml) {
  Config config;
  config.add_text(toml, "spec.toml");
  return config;
}
SweepSpec spec_of(const std::string& toml) { return read_spec(config_of(toml), "spec.toml"); }
Grid grid_of(const std::string& toml, std::uint64_t most = 1000) { return make_grid(spec_of(toml), most); }

std::vector<std::string> recipes_of_points(const Grid& grid) {
  std::vector<std::string> names;
  for (const Point& point : grid.points) names.push_back(grid.recipes[point.recipe]);
  return names;
}

TEST(Grid, IsTheProductInTheOrderOfTheFileAndOptionsGoToTheRecipesThatHaveThem) {
  const Grid grid = grid_of(R"(
trace = "t.h5"
[grid]
recipe = ["te_delayed", "te_block:scales=fp32"]
margin = [0, 1]
amax_history_len = "1-16*4"
)");
  EXPECT_EQ(grid.axes, (std::vector<std::string>{"recipe", "margin", "amax_history_len"}));
  EXPECT_EQ(recipes_of_points(grid),
            (std::vector<std::string>{
                "te_delayed:margin=0:amax_history_len=1", "te_delayed:margin=0:amax_history_len=4",
                "te_delayed:margin=0:amax_history_len=16", "te_delayed:margin=1:amax_history_len=1",
                "te_delayed:margin=1:amax_history_len=4", "te_delayed:margin=1:amax_history_len=16", "te_block:scales=fp32"}));
  EXPECT_EQ(grid.points.back().values, (std::vector<std::string>{"te_block:scales=fp32", "", ""}));
}

TEST(Grid, IncludesKeepTheOtherAxesAndExcludesMatchByTextOrExpression) {
  const Grid grid = grid_of(R"(
trace = "t.h5"
[grid]
recipe = ["te_current", "dsv3"]
accum = ["hopper_wgmma", "none"]
f = [13, 25]
[[include]]
recipe = "te_delayed"
margin = 2
[[exclude]]
recipe = "/te_.*/"
accum = "hopper_wgmma"
f = "25"
)");
  std::vector<std::string> all;
  for (const Point& p : grid.points) all.push_back(grid.recipes[p.recipe] + (p.unit < 0 ? "" : " " + unit_name(grid.units[p.unit])));
  EXPECT_EQ(all, (std::vector<std::string>{"te_current hopper_wgmma:f=13", "te_current", "dsv3 hopper_wgmma:f=13",
                                           "dsv3 hopper_wgmma:f=25", "dsv3", "te_delayed:margin=2 hopper_wgmma:f=13",
                                           "te_delayed:margin=2"}));
}

TEST(Grid, SourcesThatDifferInNothingAreOne) {
  const Grid grid = grid_of(R"(
trace = "t.h5"
inject.kind = "token"
[grid]
recipe = "dsv3"
inject.ratio = [1, 10, 100]
seed = [1, 2]
)");
  EXPECT_EQ(grid.sources.size(), 5u);  // nothing injected once, two seeds of two ratios
  EXPECT_EQ(source_name(grid.sources[0]), "trace");
}

struct Wrong {
  const char* toml;
  std::vector<std::string> words;
};

TEST(Spec, SaysWhereItIsWrongAndWhatWasMeant) {
  const Wrong cases[] = {
      {"trace = \"t\"\n[grd]\nrecipe = \"dsv3\"\n", {"spec.toml:3:1", "unknown key 'grd'", "'grid'"}},
      {"trace = \"t\"\n[grid]\nrecipe = \"dsv3\"\n  marginn = 1\n", {"spec.toml:4:3", "'marginn'", "'margin'"}},
      {"trace = \"t\"\n[grid]\nrecipe = \"dsv4\"\n", {"spec.toml:3:1", "dsv4", "dsv3"}},
      {"trace = \"t\"\n[select]\nlayer = \"x\"\n[grid]\nrecipe = \"dsv3\"\n", {"spec.toml:3:1", "select.layer", "select.layers"}},
      {"trace = \"t\"\n[select]\nlayers = \"(\"\n[grid]\nrecipe = \"dsv3\"\n", {"spec.toml:3:1", "regular expression"}},
      {"trace = \"t\"\n[select]\nsteps = \"9-1\"\n[grid]\nrecipe = \"dsv3\"\n", {"spec.toml:3:1", "9-1"}},
      {"trace = \"t\"\n[select]\ntensors = \"foo\"\n[grid]\nrecipe = \"dsv3\"\n", {"spec.toml:3:1", "foo", "activation"}},
      {"trace = \"t\"\n[grid]\nrecipe = [\"dsv3\", \"dsv3\"]\n", {"spec.toml:3:1", "twice"}},
      {"trace = \"t\"\n[grid]\nrecipe = []\n", {"spec.toml:3:1", "empty"}},
      {"trace = \"t\"\n[grid]\nrecipe = \"te_delayed\"\nmargin = nan\n", {"spec.toml:4:1", "margin"}},
      {"trace = \"t\"\n[grid]\nrecipe = \"te_delayed\"\nmargin = 2024-01-01\n", {"spec.toml:4:1", "margin"}},
      {"trace = \"t\"\n[grid]\nrecipe = \"te_block\"\nmargin = 1\n", {"spec.toml:4:1", "margin", "none of the recipes"}},
      {"trace = \"t\"\n[grid]\nrecipe = \"te_delayed\"\nmargin = \"x\"\n", {"te_delayed:margin=x"}},
      {"trace = \"t\"\n[grid]\nrecipe = \"dsv3\"\naccum = \"hoper_wgmma\"\n", {"spec.toml:4:1", "hoper_wgmma", "hopper_wgmma"}},
      {"trace = \"t\"\n[grid]\nrecipe = \"dsv3\n", {"spec.toml:3:"}},
      {"trace = \"t\"\nschema = 2\n[grid]\nrecipe = \"dsv3\"\n", {"spec.toml:2:1", "schema 2"}},
      {"[grid]\nrecipe = \"dsv3\"\n", {"spec.toml", "trace"}},
      {"trace = \"t\"\n[synthetic]\nrows = 8\n[grid]\nrecipe = \"dsv3\"\n", {"both"}},
      {"trace = \"t\"\n", {"[grid]"}},
      {"trace = \"t\"\ngrid = 3\n", {"spec.toml:2:1", "[grid]"}},
      {"trace = \"t\"\n[grid]\nrecipe = \"te_delayed\"\nmargin = \"0-2000\"\n", {"spec.toml:4:1", "1000 points", "--max-points"}},
      {"trace = \"t\"\n[grid]\nrecipe = \"dsv3\"\n[[exclude]]\nmargin = 1\n", {"spec.toml:5:1", "margin", "no axis"}},
      {"trace = \"t\"\n[grid]\nrecipe = \"dsv3\"\n[[exclude]]\nrecipe = \"dsv3\"\n", {"no points"}},
  };
  for (const Wrong& wrong : cases)
    EXPECT_TRUE(is_line_with(message_of<UsageError>([&] { grid_of(wrong.toml); }), wrong.words)) << wrong.toml;
}

TEST(Spec, GridSizesThatOverflowAreRefused) {
  std::string toml = "trace = \"t\"\n[grid]\nrecipe = \"te_delayed\"\n";
  for (const char* key : {"margin", "amax_history_len", "seed", "f"}) toml += std::string(key) + " = \"1-65536\"\n";
  EXPECT_TRUE(is_line_with(message_of<UsageError>([&] { grid_of(toml, ~std::uint64_t{0}); }), {"more than"}));
}

TEST(Config, LaterLayersReplaceKeysAndTheTextReadsBackAsTheSame) {
  Config config = config_of("trace = \"a\\\"b\"\n[grid]\nrecipe = [\"dsv3\"]\nmargin = [1, 2]\n[[include]]\nrecipe = \"mxfp8\"\n");
  config.set("grid.margin=[3]", "--set");
  config.set("trace=bare.h5", "--set");
  EXPECT_EQ(config.find("trace")->value(), "bare.h5");
  EXPECT_EQ(config.find("grid.margin")->values, std::vector<std::string>{"3"});
  const std::string text = config.text("", false);
  EXPECT_EQ(config_of(text).text("", false), text);
  EXPECT_NE(config.text("", true).find("# --set"), std::string::npos);
  EXPECT_NE(config.text("", true).find("# spec.toml:3:1"), std::string::npos);
  EXPECT_TRUE(is_line_with(message_of<UsageError>([&] { config.set("x", "--set"); }), {"--set x", "KEY=VALUE"}));
  EXPECT_TRUE(is_line_with(message_of<UsageError>([&] { config.set("x=[1,", "--set"); }), {"--set"}));
}

TEST(Selection, TakesLayersByExpressionTensorsByClassAndStepsByRange) {
  const SweepSpec spec = spec_of(
      "trace = \"t\"\n[select]\nlayers = 'mlp|^L02'\ntensors = [\"activation\", \"dy\"]\nsteps = [3, \"10-20+5\"]\n[grid]\nrecipe = \"dsv3\"\n");
  TensorInfo info;
  info.layer = "L02.down", info.operand = "x";
  EXPECT_TRUE(spec.select.has_tensor(info));
  info.operand = "w";
  EXPECT_FALSE(spec.select.has_tensor(info));
  info.layer = "L03.up", info.operand = "dy";
  EXPECT_FALSE(spec.select.has_tensor(info));
  info.name_in_framework = "model.layers.3.mlp.up";
  EXPECT_TRUE(spec.select.has_tensor(info));
  std::set<int> steps;
  for (int s = 0; s < 30; ++s)
    if (spec.select.has_step(s)) steps.insert(s);
  EXPECT_EQ(steps, (std::set<int>{3, 10, 15, 20}));
}

TEST(Synthetic, TheSameTensorWhateverIsSelectedAndWhateverThePanels) {
  const Grid grid = grid_of("[synthetic]\nrows = 40\ncols = 30\noutputs = 20\n[inject]\nkind = \"channel\"\nratio = 100\nfraction = 0.2\n"
                            "[grid]\nrecipe = \"dsv3\"\n");
  Selection all, only_dy;
  only_dy.set_tensors({"", {"dy"}, false, true, "", ""});
  const Catalog whole = synthetic_catalog(grid.sources[0], all), part = synthetic_catalog(grid.sources[0], only_dy);
  ASSERT_EQ(whole.tensors.size(), 3u);
  ASSERT_EQ(part.tensors.size(), 1u);
  const Source a(grid.sources[0], whole, nullptr), b(grid.sources[0], part, nullptr);
  std::vector<float> x(800), y(800), plain(1200);
  a.input().read_rows(2, 1, 0, 40, x.data());
  for (int r = 0; r < 40; r += 8) b.input().read_rows(0, 1, r, 8, y.data() + r * 20);
  EXPECT_EQ(x, y);
  a.input().read_rows(0, 0, 0, 40, plain.data());
  std::set<int> loud;  // columns with outliers
  for (int i = 0; i < 1200; ++i)
    if (std::fabs(plain[i]) > 10) loud.insert(i % 30);
  EXPECT_GT(loud.size(), 1u);
  EXPECT_LT(loud.size(), 15u);
}

TEST(RandomValues, NormalQuantilesAreThoseOfTheTables) {
  EXPECT_NEAR(normal_quantile(0.5), 0.0, 1e-9);
  EXPECT_NEAR(normal_quantile(0.975), 1.959963984540054, 5e-9);
  EXPECT_NEAR(normal_quantile(1e-9), -5.997807014870, 5e-8);
  double sum = 0, squares = 0;
  for (int i = 0; i < 20000; ++i) {
    const double z = normal_quantile(uniform01(random_words(7, 1, i).word[0]));
    sum += z, squares += z * z;
  }
  EXPECT_NEAR(sum / 20000, 0.0, 0.03);
  EXPECT_NEAR(squares / 20000, 1.0, 0.03);
}

Shard automatic(const std::map<std::string, std::string>& set) {
  return parse_shard("auto", [&](const char* name) {
    const auto found = set.find(name);
    return found == set.end() ? std::nullopt : std::optional(found->second);
  });
}
bool is(const Shard& shard, std::uint64_t index, std::uint64_t count) { return shard.index == index && shard.count == count; }

TEST(Shard, IsReadFromTheWordOrTheEnvironmentOfEveryLauncher) {
  EXPECT_TRUE(is(parse_shard("3/8", process_environment), 3, 8));
  const std::map<std::string, std::string> array{{"SLURM_ARRAY_TASK_ID", "7"}, {"SLURM_ARRAY_TASK_MIN", "1"},
                                                 {"SLURM_ARRAY_TASK_MAX", "9"}, {"SLURM_ARRAY_TASK_STEP", "2"},
                                                 {"SLURM_ARRAY_TASK_COUNT", "5"}, {"SLURM_PROCID", "0"}};
  EXPECT_TRUE(is(automatic(array), 3, 5));  // SLURM_PROCID of a batch script is no rank
  auto steps = array;
  steps["SLURM_STEP_ID"] = "0", steps["SLURM_STEP_NUM_TASKS"] = "4", steps["SLURM_PROCID"] = "2";
  EXPECT_TRUE(is(automatic(steps), 3 * 4 + 2, 20));
  EXPECT_TRUE(is(automatic({{"OMPI_COMM_WORLD_RANK", "2"}, {"OMPI_COMM_WORLD_SIZE", "6"}}), 2, 6));
  EXPECT_TRUE(is(automatic({{"PMI_RANK", "0"}, {"PMI_SIZE", "6"}}), 0, 6));
  EXPECT_TRUE(is(automatic({{"PBS_ARRAY_INDEX", "4"}, {"FP8SCOPE_SHARDS", "6"}}), 4, 6));
  EXPECT_TRUE(is(automatic({{"PBS_ARRAY_INDEX", "6"}, {"FP8SCOPE_SHARDS", "6"}, {"FP8SCOPE_FIRST", "1"}}), 5, 6));
  EXPECT_TRUE(is(automatic({{"SGE_TASK_ID", "3"}, {"SGE_TASK_FIRST", "1"}, {"SGE_TASK_LAST", "4"}, {"SGE_TASK_STEPSIZE", "1"}}), 2, 4));
  EXPECT_TRUE(is(automatic({{"LSB_JOBINDEX", "2"}, {"LSB_JOBINDEX_END", "4"}}), 1, 4));
}

TEST(Shard, SaysWhatIsWrong) {
  const auto said = [](const std::string& text) { return message_of<UsageError>([&] { parse_shard(text, [](const char*) { return std::nullopt; }); }); };
  EXPECT_TRUE(is_line_with(said("8/8"), {"0/8 to 7/8"}));
  EXPECT_TRUE(is_line_with(said("3"), {"I/N"}));
  EXPECT_TRUE(is_line_with(said("-1/3"), {"-1"}));
  EXPECT_TRUE(is_line_with(said("0/0"), {"1 to 1000000"}));
  EXPECT_TRUE(is_line_with(said("auto"), {"environment", "I/N"}));
  EXPECT_TRUE(is_line_with(message_of<UsageError>([] { automatic({{"PBS_ARRAY_INDEX", "4"}}); }), {"FP8SCOPE_SHARDS"}));
  EXPECT_TRUE(is_line_with(message_of<UsageError>([] { automatic({{"PBS_ARRAY_INDEX", "6"}, {"FP8SCOPE_SHARDS", "6"}}); }), {"not among"}));
}

using JournalFile = TemporaryFolder;
const std::string plan_a(64, 'a'), plan_b(64, 'b');

std::map<std::uint64_t, std::string> records(const std::string& path, JournalScan* scan = nullptr) {
  std::map<std::uint64_t, std::string> all;
  const JournalScan found = Journal(path, plan_a).scan([&](std::uint64_t item, std::string_view payload, std::uint64_t) { all[item] = payload; });
  if (scan) *scan = found;
  return all;
}

void write_journal(const std::string& path, int first, int last) {
  JournalWriter journal(path, plan_a);
  for (int i = first; i < last; ++i) journal.append(i, std::string(10 + i * 7 % 50, static_cast<char>('A' + i % 26)));
}

TEST(Crc32c, IsThatOfRfc3720) {
  EXPECT_EQ(crc32c("123456789"), 0xE3069283u);
  EXPECT_EQ(crc32c(std::string(32, '\0')), 0x8A9136AAu);
  EXPECT_EQ(crc32c("6789", crc32c("12345")), 0xE3069283u);
}

TEST_F(JournalFile, GoesOnWhereItEndedAndRefusesAnotherPlan) {
  write_journal(path("j"), 0, 20);
  write_journal(path("j"), 20, 30);
  EXPECT_EQ(records(path("j")).size(), 30u);
  EXPECT_TRUE(is_line_with(message_of<DataError>([&] { Journal(path("j"), plan_b); }), {"another plan"}));
  EXPECT_TRUE(is_line_with(message_of<DataError>([&] { JournalWriter(path("j"), plan_b); }), {"another plan"}));
  write_bytes(path("k"), std::string(200, 'x'));
  EXPECT_TRUE(is_line_with(message_of<DataError>([&] { Journal(path("k"), plan_a); }), {"no", "journal"}));
}

TEST_F(JournalFile, CutOffAnywhereKeepsTheRecordsBeforeAndIsWrittenOn) {
  write_journal(path("j"), 0, 12);
  const std::string whole = bytes_of(path("j"));
  const auto expected = records(path("j"));
  for (std::size_t size = 0; size < whole.size(); ++size) {
    write_bytes(path("t"), whole.substr(0, size));
    JournalScan scan;
    const auto kept = size < 76 ? std::map<std::uint64_t, std::string>{} : records(path("t"), &scan);
    for (const auto& [item, payload] : kept) EXPECT_EQ(payload, expected.at(item));
    write_journal(path("t"), static_cast<int>(kept.size()), 12);
    EXPECT_EQ(bytes_of(path("t")), whole) << size;
  }
}

TEST_F(JournalFile, ADamagedByteCostsItsRecordAndNoOther) {
  write_journal(path("j"), 0, 12);
  const std::string whole = bytes_of(path("j"));
  const auto expected = records(path("j"));
  for (std::size_t at = 76; at < whole.size(); ++at)
    for (const int bit : {0, 3, 7}) {
      std::string damaged = whole;
      damaged[at] = static_cast<char>(damaged[at] ^ (1 << bit));
      write_bytes(path("d"), damaged);
      JournalScan scan;
      const auto kept = records(path("d"), &scan);
      ASSERT_EQ(kept.size(), 11u) << at;
      for (const auto& [item, payload] : kept) ASSERT_EQ(payload, expected.at(item));
      ASSERT_GT(scan.damaged + scan.torn, 0u);
    }
}

TEST_F(JournalFile, RandomBytesAreReadWithoutACrash) {
  write_journal(path("j"), 0, 20);
  const std::string whole = bytes_of(path("j"));
  std::mt19937 random(5);
  for (int i = 0; i < 3000; ++i) {
    std::string mutant = whole;
    for (unsigned n = 0; n <= random() % 20; ++n) {
      const std::size_t at = random() % mutant.size();
      if (random() % 3 == 0)
        mutant.erase(at, random() % 40);
      else if (random() % 2 == 0)
        mutant.insert(at, whole.substr(random() % whole.size(), random() % 60));
      else
        mutant[at] = static_cast<char>(random());
      if (mutant.empty()) mutant = whole;
    }
    write_bytes(path("m"), mutant);
    try {
      for (const auto& [item, payload] : records(path("m"))) EXPECT_EQ(payload.size(), 10 + item * 7 % 50);
    } catch (const DataError&) {  // the header
    }
  }
}

TEST_F(JournalFile, AFileSizeLimitIsAnErrorAndTheJournalStaysValid) {
  const std::string file = path("j");
  const pid_t child = fork();
  if (child == 0) {
    const rlimit limit{1000, 1000};
    setrlimit(RLIMIT_FSIZE, &limit);
    int written = 0;
    try {
      JournalWriter journal(file, plan_a);
      for (;; ++written) journal.append(written, std::string(100, 'x'));
    } catch (const IoError& error) {
      _exit(std::string(error.what()).find("ulimit -f") != std::string::npos ? written : 99);
    } catch (...) {
      _exit(98);
    }
  }
  int status = 0;
  waitpid(child, &status, 0);
  EXPECT_EQ(WEXITSTATUS(status), (1000 - 76) / 120);
  JournalScan scan;
  EXPECT_EQ(records(file, &scan).size(), 7u);
  EXPECT_EQ(scan.torn, 0u);
}

using LockFile = TemporaryFolder;

TEST_F(LockFile, IsHeldByOneProcessAndEndsWithIt) {
  int pipe_ends[2];
  ASSERT_EQ(pipe(pipe_ends), 0);
  const pid_t child = fork();
  if (child == 0) {
    const Lock lock(path("l"), "it");
    [[maybe_unused]] const auto n = write(pipe_ends[1], "x", 1);
    pause();
  }
  char byte = 0;
  ASSERT_EQ(read(pipe_ends[0], &byte, 1), 1);
  EXPECT_TRUE(is_line_with(message_of<IoError>([&] { Lock(path("l"), "it"); }),
                           {"it: process " + std::to_string(child), this_process().host, "resume"}));
  kill(child, SIGKILL);
  waitpid(child, nullptr, 0);
  EXPECT_NO_THROW(Lock(path("l"), "it"));
}

TEST(Plan, NumbersEveryItemOnce) {
  SweepSpec spec = spec_of("[synthetic]\nlayers = 2\nrows = 16\ncols = 16\noutputs = 16\n[select]\nsteps = \"1-3+2\"\n"
                           "[grid]\nseed = [1, 2]\ngemms = [\"first\", \"all\"]\nrecipe = [\"te_delayed\", \"dsv3\"]\nmargin = \"0-20\"\naccum = [\"none\", \"hopper_wgmma\"]\n");
  const SweepPlan plan(std::move(spec), 1000, {}, {});
  std::set<std::uint64_t> seen;
  std::uint64_t count = 0;
  for (const CastGroup& group : plan.casts())
    for (std::size_t t = 0; t < plan.layout(group.source).catalog.tensors.size(); ++t)
      for (std::size_t s = 0; s < 4; ++s)
        for (std::size_t b = 0; b < SweepPlan::batches(group); ++b)
          if (const auto item = plan.cast_item(group, t, s, b)) seen.insert(*item), ++count;
  for (const GemmGroup& group : plan.gemms())
    for (std::size_t p = 0; p < plan.layout(group.source).pairs.size(); ++p)
      for (std::size_t s = 0; s < 4; ++s)
        for (std::size_t r = 0; r < group.recipes.size(); ++r)
          if (const auto item = plan.gemm_item(group, p, s, r)) seen.insert(*item), ++count;
  EXPECT_EQ(plan.casts().size(), 4u);
  EXPECT_EQ(count, plan.items());
  EXPECT_EQ(seen.size(), plan.items());
  EXPECT_EQ(*seen.rbegin(), plan.items() - 1);
}

}  // namespace
}  // namespace fp8scope
