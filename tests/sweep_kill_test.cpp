// Kills running sweeps at random moments and looks for anything lost.
#include <fcntl.h>
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <cstdlib>
#include <fstream>
#include <map>
#include <random>
#include <set>
#include <sstream>
#include <thread>

#include "src/sha256.hpp"
#include "src/sweep/journal.hpp"
#include "src/sweep/run_folder.hpp"
#include "tests/process.hpp"

namespace fp8scope {
namespace {

const char* const spec_text = R"(
schema = 1
[synthetic]
layers = 3
rows = 64
cols = 160
outputs = 96
distribution = "student"
[grid]
seed = [1, 2]
recipe = ["te_delayed", "te_current", "te_block", "dsv3"]
amax_history_len = [1, 2, 3, 4, 5, 6, 7, 8]
margin = "0-4"
[[include]]
recipe = "te_current"
accumulator = "hopper_wgmma"
)";

struct Tally {
  int sweeps = 0, identical = 0, kills = 0, terms = 0, publish_kills = 0;
  std::uint64_t acknowledged = 0, lost = 0;
};

class Child {
 public:
  Child(const std::vector<std::string>& words, const std::string& err) {
    pid_ = fork();
    if (pid_ != 0) return;
    const int out = open("/dev/null", O_WRONLY), log = open(err.c_str(), O_WRONLY | O_CREAT | O_APPEND, 0644);
    dup2(out, 1);
    dup2(log, 2);
    std::vector<char*> argv;
    for (const std::string& word : words) argv.push_back(const_cast<char*>(word.c_str()));
    argv.push_back(nullptr);
    execv(argv[0], argv.data());
    _exit(127);
  }
  bool running() {
    if (!over_ && waitpid(pid_, &status_, WNOHANG) == pid_) over_ = true;
    return !over_;
  }
  void signal(int number) const { kill(pid_, number); }
  int wait() {
    if (!over_) waitpid(pid_, &status_, 0), over_ = true;
    return WIFEXITED(status_) ? WEXITSTATUS(status_) : -1;
  }

 private:
  pid_t pid_ = 0;
  int status_ = 0;
  bool over_ = false;
};

class Killer {
 public:
  Killer(const std::string& folder, unsigned seed) : folder_(folder), random_(seed), spec_(folder + "/spec.toml") {
    std::ofstream(spec_) << spec_text;
  }

