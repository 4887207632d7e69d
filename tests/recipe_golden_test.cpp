// The recipes against arrays made by the libraries themselves (golden/scaling.h5): bytes of the codes
// and of the scales. A NaN code equals a NaN code: its sign is free. See tests/README.md.
#include <algorithm>

#include "tests/golden.hpp"
#include "tests/recipe_golden/golden_case.hpp"

namespace fp8scope {
namespace {

struct Origin {
  const char* name;
  void (*check)(const Golden&);
};

constexpr Origin origins[] = {
    {"TransformerEngineDelayed", check_te_delayed}, {"TransformerEngineCurrent", check_te_current},
    {"TransformerEngineBlock", check_te_block},     {"TransformerEngineMxfp8", check_te_mxfp8},
    {"TransformerEnginePrimitives", check_te_primitives}, {"TransformerEngineNvfp4", check_te_nvfp4},
    {"DeepGemm", check_deepgemm},                   {"DeepEp", check_deepep},
    {"DeepSeekInference", check_deepseek_inference}, {"TileKernels", check_tilekernels},
    {"E5m6", check_e5m6},                           {"TorchaoFloat8", check_torchao_float8},
    {"TorchaoDelayed", check_torchao_delayed},      {"TorchaoMx", check_torchao_mx},
    {"TorchaoNvfp4", check_torchao_nvfp4},          {"Microxcaling", check_microxcaling},
    {"MsAmp", check_msamp},                         {"Formats", check_formats},
};

class RecipeGolden : public testing::TestWithParam<Origin> {};

TEST_P(RecipeGolden, HasTheBytesOfTheOriginalCode) {
  FP8SCOPE_OPEN_GOLDEN(file, "scaling.h5");
  GetParam().check(Golden(file));
}
void PrintTo(const Origin& origin, std::ostream* out) { *out << origin.name; }
INSTANTIATE_TEST_SUITE_P(All, RecipeGolden, testing::ValuesIn(origins),
                         [](const auto& info) { return std::string(info.param.name); });

void collect(const h5::Group& group, const std::string& prefix, std::vector<std::string>& paths) {
  for (const h5::Entry& entry : group.entries())
    if (entry.is_group) collect(group.group(entry.name), prefix + entry.name + "/", paths);
    else paths.push_back(prefix + entry.name);
}

TEST(RecipeGoldenFile, HasNoArrayThatIsNotCompared) {
  FP8SCOPE_OPEN_GOLDEN(file, "scaling.h5");
  const Golden golden(file);
  for (const Origin& origin : origins) origin.check(golden);
  std::vector<std::string> all, left;
  collect(file, "", all);
  for (const std::string& path : all)
    if (!golden.read_paths().contains(path)) left.push_back(path);
  EXPECT_EQ(all.size(), 997u);
  EXPECT_EQ(golden.read_paths().size(), 996u);
  // An input that the file holds no output of; tests/README.md.
  EXPECT_EQ(left, std::vector<std::string>{"inputs/wt_f32"});
}

}  // namespace
}  // namespace fp8scope
