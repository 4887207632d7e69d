// The program as its users run it: exit codes, standard output, files.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "sim/simd/isa.hpp"
#include "src/array.hpp"
#include "src/hdf5.hpp"
#include "src/npy.hpp"
#include "src/sha256.hpp"
#include "tests/process.hpp"

namespace fp8scope {
namespace {

const std::string program = FP8SCOPE_BINARY;
const std::string trace = std::string(FP8SCOPE_SOURCE) + "/notebooks-data/traces/smollm2.h5";

Outcome fp8scope(const std::string& arguments) { return run_command(program + " " + arguments); }

/// One line, with the name of the program before it.
void expect_one_line(const Outcome& outcome, int code, const std::string& part) {
  EXPECT_EQ(outcome.code, code) << outcome.err;
  EXPECT_EQ(outcome.err.rfind("fp8scope: ", 0), 0u) << outcome.err;
  EXPECT_EQ(std::ranges::count(outcome.err, '\n'), 1) << outcome.err;
  EXPECT_NE(outcome.err.find(part), std::string::npos) << outcome.err;
  EXPECT_EQ(outcome.out, "");
}

void write_floats(const std::string& path, const std::vector<std::int64_t>& shape, const std::vector<float>& x) {
  write_npy(path, NpyType::f4, shape, std::as_bytes(std::span(x)));
}

TEST(CommandLine, ExplainsItselfAndNamesEveryCommand) {
  const Outcome help = fp8scope("--help");
  EXPECT_EQ(help.code, 0);
  for (const char* name : {"info", "formats", "cast", "replay", "trace", "export"}) {
    EXPECT_NE(help.out.find(name), std::string::npos) << name;
    const Outcome own = fp8scope(std::string(name) + " --help");
    EXPECT_EQ(own.code, 0) << name;
    EXPECT_EQ(own.out.rfind("usage: fp8scope ", 0), 0u) << own.out;
  }
}

TEST(CommandLine, AnswersMisspeltWordsWithExitCode2AndASuggestion) {
  expect_one_line(fp8scope("replya"), 2, "replay");
  expect_one_line(fp8scope("replay " + trace + " --recipe te_block"), 2, "--recipes");
  expect_one_line(fp8scope("replay " + trace + " --recipes te_blok"), 2, "did you mean 'te_block'?");
  expect_one_line(fp8scope("replay " + trace + " --recipes te_delayed:margn=1"), 2, "did you mean 'margin'?");
  expect_one_line(fp8scope("replay " + trace + " --threads -1"), 2, "--threads");
  expect_one_line(fp8scope("replay " + trace + " --isa avx1024"), 2, "avx512");
  expect_one_line(fp8scope("replay " + trace + " --gemms both"), 2, "wanted first, all");
  expect_one_line(fp8scope("replay"), 2, "TRACE");
  expect_one_line(fp8scope("cast x.npy -f e4m4 "), 2, "--output");
}

TEST(CommandLine, AnswersAMissingFileWithExitCode4) {
  expect_one_line(fp8scope("replay /no/such/file.h5"), 4, "/no/such/file.h5");
  expect_one_line(fp8scope("cast /no/such/file.npy -f e4m3 -o /tmp/never.h5"), 4, "/no/such/file.npy");
}

TEST(CommandLine, AnswersAFullDiskBehindStandardOutputWithExitCode4) {
  const Outcome full = run_command(program + " formats >/dev/full");
  EXPECT_EQ(full.code, 4);
  EXPECT_EQ(std::ranges::count(full.err, '\n'), 1) << full.err;
}

TEST(CommandLine, RemovesWhatItHasHalfWrittenWhenInterrupted) {
  const Folder folder;
  const std::int64_t rows = 16384, cols = 1024;  // a second or more of work on any machine
  write_floats(folder / "x.npy", {rows, cols}, std::vector<float>(static_cast<std::size_t>(rows * cols), 1.0f));
  std::ofstream(folder / "out.h5") << "old";
  const std::string python =
      "/usr/bin/python3 -c \"import glob, os, signal, subprocess, sys, time\n"
      "p = subprocess.Popen(sys.argv[1:])\n"
      "while p.poll() is None and not glob.glob('" + (folder / ".out.h5*") + "'): time.sleep(0.001)\n"
      "p.send_signal(signal.SIGINT)\n"
      "sys.exit(p.wait())\" ";
  const Outcome outcome = run_command(python + program + " cast " + (folder / "x.npy") + " -f e4m3 --isa scalar -j 1 --max-mem 1MiB -o " + (folder / "out.h5"));
  EXPECT_EQ(outcome.code, 130) << outcome.err;
  EXPECT_EQ(outcome.err, "fp8scope: interrupted; no output was written\n");
  EXPECT_EQ(read_file(folder / "out.h5"), "old");
  EXPECT_EQ(folder.files(), 2u);
}

TEST(RecipesCommand, PrintsTheRowsTheKeysARecordAndTheDocs) {
  const Outcome all = fp8scope("recipes");
  EXPECT_EQ(all.code, 0);
  for (const char* word : {"te_delayed", "te_nvfp4", "torchao_mx", "golden", "paper"})
    EXPECT_NE(all.out.find(word), std::string::npos) << word;
  EXPECT_NE(fp8scope("recipes --keys").out.find("scale.pow2"), std::string::npos);
  EXPECT_NE(fp8scope("recipes dsv3:scales=ue8m0").out.find("128x128"), std::string::npos);
  EXPECT_NE(fp8scope("recipes dsv3 --toml").out.find("rule = \"quotient\""), std::string::npos);
  for (const std::string command : {"recipes", "formats", "models"})
    EXPECT_EQ(fp8scope(command + " --docs").out,
              read_file(std::string(FP8SCOPE_SOURCE) + "/notebooks-data/docs/" + command + ".md"))
        << "make it again: fp8scope " << command << " --docs > notebooks-data/docs/" << command << ".md";
  EXPECT_EQ(fp8scope("recipes --toml").code, 2);
}

TEST(ReplayCommand, PrintsATableWithTheRecipesAsRows) {
  const Outcome outcome = fp8scope("replay " + trace);
  EXPECT_EQ(outcome.code, 0) << outcome.err;
  EXPECT_EQ(outcome.err, "");
  for (const char* word : {"te_delayed", "te_current", "te_block", "dsv3", "mxfp8", "sqnr", "bulk", "underflow", "clipped"})
    EXPECT_NE(outcome.out.find(word), std::string::npos) << word;
}

TEST(ReplayCommand, WritesTheSameBytesForAnyThreadsInstructionsAndCompiler) {
  const Folder folder;
  std::vector<std::string> programs{program};
  if (commit_of(FP8SCOPE_OTHER_BINARY) == commit_of(program)) programs.push_back(FP8SCOPE_OTHER_BINARY);
  std::string expected;
  int files = 0;
  for (const std::string& binary : programs)
    for (const NamedIsa& isa : isas) {
      if (!isa_supported(isa.isa)) continue;
      for (const int threads : {1, 2, 4}) {
        const std::string result = folder / "results.h5";
        const Outcome outcome = run_command(fmt::format("{} replay {} --reproducible --gemms all -j {} --isa {} -o {}",
                                                        binary, trace, threads, isa.name, result));
        ASSERT_EQ(outcome.code, 0) << outcome.err;
        const std::string hash = sha256_of_file(result);
        if (expected.empty()) expected = hash;
        EXPECT_EQ(hash, expected) << binary << " " << isa.name << " " << threads;
        ++files;
      }
    }
  fmt::print("one sha256 {} from {} files of {} compiler(s)\n", expected, files, programs.size());
  if (programs.size() == 1) GTEST_SKIP() << "only one compiler: " << FP8SCOPE_OTHER_BINARY << " was not built, or from another commit";
}

TEST(ReplayCommand, WritesTheSameProductsForAnyInstructionsAndCompiler) {
  const Folder folder;
  std::vector<std::string> programs{program};
  if (commit_of(FP8SCOPE_OTHER_BINARY) == commit_of(program)) programs.push_back(FP8SCOPE_OTHER_BINARY);
  std::string expected;
  for (const std::string& binary : programs)
    for (const NamedIsa& isa : isas) {
      if (!isa_supported(isa.isa)) continue;
      const std::string result = folder / "results.h5";
      const Outcome outcome = run_command(fmt::format("{} replay {} -r dsv3 -a hopper_wgmma --reproducible --isa {} -o {}",
                                                      binary, trace, isa.name, result));
      ASSERT_EQ(outcome.code, 0) << outcome.err;
      const std::string hash = sha256_of_file(result);
      if (expected.empty()) expected = hash;
      EXPECT_EQ(hash, expected) << binary << " " << isa.name;
    }
  if (programs.size() == 1) GTEST_SKIP() << "only one compiler: " << FP8SCOPE_OTHER_BINARY << " was not built, or from another commit";
}

TEST(ValidateCommand, FindsNoMismatchAndNamesTheModelThatFits) {
  const std::string dump = std::string(FP8SCOPE_GOLDEN) + "/mma_hardware.h5";
  if (!std::filesystem::exists(dump)) GTEST_SKIP() << dump << " is not at hand";
  const Outcome good = fp8scope("validate " + dump);
  EXPECT_EQ(good.code, 0) << good.out;
  EXPECT_NE(good.out.find("48 group(s), 120000 words, 0 differ"), std::string::npos) << good.out;
  const Outcome wrong = fp8scope("validate " + dump + " --group h100_wgmma_e4m3_f32 --model ada_mma");
  EXPECT_EQ(wrong.code, 1);
  EXPECT_NE(wrong.out.find("no mismatches with: hopper_wgmma;"), std::string::npos) << wrong.out;
  expect_one_line(fp8scope("validate " + dump + " --model hopper_wgma"), 2, "did you mean 'hopper_wgmma'?");
  expect_one_line(fp8scope("validate " + dump + " --group none"), 3, "there is no group 'none'");
  expect_one_line(fp8scope("validate " + trace), 3, "smollm2.h5");
}

TEST(GemmCommand, SplitsTheErrorAndRefusesShapesThatDoNotFit) {
  const Folder folder;
  std::vector<float> x(32 * 256);
  for (std::size_t i = 0; i < x.size(); ++i) x[i] = std::sin(static_cast<float>(i * i % 1009));
  write_floats(folder / "a.npy", {32, 256}, x);
  write_floats(folder / "b.npy", {64, 128}, x);
  const std::string a = folder / "a.npy", b = folder / "b.npy", out = folder / "c.npy";
  const Outcome outcome = fp8scope("gemm " + a + " " + a + " --recipe dsv3 --accumulator hopper_wgmma --promote 128 -o " + out);
  ASSERT_EQ(outcome.code, 0) << outcome.err;
  for (const char* word : {"total", "from_a", "from_b", "from_accumulator", "from_output", "p99.9", "bias"})
    EXPECT_NE(outcome.out.find(word), std::string::npos) << word;
  EXPECT_EQ(open_array(out)->shape(), (std::vector<std::int64_t>{32, 32}));
  const Outcome tf32 = fp8scope("gemm " + a + " " + a + " -r none -f tf32 --accumulator ampere_mma -o " + out);
  ASSERT_EQ(tf32.code, 0) << tf32.err;
  std::vector<float> products(32 * 32);
  open_array(out)->read_rows(0, 32, products.data());
  for (int i = 0; i < 32; ++i) {
    double exact = 0.0;
    for (int k = 0; k < 256; ++k) exact += static_cast<double>(x[i * 256 + k]) * x[k];
    EXPECT_NEAR(products[i * 32], exact, 0.02);  // 256 products to 11 bits
    if (i == 0) { EXPECT_NE(products[0], static_cast<float>(exact)); }
  }
  expect_one_line(fp8scope("gemm " + a + " " + b), 3, "the contracted dimensions differ");
  expect_one_line(fp8scope("gemm " + a + " " + a + " --accumulator hopper"), 2, "hopper");
  expect_one_line(fp8scope("gemm " + a + " " + a + " --promote 100"), 2, "multiple of the unit's step");
  expect_one_line(fp8scope("gemm " + a + " " + a + " --split-k 0"), 2, "--split-k");
  write_floats(folder / "nan.npy", {1, 256}, std::vector<float>(256, std::nanf("")));
  expect_one_line(fp8scope("gemm " + a + " " + (folder / "nan.npy")), 3, "holds no finite number");
  expect_one_line(fp8scope("gemm " + a + " " + a + " --order deepgem"), 2, "did you mean 'deepgemm'?");
}

TEST(ReplayCommand, MeasuresProductsForEveryPromotionAskedFor) {
  const Folder folder;
  const std::string out = folder / "r.h5", how = "replay " + trace + " -r te_current ";
  const Outcome outcome = fp8scope(how + "-a hopper_wgmma --promote none,32 --output-format bfloat16 -o " + out);
  ASSERT_EQ(outcome.code, 0) << outcome.err;
  for (const char* word : {"from_output %", "p99 %", "bias %", "none", "1536"})
    EXPECT_NE(outcome.out.find(word), std::string::npos) << word;
  const auto table = nlohmann::json::parse(fp8scope("export " + out + " -t gemm -f json").out);
  ASSERT_EQ(table.at("rows").size(), 2u * 120);
  for (const auto& row : table.at("rows")) EXPECT_GT(row.at("from_output").get<double>(), 1e-4);
  expect_one_line(fp8scope(how + "--promote 32"), 2, "it needs --accumulator");
  expect_one_line(fp8scope(how + "-a hopper_wgma"), 2, "did you mean 'hopper_wgmma'?");
  expect_one_line(fp8scope(how + "-a hopper_wgmma --promote 100"), 2, "multiple of the unit's step");
  expect_one_line(fp8scope(how + "-a hopper_wgmma:g=1"), 2, "unknown model option 'g'");
}

TEST(ReplayCommand, LosesNothingWhenTheOutputCannotBeWritten) {
  const Folder folder;
  const std::string out = folder / "r.h5";
  ASSERT_EQ(fp8scope("replay " + trace + " -r te_block -o " + out).code, 0);
  const std::string before = read_file(out);
  expect_one_line(fp8scope("replay " + trace + " -o /no/such/folder/r.h5"), 4, "/no/such/folder");
  expect_one_line(fp8scope("replay " + trace + " -o " + trace), 2, "smollm2.h5");
  // A full disk, as far as a process can have one of its own.
  const Outcome full = run_command("ulimit -f 16; trap '' XFSZ; " + program + " replay " + trace + " -o " + out);
  EXPECT_EQ(full.code, 4) << full.err;
  EXPECT_EQ(std::ranges::count(full.err, '\n'), 1) << full.err;
  EXPECT_EQ(read_file(out), before);
  EXPECT_EQ(folder.files(), 1u);
}

TEST(ReplayCommand, RefusesWhatIsNoTrace) {
  const Folder folder;
  const std::string bytes = read_file(trace);
  std::ofstream(folder / "half.h5", std::ios::binary) << bytes.substr(0, bytes.size() / 2);
  std::ofstream(folder / "text.h5") << "not HDF5";
  std::ofstream(folder / "empty.h5") << "";
  for (const char* name : {"half.h5", "text.h5", "empty.h5"})
    expect_one_line(fp8scope("replay " + (folder / name)), 3, name);
  ASSERT_EQ(fp8scope("replay " + trace + " -r te_block -o " + (folder / "r.h5")).code, 0);
  expect_one_line(fp8scope("replay " + (folder / "r.h5")), 3, "r.h5");
}

TEST(CastCommand, WritesCodesScalesAndValuesOfTheInputsShape) {
  const Folder folder;
  std::vector<float> x(2 * 3 * 256);
  for (std::size_t i = 0; i < x.size(); ++i) x[i] = std::sin(static_cast<float>(i)) * static_cast<float>(i % 17);
  write_floats(folder / "x.npy", {2, 3, 256}, x);
  const std::string out = folder / "out.h5";
  ASSERT_EQ(fp8scope("cast " + (folder / "x.npy") + " --recipe dsv3 -o " + out).code, 0);
  const auto codes = open_array(out + ":/codes"), scales = open_array(out + ":/scale_inv");
  const auto values = open_array(out + ":/dequantized");
  EXPECT_EQ(codes->shape(), (std::vector<std::int64_t>{2, 3, 256}));
  EXPECT_EQ(values->shape(), codes->shape());
  EXPECT_EQ(scales->shape(), (std::vector<std::int64_t>{6, 2}));
  std::vector<float> code(x.size()), scale(12), value(x.size());
  codes->read_rows(0, 6, code.data());  // decoded: the file says what they encode
  scales->read_rows(0, 6, scale.data());
  values->read_rows(0, 6, value.data());
  for (std::size_t i = 0; i < x.size(); ++i) EXPECT_EQ(value[i], code[i] * scale[i / 128]) << i;
  for (std::size_t i = 0; i < x.size(); ++i) EXPECT_NEAR(value[i], x[i], 0.0625 * std::fabs(x[i]) + 1e-3) << i;
}

// MOSS' weights, torchao's and MS-AMP's tensors are scaled by their own amax at their first step; Transformer Engine's are not.
TEST(CastCommand, ShowsRecipesWithAMemoryTheirFirstTensor) {
  const Folder folder;
  std::vector<float> x(4 * 128);
  for (std::size_t i = 0; i < x.size(); ++i) x[i] = 1e-3f * std::sin(static_cast<float>(i));
  x[5] = -1e-3f;
  write_floats(folder / "x.npy", {4, 128}, x);
  const std::pair<const char*, float> cases[] = {
      {"moss", 1e-3f / 448.0f}, {"torchao_delayed", 1e-3f / 448.0f}, {"msamp", 0x1p-18f}, {"te_delayed", 1.0f}};
  for (const auto& [recipe, wanted] : cases) {
    ASSERT_EQ(fp8scope("cast " + (folder / "x.npy") + " --role weight -r " + recipe + " -o " + (folder / "o.h5")).code, 0);
    float scale_inv = 0.0f;
    open_array((folder / "o.h5") + ":/scale_inv")->read_rows(0, 1, &scale_inv);
    EXPECT_NEAR(scale_inv / wanted, 1.0f, 1e-6f) << recipe;
  }
}

TEST(CastCommand, TakesThePoliciesOfNanInfinityAndScales) {
  const Folder folder;
  const float nan = std::nanf(""), inf = HUGE_VALF;
  write_floats(folder / "x.npy", {6}, {nan, -nan, inf, -inf, -0.0f, -1.0f});
  const auto codes = [&](const std::string& how) {
    const std::string out = folder / "out.h5";
    const Outcome outcome = fp8scope("cast " + (folder / "x.npy") + " " + how + " -o " + out);
    EXPECT_EQ(outcome.code, 0) << outcome.err;
    const auto root = h5::open_file(out);
    return root.dataset("codes").values<std::uint64_t>();
  };
  using Codes = std::vector<std::uint64_t>;
  EXPECT_EQ(codes("-f e4m3"), (Codes{0x7f, 0x7f, 0x7e, 0xfe, 0x80, 0xb8}));
  EXPECT_EQ(codes("-f e4m3 --policy ml_dtypes"), (Codes{0x7f, 0xff, 0x7f, 0xff, 0x80, 0xb8}));
  EXPECT_EQ(codes("-f e5m2 --policy inf=special,nan=quiet_signed"), (Codes{0x7e, 0xfe, 0x7c, 0xfc, 0x80, 0xbc}));
  EXPECT_EQ(codes("-f e2m1 --policy no_nan=sign_bit_flip"), (Codes{0x8, 0x0, 0x7, 0xf, 0x8, 0xa}));
  EXPECT_EQ(codes("-f e8m0 --policy negative_scale=lowest,zero_scale=nan"), (Codes{0xff, 0xff, 0xfe, 0x00, 0xff, 0x00}));
  expect_one_line(fp8scope("cast " + (folder / "x.npy") + " -f e4m3 --policy nan=none -o x.h5"), 2, "all_ones_signed");
  expect_one_line(fp8scope("cast " + (folder / "x.npy") + " -f e4m3 --policy infinity=max -o x.h5"), 2, "known: inf");
}

TEST(CastCommand, WritesTheSameBytesForAnyThreadsAndMemory) {
  const Folder folder;
  std::vector<float> x(300 * 256);
  for (std::size_t i = 0; i < x.size(); ++i) x[i] = std::sin(static_cast<float>(i * i % 1009));
  write_floats(folder / "x.npy", {300, 256}, x);
  const auto hash = [&](const std::string& how) {
    const Outcome outcome = fp8scope("cast " + (folder / "x.npy") + " -r te_block --role weight --rounding stochastic " + how + " -o " + (folder / "out.h5"));
    EXPECT_EQ(outcome.code, 0) << outcome.err;
    return sha256_of_file(folder / "out.h5");
  };
  const std::string expected = hash("-j 1");
  EXPECT_EQ(hash("-j 4"), expected);
  EXPECT_EQ(hash("-j 2 --max-mem 1KiB"), expected);
  EXPECT_NE(hash("--seed 1"), expected);
  expect_one_line(fp8scope("cast " + (folder / "x.npy") + " -f e4m3 -j -1 -o x.h5"), 2, "--threads");
}

TEST(CastCommand, RefusesBadArraysInOneLineAndWritesNothing) {
  const Folder folder;
  const float nan = std::nanf("");
  write_floats(folder / "nan.npy", {2, 2}, {nan, nan, nan, nan});
  write_floats(folder / "empty.npy", {0, 4}, {});
  write_floats(folder / "ragged.npy", {2, 40}, std::vector<float>(80, 1.0f));
  std::ofstream(folder / "cut.npy", std::ios::binary) << read_file(folder / "ragged.npy").substr(0, 200);
  const auto cast = [&](const char* name, const char* how) {
    return fp8scope("cast " + (folder / name) + " " + how + " -o " + (folder / "never.h5"));
  };
  expect_one_line(cast("nan.npy", "-r te_current"), 3, "holds no finite number");
  expect_one_line(cast("empty.npy", "-r te_current"), 3, "empty");
  expect_one_line(cast("ragged.npy", "-r mxfp8"), 3, "no multiple of 1x32");
  expect_one_line(cast("cut.npy", "-r te_current"), 3, "cut.npy");
  expect_one_line(cast("ragged.npy", "-f e9m9"), 2, "e9m9");
  expect_one_line(cast("ragged.npy", ""), 2, "--format");
  EXPECT_FALSE(std::filesystem::exists(folder / "never.h5"));
  EXPECT_EQ(folder.files(), 4u);
}

TEST(ExportCommand, GivesTheResultsAsJson) {
  const Folder folder;
  const std::string out = folder / "r.h5";
  ASSERT_EQ(fp8scope("replay " + trace + " -r te_block,dsv3 -o " + out).code, 0);
  const Outcome outcome = fp8scope("export " + out + " --format json");
  ASSERT_EQ(outcome.code, 0) << outcome.err;
  const auto table = nlohmann::json::parse(outcome.out);
  EXPECT_EQ(table.at("rows").size(), 2u * (12 * 10 + 12));
  EXPECT_GT(table.at("rows")[0].at("sqnr_db").get<double>(), 25.0);
}

}  // namespace
}  // namespace fp8scope