  void make_reference() {
    const auto begin = std::chrono::steady_clock::now();
    Child child({FP8SCOPE_BINARY, "sweep", spec_, "-o", folder_ + "/reference", "--reproducible", "--json"}, folder_ + "/reference.err");
    ASSERT_EQ(child.wait(), 0) << read_file(folder_ + "/reference.err");
    run_ms_ = std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - begin).count();
    reference_ = sha256_of_file(folder_ + "/reference/results.h5");
    Child merge({FP8SCOPE_BINARY, "merge", folder_ + "/reference", "--reproducible", "-o", folder_ + "/merged.h5"}, folder_ + "/reference.err");
    const auto merge_begin = std::chrono::steady_clock::now();
    ASSERT_EQ(merge.wait(), 0);
    merge_ms_ = std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - merge_begin).count();
    EXPECT_EQ(sha256_of_file(folder_ + "/merged.h5"), reference_);
  }

  /// One sweep by `workers` processes, each killed again and again.
  void sweep(int workers, int rounds, Tally& tally) {
    const std::string run = fmt::format("{}/run{}", folder_, tally.sweeps);
    std::set<int> pending;
    for (int w = 0; w < workers; ++w) pending.insert(w);
    for (int round = 0; !pending.empty(); ++round) {
      std::map<int, std::unique_ptr<Child>> children;
      for (const int w : pending) children.emplace(w, start(run, w, workers));
      if (round < rounds) {
        wait(uniform(1.0, run_ms_ * 1.2 / std::min<int>(workers, 2)));
        for (auto& [w, child] : children) strike(*child, tally);
      }
      for (auto& [w, child] : children)
        if (const int code = child->wait(); code == 0) {
          pending.erase(w);
        } else {
          EXPECT_TRUE(code == -1 || code == 143) << code << "\n" << read_file(errors(run, w));
        }
      check_acknowledged(run, workers, tally);
      check_published(run);
    }
    publish(run, tally);
    ++tally.sweeps;
    const bool same = sha256_of_file(run + "/results.h5") == reference_;
    tally.identical += same;
    EXPECT_TRUE(same) << run;
    std::filesystem::remove_all(run);
  }

 private:
  double uniform(double low, double high) { return std::uniform_real_distribution<double>(low, high)(random_); }
  static void wait(double ms) { std::this_thread::sleep_for(std::chrono::duration<double, std::milli>(ms)); }
  static std::string errors(const std::string& run, int worker) { return fmt::format("{}.err{}", run, worker); }

  /// Any number of threads: it must not matter.
  std::unique_ptr<Child> start(const std::string& run, int worker, int workers) {
    std::vector<std::string> words{FP8SCOPE_BINARY, "sweep", spec_, "-o", run, "--resume", "--reproducible", "--json", "-j", std::to_string(1 + random_() % 3)};
    if (workers > 1) words.insert(words.end(), {"--shard", fmt::format("{}/{}", worker, workers)});
    return std::make_unique<Child>(words, errors(run, worker));
  }

  void strike(Child& child, Tally& tally) {
    if (!child.running() || uniform(0, 1) < 0.1) return;
    const bool kindly = uniform(0, 1) < 0.15;
    child.signal(kindly ? SIGTERM : SIGKILL);
    ++(kindly ? tally.terms : tally.kills);
  }

  /// Every item that a process said was in the journal must be in a journal.
  void check_acknowledged(const std::string& run, int workers, Tally& tally) {
    std::set<std::uint64_t> said, kept;
    for (int w = 0; w < workers; ++w) {
      std::istringstream lines(read_file(errors(run, w)));
      std::uint64_t item = 0;
      char brace = 0;
      for (std::string line; std::getline(lines, line);)
        if (std::sscanf(line.c_str(), "{\"event\":\"item\",\"item\":%lu%c", &item, &brace) == 2 && brace == '}') said.insert(item);
    }
    const RunFolder folder(run);
    if (folder.is_frozen()) {
      const std::string hash = folder.frozen_plan().hash();
      for (const std::string& path : folder.journals())
        Journal(path, hash).scan([&](std::uint64_t item, std::string_view, std::uint64_t) { kept.insert(item); });
    }
    tally.acknowledged = std::max<std::uint64_t>(tally.acknowledged, said.size());
    for (const std::uint64_t item : said) tally.lost += !kept.contains(item);
    EXPECT_EQ(tally.lost, 0u) << run;
  }

  /// A results.h5 is a whole file at any time: HDF5 opens it, and its rows can be read.
  void check_published(const std::string& run) {
    if (!std::filesystem::exists(run + "/results.h5") || uniform(0, 1) < 0.8) return;
    const Outcome read = run_command(fmt::format("{} export {}/results.h5 -f csv", FP8SCOPE_BINARY, run));
    EXPECT_EQ(read.code, 0) << read.err;
  }

  void publish(const std::string& run, Tally& tally) {
    for (int attempt = 0;; ++attempt) {
      Child merge({FP8SCOPE_BINARY, "merge", run, "--reproducible"}, run + ".err-merge");
      if (attempt < 4) {
        wait(uniform(0.0, merge_ms_ * 1.3));
        if (merge.running() && uniform(0, 1) < 0.8) merge.signal(SIGKILL), ++tally.kills, ++tally.publish_kills;
      }
      const int code = merge.wait();
      if (std::filesystem::exists(run + "/results.h5")) {
        const std::string hash = sha256_of_file(run + "/results.h5");
        if (code == 0) {
          EXPECT_EQ(hash, reference_);
        }
      }
      if (code == 0) return;
      EXPECT_EQ(code, -1) << read_file(run + ".err-merge");
    }
  }

  std::string folder_;
  std::mt19937 random_;
  std::string spec_, reference_;
  double run_ms_ = 0.0, merge_ms_ = 0.0;
};

/// FP8SCOPE_KILLS says how many kills are wanted at least, FP8SCOPE_SWEEPS in how many sweeps.
int from_environment(const char* name, int fallback) {
  const char* value = std::getenv(name);
  return value ? std::atoi(value) : fallback;
}

TEST(Sweep, LosesNothingWhenItIsKilled) {
  const Folder folder;
  Killer killer(folder / "", static_cast<unsigned>(from_environment("FP8SCOPE_SEED", 20)));
  killer.make_reference();
  if (HasFatalFailure()) return;
  const int kills = from_environment("FP8SCOPE_KILLS", 20), sweeps = from_environment("FP8SCOPE_SWEEPS", 3);
  Tally tally;
  const int workers[] = {1, 2, 4};
  while (tally.sweeps < sweeps || tally.kills < kills) {
    killer.sweep(workers[tally.sweeps % 3], std::max(2, kills / sweeps / (1 + tally.sweeps % 3)), tally);
    if (HasFailure() || tally.sweeps > 20 * sweeps) break;
  }
  fmt::print("{} sweeps of 1, 2 and 4 workers, {} kill -9 ({} of them of the publishing process), {} SIGTERM: {} of {} final files "
             "byte-identical, {} acknowledged records lost (up to {} acknowledged in a sweep)\n",
             tally.sweeps, tally.kills, tally.publish_kills, tally.terms, tally.identical, tally.sweeps, tally.lost, tally.acknowledged);
  EXPECT_GE(tally.kills, kills);
  EXPECT_EQ(tally.identical, tally.sweeps);
  EXPECT_GT(tally.acknowledged, 0u);
}

}  // namespace
}  // namespace fp8scope
