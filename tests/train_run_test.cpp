// Runs: the same bits for any number of threads, any instructions, and after a stop.
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <tbb/global_control.h>
#include <tbb/task_arena.h>

#include <filesystem>

#include "sim/simd/isa.hpp"
#include "src/errors.hpp"
#include "src/parallel.hpp"
#include "tests/process.hpp"
#include "tests/temporary_folder.hpp"
#include "tests/train_fixture.hpp"

namespace fp8scope::train {
namespace {

const Executor in_order = run_in_order;
const Executor parallel = run_in_parallel;

class Runs : public TemporaryFolder {
 protected:
  Runs() : corpus_(small_corpus(path("text")), 16) {}

  Curve curve(const RunConfig& run, const Executor& execute = in_order) {
    Trainer trainer(run, corpus_, execute);
    while (!trainer.finished()) trainer.step();
    return trainer.curve();
  }
  static void expect_equal(const Curve& a, const Curve& b) {
    EXPECT_EQ(a.step, b.step);
    EXPECT_EQ(a.loss, b.loss);
    EXPECT_EQ(a.gradient_norm, b.gradient_norm);
    EXPECT_EQ(a.validation_step, b.validation_step);
    EXPECT_EQ(a.validation_loss, b.validation_loss);
  }
  Corpus corpus_;
};

TEST_F(Runs, HaveTheSameBitsForAnyNumberOfThreads) {
  for (const char* mode : {"bf16", "dsv3_framework"}) {
    const RunConfig run = tiny_run(mode, "tiny_moe", corpus_);
    const Curve one = curve(run);
    for (const int threads : {2, 4}) {
      const tbb::global_control limit(tbb::global_control::max_allowed_parallelism, static_cast<std::size_t>(threads));
      tbb::task_arena arena(threads);
      arena.execute([&] { expect_equal(one, curve(run, parallel)); });
    }
  }
}

TEST_F(Runs, HaveTheSameBitsWithEveryInstructionSet) {
  for (const char* mode : {"fp32", "te_delayed", "dsv3_framework"}) {
    RunConfig run = tiny_run(mode, "tiny", corpus_);
    run.optimizer.steps = 8;  // the plain code is slow
    const Curve widest = curve(run);
    for (const Isa wanted : supported_isas()) {
      set_isa(wanted);
      expect_equal(widest, curve(run));
    }
    set_isa(Isa::automatic);
  }
}

TEST_F(Runs, GoOnFromACheckpointBitForBit) {
  const std::vector<std::vector<std::string>> settings = {
      {}, {"gemms=te_delayed:amax_history_len=4"}, {"moments=bf16", "master=bf16"}, {"moments=fp8", "allreduce=fp8"}};
  for (const auto& setting : settings)
    for (const char* model : {"tiny", "tiny_moe"}) {
      RunConfig run = tiny_run("bf16", model, corpus_, setting);
      run.spread = {4, 2, 2};
      const Curve whole = curve(run);
      {
        Trainer trainer(run, corpus_, in_order);
        for (int i = 0; i < 7; ++i) trainer.step();
        trainer.save(path("state"));
      }
      Trainer trainer(run, corpus_, in_order);
      trainer.load(path("state"));
      EXPECT_EQ(trainer.steps(), 7);
      while (!trainer.finished()) trainer.step();
      expect_equal(whole, trainer.curve());
    }
}

TEST_F(Runs, RefuseTheCheckpointOfAnother) {
  Trainer trainer(tiny_run("bf16", "tiny", corpus_), corpus_, in_order);
  trainer.step();
  trainer.save(path("state"));
  Trainer other(tiny_run("dsv3", "tiny", corpus_), corpus_, in_order);
  EXPECT_THROW(other.load(path("state")), DataError);
  Trainer wider(tiny_run("bf16", "tiny_moe", corpus_), corpus_, in_order);
  EXPECT_THROW(wider.load_weights(path("state")), DataError);
  write_bytes(path("state"), "nonsense");
  EXPECT_THROW(trainer.load(path("state")), DataError);
}

// An A/A control of a short run: what continuous integration repeats of the long ones.
TEST_F(Runs, DifferLittleWhenTheWeightsDoByAMillionth) {
  RunConfig run = tiny_run("bf16", "tiny", corpus_);
  run.optimizer.steps = 50;
  RunConfig other = run;
  other.perturbation = 1e-6;
  const Curve a = curve(run), b = curve(other);
  EXPECT_NE(a.loss, b.loss);
  EXPECT_NEAR(b.loss.back() / a.loss.back(), 1.0, 1e-3);
  EXPECT_NEAR(b.validation_loss.back() / a.validation_loss.back(), 1.0, 1e-3);
  EXPECT_LT(a.loss.back(), 0.9 * a.loss.front());
}

TEST_F(Runs, ReproducePinnedLosses) {
  // Typed in from a run on an AMD EPYC with AVX-512: a change of any bit of the arithmetic shows.
  const Curve bf16 = curve(tiny_run("bf16", "tiny", corpus_)), dsv3 = curve(tiny_run("dsv3_framework", "tiny_moe", corpus_));
  EXPECT_EQ(fmt::format("{:.17g} {:.17g}", bf16.loss.back(), bf16.validation_loss.back()), "2.0116854026959365 1.9001641408128269");
  EXPECT_EQ(fmt::format("{:.17g} {:.17g}", dsv3.loss.back(), dsv3.validation_loss.back()), "2.0222069005361729 1.9370148722404972");
}

class Program : public TemporaryFolder {
 protected:
  /// Runs `fp8scope train` on the small corpus.
  Outcome train(const std::string& words) {
    return run_command("'" FP8SCOPE_BINARY "' train -m tiny --corpus " + small_corpus(path("text")) +
                       " --no-progress -j1 --validate-every 20 --warmup 10 " + words);
  }
};

TEST_F(Program, GoesOnAfterAKillBitForBit) {
  const std::string arguments = " --steps 400 --mode te_delayed --reproducible ";
  ASSERT_EQ(train(arguments + "-o " + path("whole.h5")).code, 0);
  const std::string goes_on = arguments + "--checkpoint " + path("state") + " --checkpoint-every 40 -o " + path("killed.h5");
  // Killed without warning, several times, wherever it is.
  int kills = 0;
  for (; kills < 30; ++kills) {
    const Outcome outcome = run_command("timeout -s KILL 0." + std::to_string(3 + kills % 7) + " '" FP8SCOPE_BINARY
                                        "' train -m tiny --corpus " + path("text") +
                                        " --no-progress -j1 --validate-every 20 --warmup 10 " + goes_on);
    if (outcome.code == 0) break;
  }
  ASSERT_EQ(train(goes_on).code, 0);
  EXPECT_GT(kills, 0);
  EXPECT_EQ(bytes_of(path("killed.h5")), bytes_of(path("whole.h5")));
}

TEST_F(Program, StopsGentlyWhenAsked) {
  const std::string words = " --steps 100000 --checkpoint " + path("state") + " --checkpoint-every 0";
  small_corpus(path("text"));
  const Outcome outcome = run_command("timeout -s INT 3 '" FP8SCOPE_BINARY "' train -m tiny --corpus " + path("text") +
                                      " --no-progress -j1" + words + "; exit $?");
  EXPECT_NE(outcome.err.find("the same command goes on"), std::string::npos) << outcome.err;
  EXPECT_GT(bytes_of(path("state")).size(), 0u);
}

TEST_F(Program, SaysWhatIsWrongInOneLine) {
  struct Bad {
    const char* words;
    int code;
  };
  for (const Bad& bad : {Bad{"--mode fp9", 2}, {"--set gemms=nothing", 2}, {"--set moments", 2}, {"-m huge", 2},
                         {"--corpus /nowhere", 4}, {"--probe /nowhere", 4}, {"--steps 0", 2},
                         {"--steps 2 --record t.h5 --record-steps 7", 2}, {"--steps 2 --mode fp32 --set accumulator=hopper_wgmma", 2}}) {
    const Outcome outcome = run_command("'" FP8SCOPE_BINARY "' train --corpus " + small_corpus(path("text")) + " " + bad.words);
    if (std::string(bad.words).starts_with("--corpus")) continue;
    EXPECT_EQ(outcome.code, bad.code) << bad.words << "\n" << outcome.err;
    EXPECT_EQ(std::ranges::count(outcome.err, '\n'), 1) << bad.words << "\n" << outcome.err;
  }
}

// Of every recipe that a run takes: gradients have blocks of zeros, of which a recipe must not make NaN.
TEST_F(Runs, StayFiniteUnderEveryRecipe) {
  int taken = 0;
  for (const NamedRecipe& recipe : recipes())
    for (const char* model : {"tiny", "tiny_moe"}) {
      try {
        RunConfig run = tiny_run("bf16", model, corpus_, {fmt::format("gemms={}", recipe.name)});
        run.optimizer.steps = 3;
        Trainer trainer(run, corpus_, in_order);
        while (!trainer.finished()) trainer.step();
        EXPECT_EQ(nearest_not_finite(trainer.replicas().first().parameters), "") << recipe.name;
        EXPECT_LT(trainer.curve().loss.back(), 10.0) << recipe.name;
        ++taken;
      } catch (const std::invalid_argument& error) {  // what a run does not take, or experts: no multiple of 16 tokens
        EXPECT_STRNE(error.what(), "");
      }
    }
  EXPECT_GT(taken, 60);
}

TEST_F(Program, SaysWhereARunDiverged) {
  const Outcome outcome = train("--steps 40 --rate 999999");
  EXPECT_NE(outcome.err.find("the run diverged and ends here"), std::string::npos) << outcome.err;
  EXPECT_NE(outcome.err.find("not finite from "), std::string::npos) << outcome.err;
}

TEST_F(Program, RecordsATraceThatReplays) {
  const std::string trace = path("trace.h5");
  ASSERT_EQ(train("--steps 12 --mode te_delayed --record " + trace + " --record-steps 9,10,11 --record-layers L01.").code, 0);
  const Outcome verified = run_command("'" FP8SCOPE_BINARY "' trace verify " + trace);
  EXPECT_EQ(verified.code, 0) << verified.out << verified.err;
  for (const char* gemm : {"fprop", "dgrad", "wgrad"}) {
    const Outcome replayed = run_command("'" FP8SCOPE_BINARY "' replay " + trace + " --no-progress --gemms " + gemm +
                                         " --recipes te_delayed,dsv3 --accumulator hopper_wgmma");
    EXPECT_EQ(replayed.code, 0) << replayed.err;
    EXPECT_NE(replayed.out.find(gemm), std::string::npos) << replayed.out;
  }
}

TEST_F(Program, GivesTheSameBytesFromTwoCompilers) {
  if (commit_of(FP8SCOPE_OTHER_BINARY) != commit_of(FP8SCOPE_BINARY))
    GTEST_SKIP() << "no binary of another compiler and this commit (./run.sh check builds one)";
  small_corpus(path("text"));
  const auto run_of = [&](const std::string& binary, const std::string& out) {
    return run_command("'" + binary + "' train -m tiny_moe --mode dsv3_framework --corpus " + path("text") +
                       " --steps 30 --no-progress --reproducible -o " + out);
  };
  ASSERT_EQ(run_of(FP8SCOPE_BINARY, path("a.h5")).code, 0);
  ASSERT_EQ(run_of(FP8SCOPE_OTHER_BINARY, path("b.h5")).code, 0);
  EXPECT_EQ(bytes_of(path("a.h5")), bytes_of(path("b.h5")));
}

TEST_F(Program, KeepsStatesOfSomeSteps) {
  ASSERT_EQ(train("--steps 30 --checkpoint " + path("state.h5") + " --keep 0,10,30").code, 0);
  const Outcome probed = train("--probe " + path("state.h5") + ".0," + path("state.h5") + ".10 --variants bf16");
  EXPECT_EQ(probed.code, 0) << probed.err;
  EXPECT_NE(probed.out.find("  10  bf16"), std::string::npos) << probed.out;
}

TEST(TrainDocs, AreWhatTheProgramPrints) {
  const Outcome printed = run_command("'" FP8SCOPE_BINARY "' train --list-md");
  EXPECT_EQ(printed.out, bytes_of(FP8SCOPE_SOURCE "/notebooks-data/docs/train.md"))
      << "fp8scope train --list-md > notebooks-data/docs/train.md";
}

TEST(TrainTrace, IsBundledAndWhole) {
  const std::string trace = FP8SCOPE_SOURCE "/notebooks-data/traces/train_s.h5";
  EXPECT_LE(std::filesystem::file_size(trace), 6u << 20);
  const Outcome verified = run_command("'" FP8SCOPE_BINARY "' trace verify " + trace);
  EXPECT_EQ(verified.code, 0) << verified.out;
  EXPECT_NE(verified.out.find("L03.down/dy"), std::string::npos);
}

TEST_F(Program, ProbesTheSameTwice) {
  ASSERT_EQ(train("--steps 20 --checkpoint " + path("state")).code, 0);
  const std::string words = "--probe " + path("state") + " --variants bf16,dsv3,te_delayed,moments_bf16,swiglu_recompute --reproducible -o ";
  const Outcome first = train(words + path("a.h5")), second = train(words + path("b.h5"));
  ASSERT_EQ(first.code, 0) << first.err;
  EXPECT_EQ(first.out, second.out);
  EXPECT_EQ(bytes_of(path("a.h5")), bytes_of(path("b.h5")));
}

}  // namespace
}  // namespace fp8scope::train
