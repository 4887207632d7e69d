// The specifications' limits, typed in by hand: a wrong description is consistent with itself, so no
// property test can catch a 240 where the OCP format says 448.
#include "sim/format.hpp"

#include <gtest/gtest.h>

#include "sim/convert.hpp"
#include "sim/names.hpp"

namespace fp8scope {
namespace {

struct Limits {
  const char* name;
  int bits;
  double max, min_normal, min_subnormal;
};

// Sources: OFP8 1.0 table 1, OCP MX 1.0 table 1, arXiv:2206.02915 table 1, IEEE 754-2019 table 3.5.
constexpr Limits limits[] = {
    {"e4m3", 8, 448, 0x1p-6, 0x1p-9},
    {"e5m2", 8, 57344, 0x1p-14, 0x1p-16},
    {"e4m3fnuz", 8, 240, 0x1p-7, 0x1p-10},
    {"e5m2fnuz", 8, 57344, 0x1p-15, 0x1p-17},
    {"e4m3b11fnuz", 8, 30, 0x1p-10, 0x1p-13},
    {"e3m4", 8, 15.5, 0x1p-2, 0x1p-6},
    {"e4m3_ieee", 8, 240, 0x1p-6, 0x1p-9},
    {"e2m3", 6, 7.5, 1, 0x1p-3},
    {"e3m2", 6, 28, 0x1p-2, 0x1p-4},
    {"e2m1", 4, 6, 1, 0.5},
    {"e8m0", 8, 0x1p127, 0x1p-127, 0x1p-127},
    {"e5m6", 12, 65024, 0x1p-14, 0x1p-20},
    {"bf16", 16, 0x1.fep127, 0x1p-126, 0x1p-133},
    {"fp16", 16, 65504, 0x1p-14, 0x1p-24},
    {"tf32", 19, 0x1.ffcp127, 0x1p-126, 0x1p-136},
};

class SpecifiedLimits : public testing::TestWithParam<Limits> {};

TEST_P(SpecifiedLimits, AreThoseOfTheTable) {
  const Limits& want = GetParam();
  const Format f = parse_format(want.name);
  EXPECT_EQ(f.bits(), want.bits);
  EXPECT_EQ(f.max_value(), want.max);
  EXPECT_EQ(decode(f, f.max_code()), want.max);
  EXPECT_EQ(decode(f, f.is_signed() ? 1u << f.mantissa_bits : 0u), want.min_normal);
  EXPECT_EQ(decode(f, f.is_signed() ? 1u : 0u), want.min_subnormal);
  EXPECT_EQ(format_name(f), want.name);
}

INSTANTIATE_TEST_SUITE_P(Formats, SpecifiedLimits, testing::ValuesIn(limits),
                         [](const auto& info) { return std::string(info.param.name); });

TEST(Formats, EveryRowHasItsLimitsTypedInHere) { EXPECT_EQ(std::size(limits), std::size(formats)); }

TEST(ParseFormat, ReadsASpelledFormat) {
  EXPECT_EQ(parse_format("e4m4"), (Format{4, 4, 7, Specials::ieee}));
  EXPECT_EQ(parse_format("e4m3b9fn"), (Format{4, 3, 9, Specials::fn}));
  EXPECT_EQ(parse_format("e3m3finite"), (Format{3, 3, 3, Specials::finite}));
}

TEST(ParseFormat, NamesOfTheTableComeFirst) { EXPECT_EQ(parse_format("e4m3"), e4m3); }

TEST(ParseFormat, ASpellingReadsBackAsItself) {
  const Format f = parse_format("e6m5b40fnuz");
  EXPECT_EQ(parse_format(format_name(f)), f);
}

TEST(ParseFormat, AMisspeltNameGetsTheNearestAndTheList) {
  try {
    parse_format("e4m33");
    FAIL() << "accepted";
  } catch (const UnknownName& error) {
    EXPECT_NE(std::string(error.what()).find("did you mean 'e4m3'"), std::string::npos);
  }
}

TEST(ParseFormat, RefusesValuesThatBinary32DoesNotHold) {
  EXPECT_THROW(parse_format("e8m7b300"), std::invalid_argument);
  EXPECT_THROW(parse_format("e8m3b1"), std::invalid_argument);
  EXPECT_THROW(parse_format("e1m3ieee"), std::invalid_argument);
  EXPECT_THROW(parse_format("e9m3"), UnknownName);
  EXPECT_THROW(parse_format("e4m24"), UnknownName);
  EXPECT_THROW(parse_format(""), UnknownName);
}

}  // namespace
}  // namespace fp8scope
