// Files of recorded words: written by `fp8scope probe`, read by `fp8scope validate`; and the one command that
// asks a GPU everything.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "src/golden.hpp"
#include "tests/process.hpp"

namespace fp8scope {
namespace {

const std::string program = FP8SCOPE_BINARY;

Outcome fp8scope(const std::string& arguments) { return run_command(program + " " + arguments); }

void expect_words(const Outcome& outcome, int code, std::initializer_list<const char*> words) {
  EXPECT_EQ(outcome.code, code) << outcome.out << outcome.err;
  for (const char* word : words) EXPECT_NE(outcome.out.find(word), std::string::npos) << word << "\n" << outcome.out;
}

bool has_gpu() { return fp8scope("info").out.find("gpu       none") == std::string::npos; }

TEST(ProbeCommand, SkipsVisiblyWithoutAGpu) {
  if (has_gpu()) GTEST_SKIP() << "there is a GPU";
  for (const char* how : {"probe", "probe --all -o never.h5", "probe --library", "bench gpu_gemm", "bench gpu_quantize", "validate --kernel builtin:native_gemm"}) {
    const Outcome outcome = fp8scope(how);
    EXPECT_EQ(outcome.code, 77) << how;
    EXPECT_NE(outcome.err.find("skipped"), std::string::npos) << how << ": " << outcome.err;
    EXPECT_EQ(std::ranges::count(outcome.err, '\n'), 1) << outcome.err;
  }
}

TEST(ProbeCommand, RecordsAModelAndItsWordsValidate) {
  const Folder folder;
  const std::string file = folder / "golden.h5";
  expect_words(fp8scope("probe --emulate hopper_wgmma --no-search --words 3000 --digest-words 9000 -o " + file), 0,
               {"it is hopper_wgmma", "(a model, no evidence)", "modelled; 0 words differ between two runs"});
  const h5::Group root = h5::open_file(file);
  EXPECT_EQ(root.required_text("format"), "fp8-golden");
  EXPECT_EQ(root.required_text("source"), "modelled");
  EXPECT_EQ(root.integer("repeats_identical").value_or(0), 1);
  const h5::Group group = root.group("hopper_wgmma_unit_e4m3_e4m3_f32_random_x1");
  for (const char* name : {"instruction", "sass", "operand_source", "a_type", "b_type", "acc_type", "input_class", "generator", "sha256_a",
                           "sha256_b", "sha256_c", "sha256_d", "digest_function", "digest_sha256"})
    EXPECT_TRUE(group.text(name).has_value()) << name;
  for (const char* name : {"m", "n", "k", "chain", "seed", "generator_version", "tiles", "digest_tiles", "scale_d"})
    EXPECT_TRUE(group.integer(name).has_value()) << name;
  expect_words(fp8scope("validate " + file), 0, {"modelled: a regression test of the model, no evidence of hardware", "0 of 1 digests differ", " 0 differ"});
  expect_words(fp8scope("validate " + file + " --model ada_mma"), 1, {"1 of 1 digests differ, the first at tile", "no mismatches with: hopper_wgmma"});
}

TEST(ProbeCommand, SaysNoneForAModelOfNoTable) {
  expect_words(fp8scope("probe --emulate custom:terms=16:f=14:result=14"), 1,
               {"it is none of the table", "custom:terms=16:f=14:floor=-133:result=14:round=truncate"});
}

TEST(ProbeCommand, ChecksLayoutsAlone) {
  expect_words(fp8scope("probe --layout --emulate ada_mma"), 0, {"P0 ada_mma e4m3 e4m3 f32: 0 of 8192 words wrong"});
}

TEST(GoldenTiles, DependOnSeedAndTileOnly) {
  const EmulatedUnit unit("hopper_wgmma", "e4m3", "e4m3", "f32");
  const GoldenSet set{"random", 2, 0, 0, 7};
  const UnitTiles all = golden_tiles(unit, set, 0, 9), part = golden_tiles(unit, set, 4, 3);
  EXPECT_TRUE(std::ranges::equal(part.a, std::span(all.a).subspan(4 * all.k, 3 * all.k)));
  EXPECT_TRUE(std::ranges::equal(part.c, std::span(all.c).subspan(4, 3)));
  const GoldenSet other{"random", 2, 0, 0, 8};
  EXPECT_NE(golden_tiles(unit, other, 4, 3).a, part.a);
}

// FNV-1a of "a" and of nothing, published with the function.
TEST(GoldenTiles, HaveThePublishedHash) {
  EXPECT_EQ(digest_of({}), 0xcbf29ce484222325u);
  const std::uint32_t word[] = {0x64636261u};  // "abcd"
  EXPECT_EQ(digest_of(word), 0xfc179f83ee0724ddu);
}

TEST(GpuEvidence, RunsDryAndSkipsWithoutAGpu) {
  const Folder folder;
  const std::string script = FP8SCOPE_SOURCE "/experiments/gpu_evidence.sh --program " + std::filesystem::absolute(program).string() + " --out ";
  if (!has_gpu()) {
    const Outcome real = run_command(script + (folder / "real"));
    EXPECT_EQ(real.code, 77) << real.err;
    EXPECT_NE(real.err.find("skipped"), std::string::npos);
  }
  const Outcome dry = run_command(script + (folder / "dry") + " --dry-run");
  expect_words(dry, 0, {"nothing here is evidence of hardware", "golden_words", "golden_same_twice", "torch_snippet", "not run: dry run"});
  EXPECT_EQ(dry.out.find("FAILED"), std::string::npos) << dry.out;
  EXPECT_TRUE(std::filesystem::exists(folder / "dry/golden.h5"));
}

}  // namespace
}  // namespace fp8scope
