// microxcaling, MS-AMP, and element conversions.
#include "sim/recipes/auto_scale.hpp"
#include "tests/recipe_golden/golden_case.hpp"

namespace fp8scope {

void check_microxcaling(const Golden& golden) {
  for (const char* round : {"nearest", "even", "floor", "nearest_flush"})
    for (const std::string& stem : golden.stems("microxcaling", std::string("_") + round)) {
      const std::string name = stem + "_" + round, input = input_of(name);
      std::string format;
      for (const char* word : {"e4m3", "e5m2", "e2m1", "e2m3", "e3m2", "int8"})
        if (names(name, word)) format = word;
      const bool flush = names(name, "flush");
      const Output out = run(fmt::format("microxcaling:format={}:round={}:flush_fp32_subnorms={}", format,
                                         flush ? "nearest" : round, flush ? 1 : 0),
                             operand_of(input), read_matrix(golden, "inputs/" + input));
      auto want = golden.floats("microxcaling/" + name), got = tensor_values(out.plan, out.grid, out.cast);
      for (auto* values : {&want, &got})
        for (float& v : *values) v = v == 0.0f ? 0.0f : v;  // emulated in floats: the sign of zero is lost
      EXPECT_TRUE(same_bits(want, got)) << name;
    }
  const Matrix x{1, 32, golden.floats("microxcaling/published_x")};
  for (const char* round : {"nearest", "even"}) {
    const Output out = run(fmt::format("microxcaling:round={}", round), {}, x);
    EXPECT_TRUE(same_bits(golden.floats("microxcaling/published_y"), tensor_values(out.plan, out.grid, out.cast)));
  }
}

void check_msamp(const Golden& golden) {
  const auto amaxes = golden.floats("te_scale_from_amax/amax");
  for (const std::string& name : golden.stems("msamp", "")) {
    if (names(name, "_auto_")) continue;
    const float max = names(name, "e4m3") ? 448.0f : names(name, "e5m2") ? 57344.0f : 65504.0f;
    float mu = 1.0f;
    if (names(name, "mu_1p5")) mu = 1.5f;
    if (names(name, "mu_half")) mu = 0.5f;
    if (names(name, "mu_rsqrt2")) mu = 1.0f / std::sqrt(2.0f);
    if (names(name, "mu_rsqrt8")) mu = 1.0f / std::sqrt(8.0f);
    std::vector<float> scales;
    for (const float amax : amaxes)
      scales.push_back(msamp_scale(amax, names(name, "prev8") ? 8.0f : 1.0f, max, names(name, "_m2_") ? 2 : 0, mu));
    EXPECT_TRUE(same_bits(golden.floats("msamp/" + name), scales)) << name;
  }
  for (const AutoScalePreset& preset : auto_scale_presets) {
    const std::string path = fmt::format("msamp/pr140_auto_{}", preset.name);
    AutoScale state(preset, AutoScale::start(8));
    std::vector<float> mu;
    for (const float ratio : golden.floats(path + "_overflow_ratio")) mu.push_back(state.update(ratio));
    EXPECT_TRUE(same_bits(golden.floats(path + "_mu"), mu)) << preset.name;
  }
}

void check_formats(const Golden& golden) {
  for (const std::string& name : golden.stems("formats", "")) {
    const std::string path = "formats/" + name;
    std::string word;
    for (const char* f : {"e4m3", "e5m2", "e2m1", "e2m3", "e3m2", "e8m0"})
      if (names(name, f)) word = f;
    const Format format = parse_format(word);
    if (name.starts_with("decode_")) {
      const auto want = golden.floats(path);
      ASSERT_EQ(want.size(), format.codes());
      for (std::uint32_t code = 0; code < format.codes(); ++code) {
        const float y = decode(format, code);
        EXPECT_TRUE(is_nan(y) ? is_nan(want[code]) : float_bits(y) == float_bits(want[code])) << name << " " << code;
      }
      continue;
    }
    const bool saturate = names(name, "_satfinite");
    const CastRule rule{.overflow = saturate ? Overflow::saturate : Overflow::special};
    const auto want = canonical(format, golden.codes(path));
    std::vector<std::uint16_t> codes;
    for (std::uint32_t bits = 0; bits < 65536; ++bits)
      codes.push_back(static_cast<std::uint16_t>(encode(format, bits_float(bits << 16), rule)));
    codes = canonical(format, codes);
    std::uint32_t differing = 0;
    for (std::uint32_t bits = 0; bits < 65536; ++bits)
      // A format without NaN: what a NaN becomes is not settled.
      differing += codes[bits] != want[bits] && (format.has_nan() || !is_nan(bits_float(bits << 16)));
    EXPECT_EQ(differing, 0u) << name;
  }
}

}  // namespace fp8scope
