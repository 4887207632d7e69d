// `sweep` and `merge` as processes.
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <fstream>
#include <nlohmann/json.hpp>
#include <thread>

#include "sim/simd/isa.hpp"
#include "src/result_file.hpp"
#include "src/sha256.hpp"
#include "src/trace.hpp"
#include "tests/process.hpp"

namespace fp8scope {
namespace {

const std::string program = FP8SCOPE_BINARY;
const std::string trace = FP8SCOPE_SOURCE "/notebooks-data/traces/smollm2.h5";

Outcome fp8scope(const std::string& words) { return run_command(program + " " + words); }

/// A run folder and a specification in it, removed together.
class SweepCommand : public testing::Test {
 protected:
  std::string spec(const std::string& grid, const std::string& head = "trace = \"" + trace + "\"\n[select]\nlayers = 'L(00|29)'\nsteps = \"112-121+4\"\n") {
    const std::string path = folder_ / "spec.toml";
    std::ofstream(path) << head << "[grid]\n" << grid;
    return path;
  }
  static std::string small() { return "recipe = [\"te_delayed\", \"dsv3\"]\nmargin = [0, 1]\naccumulator = [\"none\", \"hopper_wgmma\"]\n"; }
  static std::string synthetic(int layers = 2) {
    return fmt::format("[synthetic]\nlayers = {}\nrows = 64\ncols = 128\noutputs = 64\n", layers);
  }
  std::string run(const std::string& name = "run") const { return folder_ / name; }
  static std::string hash_of(const std::string& run) { return sha256_of_file(run + "/results.h5"); }

