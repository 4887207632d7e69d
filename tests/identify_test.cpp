// Which recipe made these codes: arrays of the libraries themselves, and casts with one thing changed.
#include "src/identify/identify.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <random>

#include "sim/names.hpp"
#include "src/coded/whole_cast.hpp"
#include "src/errors.hpp"
#include "src/requested_cast.hpp"
#include "tests/golden.hpp"
#include "tests/temporary_folder.hpp"

namespace fp8scope {
namespace {

using IdentifyFile = TemporaryFolder;

std::string golden_path() { return std::string(FP8SCOPE_GOLDEN) + "/scaling.h5"; }

CodedTensor golden_dump(const std::string& stem, const std::string& scales, const std::string& x, const std::string& format,
                        const std::string& codes = "_q", const std::string& scale_format = "") {
  const std::string source = x.empty() ? "te_nvfp4/act_bf16_rows3_4_zeroed" : "inputs/" + x;
  return read_coded(golden_path(), {stem + codes, stem + scales, source, format, scale_format, ""});
}

/// Whether some exact match is called so, by itself or as an alias.
bool names(const Identity& identity, const std::string& spec) {
  for (const Match& m : identity.exact) {
    if (m.suspect.spec == spec) return true;
    if (std::ranges::find(m.suspect.aliases, spec) != m.suspect.aliases.end()) return true;
  }
  return false;
}

std::string listed(const Identity& identity) {
  std::string all;
  for (const auto* matches : {&identity.exact, &identity.nearest, &identity.changed})
    for (const Match& m : *matches) all += m.suspect.spec + ": scales " + m.scales.text() + ", codes " + m.codes.text() + "\n";
  return all;
}

TEST(Identify, NamesTheRecipeOfEveryLibrarysArrays) {
  FP8SCOPE_NEED_GOLDEN("scaling.h5");
  const struct {
    const char *stem, *scales, *x, *format, *spec, *codes = "_q", *scale_format = "";
  } cases[] = {
      {"te_blockwise/act_bf16_e4m3_1x128_pow20", "_sinv", "act_bf16", "e4m3", "te_block:scales=fp32"},
      {"te_blockwise/act_bf16_e4m3_1x128_pow21", "_sinv", "act_bf16", "e4m3", "te_block"},
      {"te_blockwise/act_bf16_e4m3_1x128_pow21", "_sinvt", "act_bf16", "e4m3", "te_block", "_qt"},
      {"te_blockwise/wt_bf16_e4m3_128x128_pow20", "_sinv", "wt_bf16", "e4m3", "te_block:scales=fp32"},
      {"deepgemm/act_bf16_token_g128_ue8m00", "_sf", "act_bf16", "e4m3", "dsv3"},
      {"deepgemm/act_bf16_token_g128_ue8m01", "_sf", "act_bf16", "e4m3", "dsv3:scales=ue8m0"},
      {"deepgemm/act_bf16_token_v1", "_sf", "act_bf16", "e4m3", "dsv3:version=2025-02"},
      {"deepgemm/wt_bf16_block128_ue8m00", "_sf", "wt_bf16", "e4m3", "dsv3"},
      {"deepgemm/grad_bf16_channel_g32_ue8m00", "_sf", "grad_bf16", "e4m3", "dsv3:block=1x32"},
      {"te_mxfp8/act_bf16_e4m3_rowwise", "_e8m0", "act_bf16", "e4m3", "mxfp8"},
      {"te_mxfp8/act_bf16_e4m3_colwise", "_e8m0", "act_bf16", "e4m3", "mxfp8"},
      {"te_mxfp8/grad_bf16_e5m2_rowwise", "_e8m0", "grad_bf16", "e5m2", "mxfp8:format=e5m2"},
      {"torchao_mx/act_bf16_e4m3_floor", "_e8m0", "act_bf16", "e4m3", "mxfp8:scale=floor"},
      {"torchao_mx/act_bf16_e4m3_floor", "_e8m0", "act_bf16", "e4m3", "torchao_mx"},
      {"torchao_mx/act_bf16_e4m3_even", "_e8m0", "act_bf16", "e4m3", "torchao_mx:scale=even"},
      {"torchao_mx/act_bf16_e4m3_ceil", "_e8m0", "act_bf16", "e4m3", "torchao_mx:scale=ceil"},
      {"torchao_mx/act_bf16_fp4_e2m1_rceil", "_e8m0", "act_bf16", "e2m1", "torchao_mx:scale=rceil:format=e2m1"},
      {"torchao_mx/act_bf16_fp6_e3m2_floor", "_e8m0", "act_bf16", "e3m2", "torchao_mx:format=e3m2"},
      {"torchao_float8/act_bf16_e4m3_tensorwise_pow20", "_scale", "act_bf16", "e4m3", "torchao_tensorwise"},
      {"torchao_float8/act_bf16_e4m3_rowwise_pow21", "_scale", "act_bf16", "e4m3", "torchao_rowwise"},
      {"torchao_float8/grad_bf16_e5m2_tensorwise_pow20", "_scale", "grad_bf16", "e5m2", "torchao_tensorwise"},
      {"torchao_blockwise/act_bf16_lhs", "_sinv", "act_bf16", "e4m3", "torchao_blockwise"},
      {"deepep/act_bf16_round0", "_sinv", "act_bf16", "e4m3", "deepep"},
      {"deepep/act_bf16_round1", "_sinv", "act_bf16", "e4m3", "deepep:scales=round_scale"},
      {"deepseek_infer/act_bf16_v3", "_s", "act_bf16", "e4m3", "dsv3_infer"},
      {"deepseek_infer/act_bf16_v32", "_s", "act_bf16", "e4m3", "dsv3_infer:version=v3.2"},
      {"tilekernels/act_bf16_e4m3_1x128_round0", "_sf", "act_bf16", "e4m3", "tilekernels"},
      {"tilekernels/act_bf16_e4m3_128x1_round1", "_sf", "act_bf16", "e4m3", "tilekernels:scales=round_sf"},
      {"deepgemm/act_bf16_fp4_g32_ue8m00", "_sf", "act_bf16", "e2m1", "deepgemm_fp4"},
      {"torchao_nvfp4/act_bf16_level1", "_s", "", "e2m1", "torchao_nvfp4:levels=1", "_q", "e4m3"},
      {"torchao_nvfp4/act_bf16_level2", "_s", "", "e2m1", "torchao_nvfp4", "_q", "e4m3"},
      {"te_nvfp4/act_bf16_1x16", "_s", "", "e2m1", "te_nvfp4:zero=reference", "_q", "e4m3"},
      {"te_nvfp4/act_bf16_1x16_rht", "_st", "", "e2m1", "te_nvfp4:zero=reference", "_qt", "e4m3"},
      {"te_nvfp4/act_bf16_16x16", "_s", "", "e2m1", "te_nvfp4:zero=reference", "_q", "e4m3"},
      {"te_nvfp4/act_bf16_1x16_4over6_mae256", "_s", "", "e2m1", "te_nvfp4:4over6=mae:zero=reference", "_q", "e4m3"},
      {"te_nvfp4/act_bf16_1x16_rowscaled", "_s", "", "e2m1", "te_nvfp4:row_scaled=on:zero=reference", "_q", "e4m3"},
  };
  for (const auto& c : cases) {
    const Identity identity = identify(golden_dump(c.stem, c.scales, c.x, c.format, c.codes, c.scale_format), {});
    EXPECT_TRUE(names(identity, c.spec)) << c.stem << " as " << c.spec << "\n" << listed(identity);
  }
}

/// Rows of very different sizes, some tiny, with ties: bfloat16 numbers.
std::vector<float> numbers(std::int64_t count) {
  std::mt19937 random(17);
  std::normal_distribution<float> normal;
  std::vector<float> x(count);
  for (std::int64_t i = 0; i < count; ++i) {
    const float size = i / 128 % 16 == 3 ? 1e-7f : std::ldexp(1.0f, static_cast<int>(i / 128 % 7) - 3);
    x[i] = bits_float(float_bits(normal(random) * size) & 0xffff0000u);
  }
  return x;
}

CodedTensor dump_of(const std::string& recipe, std::vector<float> x, std::int64_t rows, std::int64_t cols) {
  const RequestedCast request = request_cast(recipe, std::nullopt, {Role::activation, bf16});
  const WholeCast made = whole_cast(request.cast, rows, cols, x);
  CodedTensor t;
  t.where = "dump", t.format = made.plan.format, t.rows = rows, t.cols = cols, t.block = request.cast.block;
  t.codes = made.codes, t.x = std::move(x), t.has_x = true, t.x_dtype = "bfloat16";
  if (made.plan.storage == ScaleStorage::e8m0) t.scale_codes = e8m0;
  t.stored = made.stored;
  for (const Scales& s : made.scales) t.factors.push_back(s.scale_inv);
  return t;
}

/// The lines that explain the best changed recipe.
std::string explanation(const Identity& identity) {
  std::string all;
  for (const Match& m : identity.changed) {
    if (!m.exact()) continue;
    for (const std::string& line : explain(m.suspect)) all += line + "\n";
  }
  return all;
}

TEST(Identify, SaysWhatIsDifferentWhereNoRecipeFits) {
  const struct {
    const char *made, *sentence;
  } cases[] = {
      {"dsv3:amax.floor=3e-5:element.rounding=nearest-away", "you round ties away from zero; dsv3 would round ties to even"},
      {"dsv3:amax.floor=3e-5", "you raise amaxes below 3e-05 to it; dsv3 would raise amaxes below 1e-04 to it"},
      {"te_block:scale.pow2=none:element.rounding=toward-zero", "you truncate; te_block would round ties to even"},
      {"mxfp8:element.rounding=toward-zero:scale.rule=e8m0-ceil", "you truncate; torchao_mx would round ties to even"},
  };
  for (const auto& c : cases) {
    const Identity identity = identify(dump_of(c.made, numbers(128 * 256), 128, 256), {});
    EXPECT_TRUE(identity.exact.empty()) << c.made << "\n" << listed(identity);
    EXPECT_NE(explanation(identity).find(c.sentence), std::string::npos) << c.made << "\n" << explanation(identity) << listed(identity);
  }
}

TEST(Identify, CountsTheCodesThatAReciprocalMovesByOne) {
  // What the specification measured: a few codes in ten thousand, each by one step.
  const Identity identity = identify(dump_of("dsv3_infer", numbers(256 * 512), 256, 512), {});
  EXPECT_TRUE(names(identity, "dsv3_infer")) << listed(identity);
  const auto dsv3 = std::ranges::find_if(identity.nearest, [](const Match& m) { return m.suspect.spec.starts_with("dsv3"); });
  ASSERT_NE(dsv3, identity.nearest.end()) << listed(identity);
  EXPECT_EQ(dsv3->scales.differ, 0u);
  EXPECT_GT(dsv3->codes.share(), 1e-5);
  EXPECT_LT(dsv3->codes.share(), 2e-3);
  EXPECT_EQ(dsv3->codes.steps[0], dsv3->codes.differ);
  Suspect divides;
  divides.spec = "dsv3:amax_floor=0:scale.apply=divide", divides.edits = {{"scale.apply", "divide"}};
  EXPECT_EQ(explain(divides), (std::vector<std::string>{
                                  "you divide x by the factor; dsv3 would multiply x by the reciprocal fl(1/factor)"}));
}

TEST(Identify, TellsMultipliersFromFactors) {
  CodedTensor dump = dump_of("te_block:scales=fp32", numbers(64 * 256), 64, 256);
  const RequestedCast request = request_cast("te_block:scales=fp32", std::nullopt, {Role::activation, bf16});
  const WholeCast made = whole_cast(request.cast, 64, 256, dump.x);
  for (std::size_t i = 0; i < made.scales.size(); ++i) dump.factors[i] = made.scales[i].scale, dump.stored[i] = float_bits(made.scales[i].scale);
  const Identity identity = identify(dump, {});
  EXPECT_TRUE(identity.multipliers);
  EXPECT_TRUE(names(identity, "te_block:scales=fp32")) << listed(identity);
}

TEST(Identify, SuspectsAnEarlierStepBehindASingleFactorThatFitsNoAmax) {
  CodedTensor dump = dump_of("te_current", numbers(64 * 128), 64, 128);
  dump.factors[0] *= 1.7f;
  dump.stored[0] = float_bits(dump.factors[0]);
  for (std::size_t i = 0; i < dump.codes.size(); ++i)
    dump.codes[i] = static_cast<std::uint16_t>(encode(dump.format, dump.x[i] / dump.factors[0]));
  EXPECT_NEAR(identify(dump, {}).delayed_ratio, 1.7, 1e-3);
}

TEST(Identify, ASingleWrongCodeIsNotOverlooked) {
  CodedTensor dump = dump_of("te_block", numbers(512 * 1024), 512, 1024);
  dump.codes.back() = static_cast<std::uint16_t>(dump.codes.back() ^ 1u);  // beyond what the search looks at
  const Identity identity = identify(dump, {});
  EXPECT_TRUE(identity.exact.empty());
  ASSERT_FALSE(identity.nearest.empty());
  EXPECT_EQ(identity.nearest[0].codes.differ, 1u);
}

TEST(Identify, EveryKnobTurns) {
  for (const Knob& knob : knobs())
    for (const std::string_view value : knob.values) {
      CastRecord cast;
      EXPECT_NO_THROW(apply_setting(cast, {std::string(knob.key), std::string(value)})) << knob.key << "=" << value;
    }
}

TEST_F(IdentifyFile, AnUnreadableDumpIsRefusedInOneLine) {
  FP8SCOPE_NEED_GOLDEN("scaling.h5");
  const auto refused = [&](const CodedNames& names, const std::vector<std::string>& words) {
    EXPECT_TRUE(is_line_with(message_of<DataError>([&] { identify(read_coded(golden_path(), names), {}); }), words));
  };
  const std::string q = "te_mxfp8/act_bf16_e4m3_rowwise_q", s = "te_mxfp8/act_bf16_e4m3_rowwise_e8m0", x = "inputs/act_bf16";
  refused({}, {"no dataset of codes", "--codes"});
  refused({q, s, "", "e4m3", "", ""}, {"there is no x", "--x"});
  refused({q, s, x, "", "", ""}, {"does not say what its codes encode", "--format"});
  refused({q, s, "inputs/wt_bf16", "e4m3", "", ""}, {"elements"});
  refused({q, "inputs/wt_bf16", x, "e4m3", "", ""}, {"do not fit", "--block"});
  refused({q, s, x, "e2m1", "", ""}, {"holds the code"});
  EXPECT_THROW(read_coded(golden_path(), {q, s, x, "e4m4x", "", ""}), UnknownName);
}

}  // namespace
}  // namespace fp8scope
