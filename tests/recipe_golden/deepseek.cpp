// DeepGEMM, DeepEP, DeepSeek's inference code, TileKernels.
#include <cmath>
#include <map>

#include "sim/scale_layout.hpp"
#include "tests/recipe_golden/golden_case.hpp"

namespace fp8scope {

void check_deepgemm(const Golden& golden) {
  const std::map<std::string, std::string> blocks{
      {"_token_g128_", "1x128"}, {"_token_g32_", "1x32"}, {"_block128_", "128x128"}, {"_channel_g32_", "32x1"}};
  for (const std::string& name : golden.stems("deepgemm", "_q")) {
    const std::string path = "deepgemm/" + name, input = input_of(name);
    const std::string scales = names(name, "ue8m01") ? "ue8m0" : "fp32";
    const Matrix matrix = read_matrix(golden, "inputs/" + input);
    if (names(name, "_fp4_")) {
      const Output out = run("deepgemm_fp4:scales=" + scales, operand_of(input), matrix);
      EXPECT_TRUE(same_bits(golden.codes(path + "_q"), widened(pack_fp4(out.cast.codes)))) << name;
      expect_scale_inv(golden, path + "_sf", out);
      continue;
    }
    std::string block = "1x128", version = names(name, "_v1") ? "2025-02" : "2026-06";
    for (const auto& [part, shape] : blocks)
      if (names(name, part.c_str())) block = shape;
    const Output out = run(fmt::format("dsv3:block={}:scales={}:version={}", block, scales, version),
                           operand_of(input), matrix);
    expect_codes(golden, path + "_q", out);
    expect_scale_inv(golden, path + "_sf", out);
  }
  Matrix act = read_matrix(golden, "inputs/act_bf16"), part{act.rows, 256, {}};
  for (std::int64_t r = 0; r < act.rows; ++r)
    part.x.insert(part.x.end(), act.x.begin() + r * act.cols, act.x.begin() + r * act.cols + 256);
  const Output out = run("dsv3:block=1x32:scales=ue8m0", {}, part);
  const std::vector<std::uint8_t> bytes(out.cast.stored.begin(), out.cast.stored.end());
  EXPECT_TRUE(same_bits(golden.words("deepgemm/act_bf16_256_g32_packed_sf"), pack_ue8m0(bytes, part.rows, 8)));
}

void check_deepep(const Golden& golden) {
  for (const std::string& name : golden.stems("deepep", "_q")) {
    const Output out = run(names(name, "round1") ? "deepep:scales=round_scale" : "deepep", operand_of(input_of(name)),
                           read_matrix(golden, "inputs/" + input_of(name)));
    expect_codes(golden, "deepep/" + name + "_q", out);
    expect_scale_inv(golden, "deepep/" + name + "_sinv", out);
  }
}

void check_deepseek_inference(const Golden& golden) {
  for (const std::string& name : golden.stems("deepseek_infer", "_q")) {
    const bool rounded = names(name, "_round") || names(name, "_ue8m0");
    const Output out = run(fmt::format("dsv3_infer:version={}:scales={}", names(name, "_v32") ? "v3.2" : "v3",
                                       rounded ? "ue8m0" : "fp32"),
                           operand_of(input_of(name)), read_matrix(golden, "inputs/" + input_of(name)));
    expect_codes(golden, "deepseek_infer/" + name + "_q", out);
    expect_scale_inv(golden, "deepseek_infer/" + name + "_s", out);
  }
}

void check_tilekernels(const Golden& golden) {
  for (const std::string& name : golden.stems("tilekernels", "_q")) {
    const std::string input = input_of(name), path = "tilekernels/" + name;
    const bool fp4 = names(name, "_e2m1_");
    const std::size_t tile_at = name.find(fp4 ? "_e2m1_" : "_e4m3_") + 6;
    const Output out = run(fmt::format("tilekernels:format={}:block={}:scales={}", fp4 ? "e2m1" : "e4m3",
                                       name.substr(tile_at, name.find('_', tile_at) - tile_at),
                                       names(name, "round1") ? "round_sf" : "fp32"),
                           operand_of(input), read_matrix(golden, "inputs/" + input));
    if (!fp4) expect_codes(golden, path + "_q", out);
    if (fp4) {
      EXPECT_TRUE(same_bits(golden.codes(path + "_q"), widened(pack_fp4(out.cast.codes)))) << name;
    }
    expect_scale_inv(golden, path + "_sf", out);
  }
}

void check_e5m6(const Golden& golden) {
  const Format e5m6{5, 6, 15, Specials::ieee};
  for (const std::string& name : golden.stems("e5m6", "_packed")) {
    if (name == "scalar") continue;
    const Output out = run(fmt::format("tilekernels_e5m6:scales={}", names(name, "round1") ? "round_sf" : "fp32"),
                           operand_of(input_of(name)), read_matrix(golden, "inputs/" + input_of(name)));
    EXPECT_TRUE(same_bits(golden.codes("e5m6/" + name + "_packed"), widened(pack_e5m6(out.cast.codes)))) << name;
    expect_scale_inv(golden, "e5m6/" + name + "_sf", out);
  }
  std::vector<float> values, rounded;
  for (std::uint32_t code = 0; code < 4096; ++code) values.push_back(decode(e5m6, code));
  const auto table = golden.floats("e5m6/decode_table");
  for (std::size_t i = 0; i < values.size(); ++i)
    EXPECT_TRUE(is_nan(values[i]) ? is_nan(table[i]) : float_bits(values[i]) == float_bits(table[i])) << i;
  std::vector<std::uint16_t> shipped;
  const auto x = golden.floats("e5m6/scalar_x"), want = golden.floats("e5m6/scalar_rne");
  for (std::size_t i = 0; i < x.size(); ++i) {
    shipped.push_back(static_cast<std::uint16_t>(encode(e5m6, x[i], {.rounding = Rounding::deepseek_e5m6})));
    const float y = decode(e5m6, encode(e5m6, x[i]));
    if (std::fabs(want[i]) > e5m6.max_value()) continue;
    EXPECT_EQ(y, want[i]) << x[i];  // rounded in numpy, which loses the sign of zero
  }
  EXPECT_TRUE(same_bits(golden.codes("e5m6/scalar_packed"), widened(pack_e5m6(shipped))));
}

}  // namespace fp8scope