  Folder folder_;
};

void expect_line(const Outcome& outcome, int code, const std::vector<std::string>& words) {
  EXPECT_EQ(outcome.code, code) << outcome.out << outcome.err;
  EXPECT_EQ(std::count(outcome.err.begin(), outcome.err.end(), '\n'), 1) << outcome.err;
  for (const std::string& word : words) EXPECT_NE(outcome.err.find(word), std::string::npos) << word << " is not in " << outcome.err;
}

/// The columns that both tables have hold the same values.
void expect_same(const Table& a, const Table& b) {
  ASSERT_EQ(a.rows(), b.rows()) << a.name;
  for (const Column& column : a.columns) {
    const std::string x = print_table([&] { Table t("t", ""); t.columns.push_back(column); return t; }(), TableStyle::csv);
    const std::string y = print_table([&] { Table t("t", ""); t.columns.push_back(b.column(column.name)); return t; }(), TableStyle::csv);
    EXPECT_EQ(x, y) << a.name << "/" << column.name;
  }
}

TEST_F(SweepCommand, MeasuresWhatReplayMeasures) {
  const std::string file = spec("recipe = [\"te_delayed:amax_history_len=4\", \"te_block\", \"mxfp8\"]\ngemms = \"all\"\naccumulator = \"hopper_wgmma\"\n",
                                "trace = \"" + trace + "\"\n");
  const Outcome swept = fp8scope("sweep " + file + " -o " + run());
  ASSERT_EQ(swept.code, 0) << swept.err;
  ASSERT_EQ(fp8scope("replay " + trace + " -r te_delayed:amax_history_len=4,te_block,mxfp8 --gemms all -a hopper_wgmma -o " + run("replay.h5")).code, 0);
  const Results expected = read_results(run("replay.h5")), found = read_results(run() + "/results.h5");
  for (const char* name : {"results", "hist", "gemm", "lookup/tensor", "lookup/recipe", "lookup/gemm", "lookup/accumulator"}) {
    const auto table = [&](const Results& r) -> const Table& { return *std::ranges::find(r.tables, name, &Table::name); };
    if (std::string(name) != "gemm") {
      expect_same(table(expected), table(found));
      continue;
    }
    // A sweep keeps a row for what could not be computed; replay leaves it out.
    EXPECT_LE(table(expected).rows(), table(found).rows());
  }
}

TEST_F(SweepCommand, OneHashForThreadsInstructionsPartsAndCompilers) {
  const std::string file = spec(small(), "trace = \"" + trace + "\"\n[select]\nlayers = 'L00.(o|down)'\nsteps = \"112-121+6\"\n");
  std::string expected;
  int files = 0;
  const auto check = [&](const std::string& what) {
    const std::string hash = hash_of(run());
    if (expected.empty()) expected = hash;
    EXPECT_EQ(hash, expected) << what;
    std::filesystem::remove_all(run());
    ++files;
  };
  std::vector<std::string> programs{program};
  if (commit_of(FP8SCOPE_OTHER_BINARY) == commit_of(program)) programs.push_back(FP8SCOPE_OTHER_BINARY);
  for (const std::string& binary : programs)
    for (const NamedIsa& isa : isas) {
      if (!isa_supported(isa.isa)) continue;
      for (const int threads : {1, 2, 4}) {
        const std::string words = fmt::format("{} sweep {} -o {} --reproducible -j {} --isa {} --max-mem {}", binary, file, run(), threads, isa.name,
                                              threads == 2 ? "8MiB" : "1GiB");
        ASSERT_EQ(run_command(words).code, 0) << words << run_command(words).err;
        check(words);
      }
      for (int part = 0; part < 3; ++part)
        ASSERT_EQ(run_command(fmt::format("{} sweep {} -o {} --isa {} --shard {}/3", binary, file, run(), isa.name, part)).code, 0);
      ASSERT_EQ(run_command(fmt::format("{} merge {} --reproducible", binary, run())).code, 0);
      check(fmt::format("{} {} three parts", binary, isa.name));
    }
  fmt::print("one sha256 {} from {} runs of {} compiler(s)\n", expected, files, programs.size());
  if (programs.size() == 1) GTEST_SKIP() << "only one compiler: " << FP8SCOPE_OTHER_BINARY << " was not built, or from another commit";
}

TEST_F(SweepCommand, PartsOfAnotherNumberGoOnWithWhatIsThere) {
  const std::string file = spec(small());
  ASSERT_EQ(fp8scope(fmt::format("sweep {} -o {} --shard 1/4", file, run())).code, 0);
  expect_line(fp8scope("merge " + run()), 3, {"items are missing", "0/4, 2/4, 3/4", "--partial"});
  EXPECT_EQ(fp8scope("merge " + run() + " --partial").code, 0);
  EXPECT_EQ(fp8scope("export -f csv " + run() + "/results.h5").code, 0);
  ASSERT_EQ(fp8scope(fmt::format("sweep {} -o {} --resume --reproducible", file, run())).code, 0);
  ASSERT_EQ(fp8scope(fmt::format("sweep {} -o {} --reproducible", file, run("other"))).code, 0);
  EXPECT_EQ(hash_of(run()), hash_of(run("other")));
}

TEST_F(SweepCommand, AsksForResumeAndRefusesAnotherSpecification) {
  const std::string file = spec(small());
  ASSERT_EQ(fp8scope(fmt::format("sweep {} -o {}", file, run())).code, 0);
  expect_line(fp8scope(fmt::format("sweep {} -o {}", file, run())), 2, {"--resume"});
  EXPECT_EQ(fp8scope(fmt::format("sweep {} -o {} --resume", file, run())).code, 0);
  expect_line(fp8scope(fmt::format("sweep {} -o {} --resume --set grid.margin=3", file, run())), 2, {"another sweep", "margin = 3", "choose another -o"});
}

TEST_F(SweepCommand, DryRunAndShowConfigWriteNothing) {
  const std::string file = spec(small());
  const Outcome dry = fp8scope("sweep " + file + " --dry-run");
  EXPECT_EQ(dry.code, 0) << dry.err;
  for (const char* word : {"points         6", "tensors", "items", "reads", "writes", "memory", "time", "point 0", "point 5"})
    EXPECT_NE(dry.out.find(word), std::string::npos) << word << "\n" << dry.out;
  const auto json = nlohmann::json::parse(fp8scope("sweep " + file + " --dry-run --json").out);
  EXPECT_EQ(json["points"], 6);
  const Outcome shown = run_command("FP8SCOPE_MAX_MEM=3GiB " + program + " sweep " + file + " --show-config -j 3 --set grid.margin=[7]");
  for (const char* line : {"run.threads = 3 ", "# --threads", "run.max_mem = \"3GiB\"", "# FP8SCOPE_MAX_MEM", "grid.margin = [7]", "# --set", "spec.toml:6:1", "# built in"})
    EXPECT_NE(shown.out.find(line), std::string::npos) << line << "\n" << shown.out;
  EXPECT_EQ(folder_.files(), 1u);
}

TEST_F(SweepCommand, WrongSpecificationsAreOneLineAndExitCode2) {
  const std::string file = spec("recipe = \"dsv3\"\nmargn = 1\n");
  expect_line(fp8scope("sweep " + file + " -o " + run()), 2, {"spec.toml:7:1", "margn", "margin"});
  const Outcome json = fp8scope("sweep " + file + " -o " + run() + " --json");
  EXPECT_EQ(nlohmann::json::parse(json.err)["error"]["code"], 2);
  expect_line(fp8scope("sweep " + spec("recipe = \"te_delayed\"\nmargin = \"0-99\"\n") + " -o " + run() + " --max-points 99"), 2, {"99 points", "--max-points"});
  expect_line(fp8scope("sweep /no/such.toml -o " + run()), 4, {"/no/such.toml"});
  EXPECT_FALSE(std::filesystem::exists(run()));
}

TEST_F(SweepCommand, RecipesThatDoNotFitAreSkippedAndSoMarked) {
  const std::string file = spec("recipe = [\"mxfp8\", \"dsv3\"]\n", "[synthetic]\nrows = 40\ncols = 100\noutputs = 50\nsteps = 1\n[select]\ntensors = \"x\"\n");
  const Outcome outcome = fp8scope("sweep " + file + " -o " + run());
  EXPECT_EQ(outcome.code, 0) << outcome.err;
  EXPECT_NE(outcome.out.find("1 skipped"), std::string::npos) << outcome.out;
  const Results results = read_results(run() + "/results.h5");
  EXPECT_EQ(std::get<std::vector<std::int64_t>>(results.tables.front().column("status").values), (std::vector<std::int64_t>{1, 0}));
}

TEST_F(SweepCommand, ATensorThatCannotBeReadFailsAloneAndIsTriedAgain) {
  const std::string copy = run("copy.h5");
  std::filesystem::copy_file(trace, copy);
  {
    std::fstream file(copy, std::ios::in | std::ios::out | std::ios::binary);
    file.seekp(6'000'000);
    file.write("damaged", 7);
  }
  const std::string file = spec("recipe = [\"te_current\", \"dsv3\"]\n", "trace = \"" + copy + "\"\n");
  const Outcome outcome = fp8scope("sweep " + file + " -o " + run());
  expect_line(outcome, 3, {"rows failed", "copy.h5", "--resume tries them again"});
  const Results results = read_results(run() + "/results.h5");
  const auto& status = std::get<std::vector<std::int64_t>>(results.tables.front().column("status").values);
  EXPECT_EQ(std::ranges::count(status, 2), 2);
  EXPECT_EQ(std::ranges::count(status, 0), std::ssize(status) - 2);
}

/// Starts the program and gives it `ms` before the signal.
Outcome interrupted(const std::string& words, int signal, int ms) {
  return run_command(fmt::format("exec 3>&1; timeout -s {} --preserve-status {:.3f} {} {}", signal, ms / 1000.0, program, words));
}

TEST_F(SweepCommand, SignalsFinishTheRecordAndSayHowToResume) {
  const std::string file = spec("recipe = \"te_delayed\"\namax_history_len = \"1-64\"\nmargin = \"0-9\"\n", synthetic(8));
  const std::pair<int, int> signals[] = {{SIGINT, 130}, {SIGTERM, 143}, {SIGUSR1, 143}};
  for (const auto& [signal, code] : signals) {
    Outcome outcome{};
    for (int ms = 150; ms < 10000 && outcome.code != code; ms += ms / 2) {  // until it hits the middle
      std::filesystem::remove_all(run());
      outcome = interrupted(fmt::format("sweep {} -o {} -j 1 --reproducible", file, run()), signal, ms);
      if (outcome.code == 0) break;
    }
    ASSERT_EQ(outcome.code, code) << outcome.err;
    const std::size_t line = outcome.err.find("fp8scope sweep ");
    ASSERT_NE(line, std::string::npos) << outcome.err;
    const std::string resume = outcome.err.substr(line + 9, outcome.err.find('\n', line) - line - 9);
    const Outcome resumed = fp8scope(resume);
    EXPECT_EQ(resumed.code, 0) << resume << resumed.err;
    static std::string expected;
    if (expected.empty()) expected = hash_of(run());
    EXPECT_EQ(hash_of(run()), expected);
  }
}

TEST_F(SweepCommand, TwoProcessesOnOneRunAreRefused) {
  const std::string file = spec("recipe = \"te_delayed\"\namax_history_len = \"1-64\"\nmargin = \"0-9\"\n", synthetic(20));
  const Outcome both = run_command(fmt::format("{0} sweep {1} -o {2} --no-progress -j 1 & first=$!; for i in $(seq 100); do [ -s {2}/journal-0-of-1.lock ] && break; sleep 0.05; done; "
                                               "{0} sweep {1} -o {2} --resume; code=$?; kill -9 $first; wait $first; exit $code", program, file, run()));
  EXPECT_EQ(both.code, 4) << both.err;
  EXPECT_NE(both.err.find("is at work on it"), std::string::npos) << both.err;
}

TEST_F(SweepCommand, AFileSizeLimitLosesNothing) {
  const std::string file = spec(small());
  ASSERT_EQ(fp8scope(fmt::format("sweep {} -o {} --reproducible", file, run("free"))).code, 0);
  const Outcome limited = run_command(fmt::format("ulimit -f 16; {} sweep {} -o {} --reproducible", program, file, run()));
  expect_line(limited, 4, {"journal-0-of-1.bin", "ulimit -f", "--resume"});
  EXPECT_FALSE(std::filesystem::exists(run() + "/results.h5"));
  ASSERT_EQ(fp8scope(fmt::format("sweep {} -o {} --resume --reproducible", file, run())).code, 0);
  EXPECT_EQ(hash_of(run()), hash_of(run("free")));
}

TEST_F(SweepCommand, AFullDiskLosesNothing) {
  const std::string disk = run("disk"), file = spec(small());
  std::filesystem::create_directory(disk);
  if (run_command("mount -t tmpfs -o size=96k tmpfs " + disk).code != 0) GTEST_SKIP() << "cannot mount a tmpfs: not root, or a container without the right";
  const Outcome full = fp8scope(fmt::format("sweep {} -o {}/run --reproducible", file, disk));
  EXPECT_EQ(full.code, 4) << full.err;
  EXPECT_NE(full.err.find("No space left"), std::string::npos) << full.err;
  EXPECT_FALSE(std::filesystem::exists(disk + "/run/results.h5"));
  EXPECT_EQ(run_command("mount -o remount,size=8m " + disk).code, 0);
  const Outcome resumed = fp8scope(fmt::format("sweep {} -o {}/run --resume --reproducible", file, disk));
  EXPECT_EQ(resumed.code, 0) << resumed.err;
  ASSERT_EQ(fp8scope(fmt::format("sweep {} -o {} --reproducible", file, run("free"))).code, 0);
  EXPECT_EQ(hash_of(disk + "/run"), hash_of(run("free")));
  EXPECT_EQ(run_command("mount -o remount,ro " + disk).code, 0);
  const Outcome read_only = fp8scope(fmt::format("sweep {} -o {}/run --resume", file, disk));
  expect_line(read_only, 4, {"Read-only file system"});
  EXPECT_EQ(run_command("umount " + disk).code, 0);
}

TEST_F(SweepCommand, EventsForDriversAreJsonLines) {
  const Outcome outcome = fp8scope(fmt::format("sweep {} -o {} --json --progress-every 0.05", spec(small()), run()));
  ASSERT_EQ(outcome.code, 0) << outcome.err;
  std::istringstream lines(outcome.err);
  std::map<std::string, int> events;
  for (std::string line; std::getline(lines, line);) ++events[nlohmann::json::parse(line)["event"]];
  EXPECT_EQ(events["start"], 1);
  const auto result = nlohmann::json::parse(outcome.out);
  EXPECT_EQ(events["item"], result["items"]);
  EXPECT_EQ(result["status"], "complete");
}

TEST_F(SweepCommand, ATraceFourTimesLargerThanMaxMemStaysWithinIt) {
  constexpr std::int64_t rows = 16384, cols = 2048;  // 128 MiB as binary32
  const std::string large = run("large.h5");
  {
    TraceWriter writer(large, {0}, {}, {}, 0);
    TensorInfo info;
    info.layer = "L0", info.operand = "x", info.dtype = "bfloat16", info.rows = info.rows_total = rows, info.cols = cols;
    info.gemms = {{"fprop", 2}};
    const int tensor = writer.add(info);
    std::vector<std::uint16_t> panel(128 * cols);
    for (std::size_t i = 0; i < panel.size(); ++i) panel[i] = static_cast<std::uint16_t>(0x3c00 + i * 2654435761u % 0x400);
    for (std::int64_t r = 0; r < rows; r += 128) writer.write_rows(tensor, 0, r, 128, panel.data());
    writer.commit();
  }
  const std::string file = spec("recipe = [\"te_delayed\", \"te_block\", \"dsv3\"]\n", "trace = \"" + large + "\"\n");
  const auto peak = [&](const std::string& memory, const std::string& name) {  // of the process and its children, KiB
    const Outcome outcome = run_command(fmt::format("/usr/bin/python3 -c \"import resource,subprocess,sys; c=subprocess.call(['{}','sweep','{}','-o','{}','--max-mem','{}','-j','2','--reproducible','--json'],stdout=subprocess.DEVNULL,stderr=subprocess.DEVNULL); print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss); sys.exit(c)\"",
                                                    program, file, run(name), memory));
    EXPECT_EQ(outcome.code, 0) << outcome.err;
    return std::atol(outcome.out.c_str());
  };
  const long small_peak = peak("32MiB", "small"), large_peak = peak("512MiB", "whole");
  fmt::print("peak resident: {} MiB with --max-mem 32MiB, {} MiB with 512MiB, for a tensor of 128 MiB\n", small_peak >> 10, large_peak >> 10);
  EXPECT_LT(small_peak, (32 + 48) << 10);
  EXPECT_GT(large_peak, 128 << 10);
  EXPECT_EQ(hash_of(run("small")), hash_of(run("whole")));
}

TEST_F(SweepCommand, TheExampleRuns) {
  std::filesystem::current_path(FP8SCOPE_SOURCE);
  const Outcome outcome = fp8scope("sweep experiments/sweep.toml -o " + run());
  EXPECT_EQ(outcome.code, 0) << outcome.err;
  EXPECT_NE(outcome.out.find("complete, 1308 rows"), std::string::npos) << outcome.out;
}

}  // namespace
}  // namespace fp8scope
