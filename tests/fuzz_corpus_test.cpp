// Every input that a fuzzer starts from, and every one that once was too much for a parser, through the
// same functions without a fuzzer: with any compiler, in every build.
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>

#include "tests/fuzz/targets.hpp"
#include "tests/temporary_folder.hpp"

extern "C" const char* __lsan_default_suppressions() { return "leak:libhdf5"; }

namespace fp8scope::fuzz {
namespace {

const std::filesystem::path folder = std::filesystem::path(FP8SCOPE_SOURCE) / "tests/fuzz";

std::vector<std::filesystem::path> inputs(const Target& target) {
  std::vector<std::filesystem::path> files;
  for (const char* kind : {"corpus", "crashers"})
    if (const auto place = folder / kind / target.name; std::filesystem::is_directory(place))
      for (const auto& entry : std::filesystem::directory_iterator(place)) files.push_back(entry.path());
  std::ranges::sort(files);
  return files;
}

class EveryParser : public testing::TestWithParam<Target> {};

TEST_P(EveryParser, SurvivesItsCorpus) {
  const auto files = inputs(GetParam());
  EXPECT_FALSE(files.empty());
  for (const auto& file : files) {
    const std::string bytes = bytes_of(file);
    GetParam().run({reinterpret_cast<const std::uint8_t*>(bytes.data()), bytes.size()});
  }
}

/// Cut anywhere, and with any single byte changed in three ways.
TEST_P(EveryParser, SurvivesCutsAndChangedBytesOfItsCorpus) {
  const std::size_t most = GetParam().name == "argv" ? 12 : 200;  // whole commands take their time
  for (const auto& file : inputs(GetParam())) {
    const std::string bytes = bytes_of(file);
    const std::size_t stride = 1 + bytes.size() / most;
    for (std::size_t at = 0; at < bytes.size(); at += stride) {
      GetParam().run({reinterpret_cast<const std::uint8_t*>(bytes.data()), at});
      for (const int flip : {1, 0x80, 0xff}) {
        std::string changed = bytes;
        changed[at] = static_cast<char>(changed[at] ^ flip);
        GetParam().run({reinterpret_cast<const std::uint8_t*>(changed.data()), changed.size()});
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Targets, EveryParser, testing::ValuesIn(targets().begin(), targets().end()),
                         [](const auto& info) { return std::string(info.param.name); });

}  // namespace
}  // namespace fp8scope::fuzz
