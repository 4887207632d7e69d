// NVFP4 of Transformer Engine and torchao.
#include "sim/philox.hpp"
#include "sim/scale_layout.hpp"
#include "tests/recipe_golden/golden_case.hpp"

namespace fp8scope {
namespace {

/// Options of te_nvfp4 that the rest of a name stands for: "1x16_4over6_mse448".
std::string te_options(const std::string& what) {
  std::string options = ":zero=reference:sr=off";
  if (names(what, "_mae")) options += ":4over6=mae";
  if (names(what, "_mse")) options += ":4over6=mse";
  if (what.ends_with("448")) options += ":e4m3_max=448";
  if (names(what, "rowscaled")) options += ":second.scope=row";
  options += what.starts_with("16x16") ? ":tile.shape=16x16" : ":tile.shape=1x16";
  return options;
}

void expect_packed(const Golden& golden, const std::string& path, const Output& out) {
  EXPECT_TRUE(same_bits(golden.codes(path), widened(pack_fp4(out.cast.codes)))) << path;
}

/// Block codes as Transformer Engine keeps them: those of tall blocks repeated for every row.
std::vector<std::uint16_t> stored_by_row(const Output& out) {
  std::vector<std::uint16_t> all;
  const auto codes = out.stored();
  for (std::int64_t r = 0; r < out.grid.rows; ++r) {
    const auto row = codes.begin() + r / out.grid.block_rows * out.grid.across();
    all.insert(all.end(), row, row + out.grid.across());
  }
  return all;
}

Matrix input_of_case(const Golden& golden, const std::string& input) {
  return read_matrix(golden, input == "act_bf16" ? "te_nvfp4/act_bf16_rows3_4_zeroed" : "inputs/" + input);
}

/// The cast along the rows of the matrix as it lies equals that of the turned matrix.
void expect_turned(const Output& down, const Output& across, const std::string& name) {
  const std::int64_t rows = down.grid.rows, cols = down.grid.cols;
  EXPECT_TRUE(same_bits(turned(down.cast.codes, rows, cols), across.cast.codes)) << name;
  EXPECT_TRUE(same_bits(turned(down.stored(), down.grid.down(), down.grid.across()), across.stored())) << name;
  EXPECT_TRUE(same_bits(down.cast.factor_amax, across.cast.factor_amax)) << name;
}

}  // namespace

void check_te_nvfp4(const Golden& golden) {
  for (const std::string& name : golden.stems("te_nvfp4", "_q")) {
    const std::string input = input_of(name), what = name.substr(input.size() + 1), path = "te_nvfp4/" + name;
    const Matrix matrix = input_of_case(golden, input);
    const bool rht = names(what, "rht");
    TensorKind operand = operand_of(input);
    operand.gemm = Gemm::fprop;
    const Output out = run("te_nvfp4" + te_options(what), operand, matrix);
    expect_packed(golden, path + "_q", out);
    EXPECT_TRUE(same_bits(golden.codes(path + "_s"), stored_by_row(out))) << name;
    operand.gemm = Gemm::wgrad;
    const std::string spec = "te_nvfp4:rht=" + std::string(rht ? "on" : "off") + te_options(what);
    const Output t = run(spec, operand, matrix.transposed());
    expect_packed(golden, path + "_qt", t);
    EXPECT_TRUE(same_bits(golden.codes(path + "_st"), stored_by_row(t))) << name;
    std::vector<float> amaxes = out.cast.factor_amax;
    amaxes.insert(amaxes.end(), t.cast.factor_amax.begin(), t.cast.factor_amax.end());
    EXPECT_TRUE(same_bits(golden.floats(path + "_gamax"), amaxes)) << name;
    expect_turned(run(spec, operand, matrix, true), t, name);
  }
  std::vector<std::uint16_t> grid_codes;
  for (const float x : golden.floats("te_nvfp4/e2m1_grid_x"))
    grid_codes.push_back(static_cast<std::uint16_t>(encode({2, 1, 1, Specials::finite}, x, {.zero = ZeroRule::drop_exact})));
  EXPECT_TRUE(same_bits(golden.codes("te_nvfp4/e2m1_grid_packed"), widened(pack_fp4(grid_codes))));

  const Format e2m1{2, 1, 1, Specials::finite};
  std::vector<float> stochastic;
  for (const float x : golden.floats("te_nvfp4/sr_x"))
    for (std::uint32_t bits = 0; bits < 256; ++bits)
      stochastic.push_back(decode(e2m1, encode(e2m1, x, {.rounding = Rounding::te_e2m1}, {bits, 8})));
  EXPECT_TRUE(same_bits(golden.floats("te_nvfp4/sr_out_by_rbits8"), stochastic));

  // Philox: counter = (offset, subsequence), key = seed; each generate4() raises the counter by one.
  const std::uint64_t streams[4][3] = {
      {0, 0, 0}, {1234, 7, 0}, {1234, 7, 3}, {(1ull << 40) + 5, (1ull << 33) + 1, 1ull << 34}};
  std::vector<std::uint32_t> words;
  for (const auto& [seed, subsequence, offset] : streams)
    for (std::uint64_t i = 0; i < 4; ++i) {
      const std::uint64_t low = offset + i;
      const PhiloxWords out = philox4x32({{static_cast<std::uint32_t>(low), static_cast<std::uint32_t>(low >> 32),
                                           static_cast<std::uint32_t>(subsequence),
                                           static_cast<std::uint32_t>(subsequence >> 32)}},
                                         seed);
      words.insert(words.end(), out.word, out.word + 4);
    }
  EXPECT_TRUE(same_bits(golden.words("te_nvfp4/philox_out"), words));
}

void check_torchao_nvfp4(const Golden& golden) {
  for (const std::string& name : golden.stems("torchao_nvfp4", "_q")) {
    const std::string input = input_of(name), path = "torchao_nvfp4/" + name;
    const bool two = names(name, "level2");
    const Output out = run(fmt::format("torchao_nvfp4:levels={}", two ? 2 : 1), operand_of(input),
                           input_of_case(golden, input));
    expect_packed(golden, path + "_q", out);
    EXPECT_TRUE(same_bits(golden.codes(path + "_s"), out.stored())) << name;
    if (two) {
      const float factor = with_tensor_amax(*make_recipe("torchao_nvfp4", {})->block_rule(), out.cast.factor_amax[0]).encode;
      EXPECT_TRUE(same_bits(golden.floats(path + "_pts"), std::vector<float>{factor})) << name;
    }
  }
  // Its training recipe is Transformer Engine's, but for the sign of exact zeros.
  for (const char* input : {"act_bf16", "grad_bf16"}) {
    const Matrix matrix = input_of_case(golden, input);
    TensorKind operand = operand_of(input);
    operand.gemm = Gemm::wgrad;
    const Output ours = run("torchao_nvfp4_training:sr=off", operand, matrix, true);
    const Output te = run("te_nvfp4:sr=off", operand, matrix, true);
    EXPECT_TRUE(same_bits(ours.cast.codes, te.cast.codes)) << input;
    EXPECT_TRUE(same_bits(ours.stored(), te.stored())) << input;
  }
}

}  // namespace fp8scope
