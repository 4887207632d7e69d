// What `fp8scope formats` prints, against the specifications' tables and against decode() itself.
#include "src/format_facts.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <map>

#include "sim/convert.hpp"
#include "src/command.hpp"
#include "src/errors.hpp"

namespace fp8scope {
namespace {

const std::vector<std::string>& texts(const Table& table, std::string_view column) {
  return std::get<std::vector<std::string>>(table.column(column).values);
}

std::string fact(std::string_view format, std::string_view property) {
  const Table table = describe(parse_format(format));
  const auto& properties = texts(table, "property");
  for (std::size_t i = 0; i < properties.size(); ++i)
    if (properties[i] == property) return texts(table, "value")[i];
  return "no such property";
}

// Source: OFP8 1.0 table 1, OCP MX 1.0 section 5.4.1.
TEST(Describe, SaysWhatTheSpecificationsSayOfE4m3AndE5m2) {
  EXPECT_EQ(fact("e4m3", "max"), "7*2^6 (448), code 0x7e");
  EXPECT_EQ(fact("e4m3", "min normal"), "2^-6 (0.015625), code 0x08");
  EXPECT_EQ(fact("e4m3", "max subnormal"), "7*2^-9 (0.013671875), code 0x07");
  EXPECT_EQ(fact("e4m3", "min subnormal"), "2^-9 (0.001953125), code 0x01");
  EXPECT_EQ(fact("e4m3", "NaN"), "0x7f and 0xff");
  EXPECT_EQ(fact("e4m3", "infinity"), "none");
  EXPECT_EQ(fact("e4m3", "overflow"), "NaN above 464 to nearest-even, unless saturating");
  EXPECT_EQ(fact("e5m2", "max"), "7*2^13 (57344), code 0x7b");
  EXPECT_EQ(fact("e5m2", "NaN"), "0x7d to 0x7f, and with the sign bit");
  EXPECT_EQ(fact("e5m2", "infinity"), "0x7c and 0xfc");
  EXPECT_EQ(fact("e5m2", "overflow"), "infinity from 61440 to nearest-even, unless saturating");
  EXPECT_EQ(fact("e5m2", "exponents"), "-14 to 15");
}

TEST(Describe, KnowsWhatTheOtherSpecialsCost) {
  EXPECT_EQ(fact("e8m0", "bits"), "8: 0 sign, 8 exponent, 0 mantissa");
  EXPECT_EQ(fact("e8m0", "min subnormal"), "none");
  EXPECT_EQ(fact("e8m0", "-0"), "none");
  EXPECT_EQ(fact("e2m1", "NaN"), "none");
  EXPECT_EQ(fact("e2m1", "overflow"), "always the largest value");
  EXPECT_EQ(fact("e4m3fnuz", "-0"), "none");
  EXPECT_EQ(fact("e4m3fnuz", "NaN"), "0x80");
  EXPECT_EQ(fact("e4m1", "NaN"), "0x1f and 0x3f");
  EXPECT_EQ(fact("e8m23", "max"), "16777215*2^104 (3.4028235e+38), code 0x7f7fffff");
}

class FormatFacts : public testing::TestWithParam<std::string> {
 protected:
  Format f = parse_format(GetParam());
};

TEST_P(FormatFacts, CountAsManyCodesOfEachKindAsDecodeHas) {
  int finite = 0, infinite = 0, nan = 0;
  for (std::uint32_t code = 0; code < f.codes(); ++code) {
    const float x = decode(f, code);
    ++(std::isnan(x) ? nan : std::isinf(x) ? infinite : finite);
  }
  const std::string want = std::to_string(f.codes()) + ": " + std::to_string(finite) + " finite, " +
                           std::to_string(infinite) + " infinite, " + std::to_string(nan) + " NaN";
  EXPECT_EQ(fact(GetParam(), "codes"), want);
}

TEST_P(FormatFacts, GiveTheEdgeWhereEncodeOverflows) {
  const std::string text = fact(GetParam(), "overflow");
  if (text == "always the largest value") {
    EXPECT_EQ(encode(f, 3.4e38f, {.overflow = Overflow::special}), f.max_code());
    return;
  }
  const bool ties_stay = text.find(" above ") != std::string::npos;
  const float edge = std::stof(text.substr(text.find(ties_stay ? " above " : " from ") + 6));
  const auto finite = [&](float x) {
    return is_finite(decode(f, encode(f, x, {.overflow = Overflow::special})));
  };
  EXPECT_TRUE(finite(std::nextafter(edge, 0.0f)));
  EXPECT_EQ(finite(edge), ties_stay);
  EXPECT_FALSE(finite(std::nextafter(edge, INFINITY)));
}

TEST_P(FormatFacts, ListEveryCodeWithAValueThatReadsBackAsItself) {
  const Table table = code_list(f);
  const auto& codes = texts(table, "code");
  ASSERT_EQ(codes.size(), f.codes());
  const std::map<std::string, int> classes{
      {"zero", FP_ZERO}, {"subnormal", FP_NORMAL}, {"normal", FP_NORMAL}, {"inf", FP_INFINITE}, {"nan", FP_NAN}};
  for (std::uint32_t code = 0; code < f.codes(); ++code) {
    const float x = decode(f, code);
    ASSERT_EQ(std::stoul(codes[code], nullptr, 16), code);
    const std::string& value = texts(table, "value")[code];
    if (is_nan(x)) {
      EXPECT_EQ(value, "nan");
      EXPECT_EQ(texts(table, "kind")[code], "nan");
      continue;
    }
    EXPECT_EQ(float_bits(std::strtof(value.c_str(), nullptr)), float_bits(x)) << value;
    // Doubled, a subnormal binary32 such as 2^-127 cannot be mistaken for one of the format.
    EXPECT_EQ(classes.at(texts(table, "kind")[code]), std::fpclassify(static_cast<double>(x)));
    EXPECT_EQ(texts(table, "kind")[code] == "subnormal",
              f.is_signed() && x != 0 && std::fabs(x) < pow2(f.min_exponent()));
    std::string bits;
    for (const char c : texts(table, "bits")[code])
      if (c != ' ') bits += c;
    ASSERT_EQ(bits.size(), static_cast<std::size_t>(f.bits()));
    EXPECT_EQ(std::stoul(bits, nullptr, 2), code);
  }
}

INSTANTIATE_TEST_SUITE_P(Formats, FormatFacts,
                         testing::Values("e4m3", "e5m2", "e4m3fnuz", "e5m2fnuz", "e4m3b11fnuz", "e3m4", "e4m3_ieee",
                                         "e2m3", "e3m2", "e2m1", "e8m0", "e5m6", "bf16", "fp16", "e3m0fn",
                                         "e1m2finite", "e6m5b40fnuz"),
                         [](const auto& info) { return info.param; });

TEST(ExactText, IsAnOddIntegerTimesAPowerOfTwo) {
  EXPECT_EQ(exact_text(448.0f), "7*2^6");
  EXPECT_EQ(exact_text(-0.75f), "-3*2^-2");
  EXPECT_EQ(exact_text(1.0f), "1");
  EXPECT_EQ(exact_text(5.0f), "5");
  EXPECT_EQ(exact_text(bits_float(3)), "3*2^-149");
  EXPECT_EQ(exact_text(-0.0f), "-0");
  EXPECT_EQ(exact_text(-INFINITY), "-inf");
  EXPECT_EQ(exact_text(NAN), "nan");
}

TEST(CodeList, RefusesAFormatWithMoreThanAMillionCodes) {
  EXPECT_EQ(code_list(parse_format("tf32")).rows(), 1u << 19);
  EXPECT_THROW(code_list(parse_format("e8m23")), std::invalid_argument);
}

TEST(FormatList, HasARowForEveryNamedFormat) {
  const Table table = format_list();
  ASSERT_EQ(table.rows(), std::size(formats));
  EXPECT_EQ(texts(table, "max")[0], "448");
  EXPECT_EQ(texts(table, "torch")[0], "float8_e4m3fn");
}

std::string printed_by(const Args& args) {
  testing::internal::CaptureStdout();
  EXPECT_EQ(run_formats(args), 0);
  return testing::internal::GetCapturedStdout();
}

TEST(FormatsCommand, PrintsTheListTheFactsOrTheCodesAsTextOrMarkdown) {
  EXPECT_NE(printed_by({}).find("float8_e5m2 "), std::string::npos);
  EXPECT_EQ(printed_by({"--md"}).rfind("| format |", 0), 0u);
  EXPECT_NE(printed_by({"e5m3"}).find("e5m3b15ieee"), std::string::npos);
  EXPECT_NE(printed_by({"e2m1", "--codes"}).find("0x7   0 11 1  normal     6      3*2^1"), std::string::npos);
  EXPECT_NE(printed_by({"e2m1", "--codes", "--md"}).find("| 0x7 | 0 11 1 | normal | 6 |"), std::string::npos);
}

TEST(FormatsCommand, RefusesCodesWithoutANameAndUnknownNames) {
  EXPECT_THROW(run_formats({"--codes"}), UsageError);
  EXPECT_THROW(run_formats({"e4m33"}), std::invalid_argument);
  EXPECT_THROW(run_formats({"e4m3", "e5m2"}), UsageError);
}

}  // namespace
}  // namespace fp8scope
