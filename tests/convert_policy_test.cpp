// What libraries disagree about, as codes typed in by hand: NaN, infinity, overflow, E8M0's sign
// and zero. Source: outputs of CUDA 13.0's host headers and ml_dtypes 0.6.0-12 on the same inputs.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cmath>

#include "sim/convert.hpp"

namespace fp8scope {
namespace {

constexpr auto nearest = Rounding::nearest_even;
constexpr CastRule cuda_sat{.overflow = Overflow::saturate};
constexpr CastRule cuda_nosat{.overflow = Overflow::special};
constexpr CastRule ml_sat = ml_dtypes_rule(nearest, Overflow::saturate);
constexpr CastRule ml_nosat = ml_dtypes_rule(nearest, Overflow::special);

const float nan = bits_float(0x7fc00000u), signalling = bits_float(0x7f800001u);

struct Row {
  const char* format;
  const char* library;
  CastRule rule;
  // Codes of NaN, -NaN, +infinity, -infinity, 1e30, -1e30.
  std::uint32_t want[6];
};

const Row rows[] = {
    {"e4m3", "CUDA, saturating", cuda_sat, {0x7f, 0x7f, 0x7e, 0xfe, 0x7e, 0xfe}},
    {"e4m3", "CUDA", cuda_nosat, {0x7f, 0x7f, 0x7f, 0xff, 0x7f, 0xff}},
    {"e4m3", "ml_dtypes, saturating", ml_sat, {0x7f, 0xff, 0x7f, 0xff, 0x7e, 0xfe}},
    {"e4m3", "ml_dtypes", ml_nosat, {0x7f, 0xff, 0x7f, 0xff, 0x7f, 0xff}},
    {"e5m2", "CUDA, saturating", cuda_sat, {0x7f, 0x7f, 0x7b, 0xfb, 0x7b, 0xfb}},
    {"e5m2", "CUDA", cuda_nosat, {0x7f, 0x7f, 0x7c, 0xfc, 0x7c, 0xfc}},
    {"e5m2", "ml_dtypes, saturating", ml_sat, {0x7e, 0xfe, 0x7c, 0xfc, 0x7b, 0xfb}},
    {"e5m2", "ml_dtypes", ml_nosat, {0x7e, 0xfe, 0x7c, 0xfc, 0x7c, 0xfc}},
    {"e4m3fnuz", "ml_dtypes, saturating", ml_sat, {0x80, 0x80, 0x80, 0x80, 0x7f, 0xff}},
    {"e4m3fnuz", "ml_dtypes", ml_nosat, {0x80, 0x80, 0x80, 0x80, 0x80, 0x80}},
    {"e2m3", "CUDA", cuda_sat, {0x1f, 0x1f, 0x1f, 0x3f, 0x1f, 0x3f}},
    {"e3m2", "CUDA", cuda_sat, {0x1f, 0x1f, 0x1f, 0x3f, 0x1f, 0x3f}},
    {"e2m1", "CUDA", cuda_sat, {0x7, 0x7, 0x7, 0xf, 0x7, 0xf}},
    {"e2m3", "ml_dtypes", ml_nosat, {0x20, 0x00, 0x1f, 0x3f, 0x1f, 0x3f}},
    {"e2m1", "ml_dtypes", ml_nosat, {0x8, 0x0, 0x7, 0xf, 0x7, 0xf}},
    {"fp16", "CUDA", cuda_nosat, {0x7fff, 0x7fff, 0x7c00, 0xfc00, 0x7c00, 0xfc00}},
    {"fp16", "ml_dtypes", ml_nosat, {0x7e00, 0xfe00, 0x7c00, 0xfc00, 0x7c00, 0xfc00}},
    {"bf16", "ml_dtypes", ml_nosat, {0x7fc0, 0xffc0, 0x7f80, 0xff80, 0x714a, 0xf14a}},
    {"e8m0", "CUDA, saturating", cuda_sat, {0xff, 0xff, 0xfe, 0xfe, 0xe3, 0xe3}},
    {"e8m0", "CUDA", cuda_nosat, {0xff, 0xff, 0xff, 0xff, 0xe3, 0xe3}},
    {"e8m0", "ml_dtypes, saturating", ml_sat, {0xff, 0xff, 0xff, 0xff, 0xe3, 0x00}},
    {"e8m0", "ml_dtypes", ml_nosat, {0xff, 0xff, 0xff, 0xff, 0xe3, 0xff}},
};

TEST(Policies, GiveTheCodesOfTheLibraries) {
  const float inputs[] = {nan, -nan, INFINITY, -INFINITY, 1e30f, -1e30f};
  for (const Row& row : rows)
    for (int i = 0; i < 6; ++i)
      EXPECT_EQ(encode(parse_format(row.format), inputs[i], row.rule), row.want[i])
          << row.format << " as " << row.library << fmt::format(", input {}", inputs[i]);
}

TEST(Policies, ASignallingNanIsANanLikeAnyOther) {
  for (const Row& row : rows) {
    const Format f = parse_format(row.format);
    EXPECT_EQ(encode(f, signalling, row.rule), row.want[0]) << row.format;
    EXPECT_EQ(encode(f, -signalling, row.rule), row.want[1]) << row.format;
  }
}

TEST(Policies, TheSignOfANanIsKeptOrDroppedAsTheRuleSays) {
  const auto code = [](const Format& f, NanRule rule) {
    return encode(f, -nan, {.nan = rule});
  };
  EXPECT_EQ(code(e5m2, NanRule::all_ones), 0x7fu);
  EXPECT_EQ(code(e5m2, NanRule::max), 0x7bu);
  EXPECT_EQ(code(e4m3, NanRule::lowest), 0xfeu);
  EXPECT_EQ(code(e5m2, NanRule::all_ones_signed), 0xffu);
  EXPECT_EQ(code(e5m2, NanRule::quiet_signed), 0xfeu);
  EXPECT_EQ(code(e4m3, NanRule::all_ones), 0x7fu);
  EXPECT_EQ(code(e4m3, NanRule::all_ones_signed), 0xffu);
  EXPECT_EQ(code(e4m3, NanRule::quiet_signed), 0xffu);  // it has no quiet one
}

// An overflowing number is no NaN input: CUDA drops the sign of this, but not of that.
TEST(Policies, AnOverflowToNanKeepsItsSignWhereANanInputLosesIt) {
  EXPECT_EQ(encode(e4m3, -465.0f, cuda_nosat), 0xffu);
  EXPECT_EQ(encode(e4m3, -464.0f, cuda_nosat), 0xfeu);
  EXPECT_EQ(encode(e4m3, -nan, cuda_nosat), 0x7fu);
}

TEST(Policies, InfinityUnderSaturationIsMaxOrSpecial) {
  EXPECT_EQ(encode(e5m2, INFINITY, {.inf = InfRule::max}), 0x7bu);
  EXPECT_EQ(encode(e5m2, INFINITY, {.inf = InfRule::special}), 0x7cu);
  EXPECT_EQ(encode(e4m3, -INFINITY, {.inf = InfRule::special}), 0xffu);
  EXPECT_EQ(encode(e5m2, 65536.0f, {.inf = InfRule::special}), 0x7bu);
}

TEST(Policies, NoRoundingModeChangesWhatBecomesOfNanAndInfinity) {
  for (const Row& row : rows)
    for (const NamedRounding& r : roundings) {
      CastRule rule = row.rule;
      rule.rounding = r.rounding;
      EXPECT_EQ(encode(parse_format(row.format), -nan, rule), row.want[1])
          << row.format << " " << r.name;
      EXPECT_EQ(encode(parse_format(row.format), -INFINITY, rule), row.want[3])
          << row.format << " " << r.name;
    }
}

TEST(Policies, AnE8m0ScaleOfANegativeNumberIsAsTheRuleSays) {
  const auto code = [](float x, NegativeScale rule) {
    return encode(e8m0, x, {.negative_scale = rule});
  };
  EXPECT_EQ(code(-4.0f, NegativeScale::magnitude), 129u);
  EXPECT_EQ(code(-4.0f, NegativeScale::nan), 255u);
  EXPECT_EQ(code(-4.0f, NegativeScale::lowest), 0u);
  EXPECT_EQ(code(4.0f, NegativeScale::nan), 129u);
  EXPECT_EQ(code(4.0f, NegativeScale::lowest), 129u);
}

TEST(Policies, AnE8m0ScaleOfEitherZeroIsAsTheRuleSays) {
  for (const float zero : {0.0f, -0.0f}) {
    EXPECT_EQ(encode(e8m0, zero, {.zero_scale = ZeroScale::lowest}), 0u);
    EXPECT_EQ(encode(e8m0, zero, {.zero_scale = ZeroScale::nan}), 255u);
  }
}

TEST(Policies, NoFnuzFormatMakesTheCodeOfItsNanFromASmallNegative) {
  for (const char* name : {"e4m3fnuz", "e5m2fnuz", "e4m3b11fnuz", "e5m4b20fnuz"}) {
    const Format f = parse_format(name);
    for (const NamedRounding& r : roundings) {
      EXPECT_EQ(encode(f, -0.0f, {.rounding = r.rounding}), 0u) << name << " " << r.name;
      const std::uint32_t code =
          encode(f, bits_float(0x80000001u), {.rounding = r.rounding}, {0, 32});
      EXPECT_NE(code, f.nan_code()) << name << " " << r.name;
    }
  }
}

TEST(Policies, WithoutMantissaBitsTiesGoAwayFromZero) {
  const Format f = parse_format("e3m0fn");  // 0, 2^-2 .. 2^3; IEEE 754-2019 section 4.3.1
  EXPECT_EQ(decode(f, encode(f, 1.5f)), 2.0f);
  EXPECT_EQ(decode(f, encode(f, 3.0f)), 4.0f);
  EXPECT_EQ(decode(f, encode(f, 2.9999998f)), 2.0f);
  EXPECT_EQ(decode(f, encode(f, 0.125f)), 0.0f);  // 0 is even
}

}  // namespace
}  // namespace fp8scope
