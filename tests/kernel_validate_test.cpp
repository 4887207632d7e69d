// Kernels of a shared library and dumps of kernels run elsewhere, judged as their users judge them.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "tests/process.hpp"

namespace fp8scope {
namespace {

const std::string program = FP8SCOPE_BINARY;
const std::string kernels = FP8SCOPE_KERNELS;
const std::string readme = FP8SCOPE_SOURCE "/README.md";

Outcome validate(const std::string& symbol, const std::string& options = "--shape 16x24x640") {
  return run_command(fmt::format("{} validate --kernel {}:{} {}", program, kernels, symbol, options));
}

void expect_words(const Outcome& outcome, int code, std::initializer_list<const char*> words) {
  EXPECT_EQ(outcome.code, code) << outcome.out << outcome.err;
  for (const char* word : words) EXPECT_NE(outcome.out.find(word), std::string::npos) << word << "\n" << outcome.out;
}

void expect_one_line(const Outcome& outcome, int code, const std::string& part) {
  EXPECT_EQ(outcome.code, code) << outcome.err;
  EXPECT_EQ(outcome.err.rfind("fp8scope: ", 0), 0u) << outcome.err;
  EXPECT_EQ(std::ranges::count(outcome.err, '\n'), 1) << outcome.err;
  EXPECT_NE(outcome.err.find(part), std::string::npos) << outcome.err;
}

TEST(ValidateKernel, FindsNothingWrongWithARightKernel) {
  expect_words(validate("gemm_hopper"), 0, {"6 case(s), 2304 words, 0 differ"});
  expect_words(validate("gemm_hopper", "--shape 16x24x640 --scales tensor"), 0, {"0 differ"});
  expect_words(validate("gemm_hopper", "--shape 16x24x640 --formats e4m3,e5m2 --d-format bf16"), 0,
               {"e4m3 by e5m2 into bf16", "0 differ"});
  expect_words(validate("gemm_hopper", "--shape 8x136x384 --scales 1x128,1x128"), 0, {"0 differ"});
}

TEST(ValidateKernel, NamesAPromotionThatIsOffByOneStep) {
  expect_words(validate("gemm_off_by_one"), 1,
               {"no mismatches with: hopper_wgmma promoted every 128, first after 32, deepgemm order;",
                "off by one step of 32 products, late"});
  expect_words(validate("gemm_early"), 1, {"first after 96", "off by one step of 32 products, early"});
  expect_words(validate("gemm_interval_off_by_one"), 1,
               {"no mismatches with: hopper_wgmma promoted every 160, deepgemm order;",
                "the promotion interval is off by one step of 32 products: 160, not 128"});
  expect_words(validate("gemm_off_by_one", "--shape 16x24x640 --scales tensor"), 1,
               {"hopper_wgmma promoted every 128, first after 32;", "off by one step of 32 products, late"});
}

TEST(ValidateKernel, NamesTheOrderAndTheUnitThatFit) {
  expect_words(validate("gemm_other_order"), 1,
               {"no mismatches with: hopper_wgmma promoted every 128, cutlass_vector order;", "another order"});
  expect_words(validate("gemm_hopper", "--shape 16x24x640 --model ada_mma"), 1,
               {"no mismatches with: hopper_wgmma promoted every 128", "the unit is hopper_wgmma, not ada_mma"});
  expect_words(validate("gemm_hopper", "--shape 16x24x640 --scales tensor --promote none"), 1,
               {"it promotes every 128 products, and should never"});
}

TEST(ValidateKernel, SaysWhatAKernelLeavesOutOrDoesTwice) {
  expect_words(validate("gemm_never_writes"), 1, {"384 words were never written"});
  expect_words(validate("gemm_unstable"), 1, {"1 words differ between two runs on the same data"});
}

TEST(ValidateKernel, OutlivesWhateverAKernelDoes) {
  expect_one_line(validate("gemm_writes_past_the_end"), 3, "crashed with signal 11");
  expect_one_line(validate("gemm_changes_its_input"), 3, "inputs are read-only");
  expect_one_line(validate("gemm_aborts"), 3, "crashed with signal 6");
  expect_one_line(validate("gemm_exits"), 3, "ended its process with exit code 9");
  expect_one_line(validate("gemm_fails"), 3, "returned 42");
  expect_one_line(validate("gemm_hangs", "--time-limit 1"), 3, "did not return within 1 s");
}

TEST(ValidateKernel, SkipsVisiblyWithoutADevice) {
  expect_one_line(validate("gemm_no_device"), 77, "skipped: the kernel says that there is no device");
  expect_one_line(validate("gemm_unsupported"), 77, "supports none of the cases");
}

TEST(ValidateKernel, AnswersAWrongCommandLineInOneLine) {
  expect_one_line(validate("no_such_kernel"), 4, "no_such_kernel");
  expect_one_line(run_command(program + " validate --kernel /no/such.so:f"), 4, "/no/such.so");
  expect_one_line(run_command(program + " validate --kernel nocolon"), 2, "LIBRARY.so:FUNCTION");
  expect_one_line(run_command(program + " validate"), 2, "DUMP.h5, --kernel");
  expect_one_line(validate("gemm_hopper", "--shape 16x24"), 2, "MxNxK");
  expect_one_line(validate("gemm_hopper", "--scales 1y2"), 2, "--scales");
  expect_one_line(validate("gemm_hopper", "--order deepgem"), 2, "did you mean 'deepgemm'?");
}

TEST(ValidateQuantizer, FindsNothingWrongWithARightKernel) {
  for (const char* options : {"", "--dtype float32", "--dtype float16", "--role weight"})
    expect_words(validate("quantize_vllm", fmt::format("--recipe vllm_group {}", options)), 0, {"15 tensor(s)", " 0 differ"});
  expect_words(validate("quantize_mx_floor", "--recipe mxfp8:scale=floor"), 0, {"tiles of 1x32, e8m0 scales", "11 tensor(s)", " 0 differ"});
  expect_words(validate("quantize_whole_tiles_only", "--recipe vllm_group"), 0, {"skipped, the kernel says", "8 tensor(s), 7 skipped"});
}

TEST(ValidateQuantizer, NamesTheFaultTheTileAndTheRecipeThatFits) {
  expect_words(validate("quantize_reciprocal", "--recipe vllm_group"), 1,
               {"in tile [6, 0]: x 0.341796875, scale 3a600000 = 0.000854492188; kernel 7d = 416, vllm_group 7c = 384",
                "scales: 0 of 1024 differ", "no mismatches with: vllm_group:scale.apply=inverse",
                "you multiply x by the reciprocal fl(1/factor); vllm_group would divide x by the factor"});
  expect_words(validate("quantize_240", "--recipe vllm_group"), 1,
               {"scale of tile [0, 0]: kernel 3feeeeef = 1.86666667, vllm_group 3f800000 = 1", "no mismatches with: vllm_group:scale.max=240;",
                "you aim at 240; vllm_group would aim at MAX of the element format"});
  expect_words(validate("quantize_truncates", "--recipe vllm_group --dtype float32"), 1,
               {"no mismatches with: vllm_group:element.rounding=toward-zero;", "you truncate; vllm_group would round ties to even"});
}

TEST(ValidateQuantizer, ShowsTheTilesOfAFaultThatNoRecipeHas) {
  expect_words(validate("quantize_skips_an_element", "--recipe vllm_group"), 1,
               {"scale of tile [", "0 of these codes are in tiles whose scale agrees", "no recipe makes these scales and codes", "nearest: "});
  expect_words(validate("quantize_mx_one_step_up", "--recipe mxfp8:scale=floor"), 1, {"scales: 1024 of 1024 differ (100 %): 1024 by 1", "no recipe makes these"});
}

TEST(ValidateQuantizer, SaysWhatAKernelLeavesOutAndOutlivesIt) {
  expect_words(validate("quantize_forgets_scales", "--recipe vllm_group"), 1, {"1024 words were never written"});
  expect_one_line(validate("quantize_writes_past_the_end", "--recipe vllm_group"), 3, "crashed with signal 11");
  expect_one_line(validate("quantize_vllm", "--recipe mxfp8"), 77, "supports none of the tensors");
  expect_one_line(validate("no_such_kernel", "--recipe vllm_group"), 4, "no_such_kernel");
}

TEST(ValidateQuantizer, AnswersAWrongCommandLineInOneLine) {
  expect_one_line(validate("quantize_vllm", "--recipe te_delayed"), 2, "earlier steps");
  expect_one_line(validate("quantize_vllm", "--recipe te_nvfp4"), 2, "--recipe te_nvfp4");
  expect_one_line(validate("quantize_vllm", "--recipe vllm_grup"), 2, "vllm_group");
  expect_one_line(validate("quantize_vllm", "--recipe vllm_group --dtype bf17"), 2, "--dtype bf17");
  expect_one_line(validate("quantize_vllm", "--recipe vllm_group --role w"), 2, "--role");
}

/// The first ```python block of the README that mentions `word`.
std::string snippet_with(const std::string& word) {
  const std::string text = read_file(readme);
  for (std::size_t at = 0; (at = text.find("```python\n", at)) != std::string::npos; ++at) {
    const std::size_t begin = at + 10, end = text.find("```", begin);
    const std::string block = text.substr(begin, end - begin);
    if (block.find(word) != std::string::npos) return block;
  }
  return "";
}

/// The README's words, run by Python; numpy stands in for torch, whose place a folder of the tests takes.
TEST(ReadmeSnippet, WritesADumpThatValidates) {
  const std::string snippet = snippet_with("_scaled_mm");
  ASSERT_FALSE(snippet.empty());
  EXPECT_LE(std::ranges::count(snippet, '\n'), 10);
  const Folder folder;
  std::ofstream(folder / "snippet.py") << snippet;
  const std::string path = "PYTHONPATH=" FP8SCOPE_SOURCE "/tests/numpy_torch";
  const Outcome python = run_command(fmt::format("cd {} && {} /usr/bin/python3 snippet.py", folder / "", path));
  ASSERT_EQ(python.code, 0) << python.err;
  expect_words(run_command(fmt::format("{} validate {}", program, folder / "dump.h5")), 0, {"3072 x 512 products", " 0 differ"});
  const Outcome wrong = run_command(fmt::format("{} validate {} --model blackwell_tcgen05", program, folder / "dump.h5"));
  expect_words(wrong, 1, {"no mismatches with: hopper_wgmma"});
}

TEST(ReadmeSnippet, OfAKernelThatPromotesIsToldApart) {
  const Folder folder;
  std::ofstream(folder / "snippet.py") << snippet_with("_scaled_mm");
  const std::string path = "NUMPY_TORCH_PROMOTE=128 PYTHONPATH=" FP8SCOPE_SOURCE "/tests/numpy_torch";
  ASSERT_EQ(run_command(fmt::format("cd {} && {} /usr/bin/python3 snippet.py", folder / "", path)).code, 0);
  expect_words(run_command(fmt::format("{} validate {}", program, folder / "dump.h5")), 1,
               {"hopper_wgmma promoted every 128", "it promotes every 128 products, and should never"});
  expect_words(run_command(fmt::format("{} validate {} --promote 128", program, folder / "dump.h5")), 0, {" 0 differ"});
}

}  // namespace
}  // namespace fp8scope
