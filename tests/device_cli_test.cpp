// --device of replay, gemm and validate, as a process. Without a GPU the parts that need one skip.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include "cuda/device.hpp"
#include "sim/philox.hpp"
#include "src/npy.hpp"
#include "src/sha256.hpp"
#include "tests/process.hpp"

namespace fp8scope {
namespace {

const std::string program = FP8SCOPE_BINARY;
const std::string trace = FP8SCOPE_SOURCE "/notebooks-data/traces/smollm2.h5";

/// The devices to compare with the CPU.
std::vector<std::string> devices() {
  std::vector<std::string> all{"cuda-loops"};
  if (cuda::device_count() > 0) all.push_back("cuda");
  return all;
}

std::string write_random(const std::string& path, std::int64_t rows, std::int64_t cols, std::uint64_t seed) {
  std::vector<float> x;
  for (std::int64_t i = 0; i < rows * cols; ++i)
    x.push_back(static_cast<float>(static_cast<std::int32_t>(random_bits(seed, static_cast<std::uint64_t>(i)).value)) * 0x1p-30f);
  write_npy(path, NpyType::f4, {rows, cols}, std::as_bytes(std::span(x)));
  return path;
}

TEST(Device, ReplayWritesTheBytesOfTheCpu) {
  const Folder folder;
  const auto result = [&](const std::string& device, int threads) {
    const std::string path = folder / "results.h5";
    const Outcome outcome = run_command(fmt::format("{} replay {} --reproducible --gemms all --device {} -j {} -o {}", program, trace,
                                                    device, threads, path));
    EXPECT_EQ(outcome.code, 0) << outcome.err;
    return sha256_of_file(path);
  };
  const std::string expected = result("cpu", 1);
  for (const std::string& device : devices())
    for (const int threads : {1, 2}) EXPECT_EQ(result(device, threads), expected) << device;
}

TEST(Device, GemmWritesTheWordsOfTheCpu) {
  const Folder folder;
  const std::string a = write_random(folder / "a.npy", 48, 384, 1), b = write_random(folder / "b.npy", 40, 384, 2);
  const auto result = [&](const std::string& device, const std::string& options) {
    const std::string path = folder / "d.npy";
    const Outcome outcome = run_command(fmt::format("{} gemm {} {} --device {} {} -o {}", program, a, b, device, options, path));
    EXPECT_EQ(outcome.code, 0) << outcome.err;
    return std::pair{sha256_of_file(path), outcome.err};
  };
  for (const char* options : {"--recipe dsv3 -a hopper_wgmma", "--recipe te_current -a ada_mma", "--recipe mxfp8 -a blackwell_mxfp8", "--recipe te_current -a fp64"}) {
    const auto expected = result("cpu", options);
    for (const std::string& device : devices()) {
      const auto [words, said] = result(device, options);
      EXPECT_EQ(words, expected.first) << device << options;
      // What the kernels do not know the CPU computes, and says so.
      EXPECT_EQ(said.find("computed by the CPU") != std::string::npos, std::string(options).find("fp64") != std::string::npos) << said;
    }
  }
}

TEST(Device, WithoutAGpuEveryCommandSaysThatItSkips) {
  if (cuda::device_count() > 0) GTEST_SKIP() << "there is a GPU";
  for (const std::string& command : {"replay " + trace + " --device cuda", std::string("validate --gpu")}) {
    const Outcome outcome = run_command(program + " " + command);
    EXPECT_EQ(outcome.code, 77) << command;
    EXPECT_NE(outcome.err.find(cuda::why_none()), std::string::npos) << outcome.err;
  }
  EXPECT_NE(run_command(program + " info").out.find("none: " + cuda::why_none()), std::string::npos);
}

TEST(Device, AWrongNameIsAUsageError) {
  for (const char* name : {"gpu", "cuda:x", "cuda:-1", "cuda:"})
    EXPECT_EQ(run_command(program + " replay " + trace + " --device " + name).code, 2) << name;
}

TEST(Device, OnAGpu) {
  if (cuda::device_count() == 0) GTEST_SKIP() << cuda::why_none() << ": nothing here ran on a GPU";
  EXPECT_EQ(run_command(program + " replay " + trace + " --device cuda:99").code, 77);
}

}  // namespace
}  // namespace fp8scope
