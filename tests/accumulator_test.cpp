// Words typed in from the specification of matrix units, section 5 and 7.
#include <gtest/gtest.h>

#include <map>

#include "sim/models.hpp"
#include "sim/names.hpp"

namespace fp8scope {
namespace {

/// Codes from lane 0 on, or by lane.
struct Lanes {
  std::vector<std::uint32_t> codes;
  Lanes(std::initializer_list<std::uint32_t> list) : codes(list) {}
  static Lanes at(const std::map<std::size_t, std::uint32_t>& given) {
    Lanes l{};
    for (const auto& [lane, code] : given) {
      l.codes.resize(std::max(l.codes.size(), lane + 1));
      l.codes[lane] = code;
    }
    return l;
  }
  static Lanes repeat(std::uint32_t code, std::size_t count) {
    Lanes l{};
    l.codes.assign(count, code);
    return l;
  }
};

Format format_called(const std::string& name) { return name == "fp32" ? fp32 : parse_format(name); }

std::vector<Operand> operands(const std::string& format, const Lanes& lanes, std::size_t k) {
  std::vector<Operand> x;
  for (std::size_t i = 0; i < k; ++i)
    x.push_back(unpack_code(format_called(format), i < lanes.codes.size() ? lanes.codes[i] : 0));
  return x;
}

/// Word of one instruction of `k` products; binary16 words of units that write them.
std::uint32_t word(const std::string& model, const std::string& a_format, const Lanes& a,
                   const std::string& b_format, const Lanes& b, std::uint32_t c, std::size_t k,
                   const std::string& output = "f32", const Lanes& scale_a = {}, const Lanes& scale_b = {}) {
  const Model m = parse_model(model, a_format, b_format, output);
  std::vector<Operand> sa, sb;
  for (const auto code : scale_a.codes) sa.push_back(unpack_scale(m.scale_format, code));
  for (const auto code : scale_b.codes) sb.push_back(unpack_scale(m.scale_format, code));
  const auto x = operands(a_format, a, k), y = operands(b_format, b, k);
  const float addend = output == "f16" ? decode(fp16, c) : bits_float(c);
  const float d = dot(m, {x, sa}, {y, sb}, addend);
  return output == "f16" ? encode(fp16, d, {.overflow = Overflow::special}) : float_bits(d);
}

struct Example {
  int number;
  std::string a_format;
  Lanes a;
  std::string b_format;
  Lanes b;
  std::uint32_t c, hopper, ada, blackwell;
};

const Example examples[] = {
    {1, "e4m3", {}, "e4m3", {}, 0x3f800001, 0x3f800000, 0x3f800000, 0x3f800001},
    {2, "e4m3", {}, "e4m3", {}, 0x3fffffff, 0x3ffffc00, 0x3ffffc00, 0x3fffffff},
    {3, "e4m3", {0x78, 0xf8, 0x38}, "e4m3", {0x78, 0x78, 0x38}, 0, 0, 0, 0x3f800000},
    {4, "e4m3", Lanes::at({{0, 0x78}, {1, 0xf8}, {16, 0x38}}), "e4m3",
     Lanes::at({{0, 0x78}, {1, 0x78}, {16, 0x38}}), 0, 0, 0x3f800000, 0x3f800000},
    {5, "e4m3", {0x38, 0xb8, 0x08}, "e4m3", {0x38, 0x38, 0x04}, 0, 0x39000000, 0x39000000, 0x39000000},
    {6, "e4m3", {0x38, 0xb8, 0x04}, "e4m3", {0x38, 0x38, 0x04}, 0, 0, 0, 0x38800000},
    {7, "e4m3", {0x3c, 0xbc, 0x08}, "e4m3", {0x3c, 0x3c, 0x04}, 0, 0x39000000, 0x39000000, 0x39000000},
    {8, "e4m3", {0x39, 0xb9, 0x08}, "e4m3", {0x40, 0x40, 0x04}, 0, 0, 0, 0x39000000},
    {9, "e4m3", {0x38}, "e4m3", {0x38}, 0xb8ffffff, 0x3f800000, 0x3f800000, 0x3f7ff800},
    {10, "e4m3", Lanes::repeat(0x38, 31), "e4m3", Lanes::repeat(0x38, 31), 0x7f7fffff, 0x7f7ffc00, 0x7f7ffc00,
     0x7f7fffff},
    {11, "e4m3", Lanes::repeat(0x7e, 32), "e4m3", Lanes::repeat(0x7e, 32), 0, 0x4ac40000, 0x4ac40000, 0x4ac40000},
    {12, "e4m3", {0x7f}, "e4m3", {0x00}, 0x3f800000, 0x7fffffff, 0x7fffffff, 0x7fffffff},
    {13, "e5m2", {0x7c}, "e5m2", {0x00}, 0, 0x7fffffff, 0x7fffffff, 0x7fffffff},
    {14, "e5m2", {0x7c, 0xfc}, "e5m2", {0x3c, 0x3c}, 0, 0x7fffffff, 0x7fffffff, 0x7fffffff},
    {15, "e5m2", {0x7c}, "e5m2", {0xbc}, 0x3f800000, 0xff800000, 0xff800000, 0xff800000},
    {16, "e4m3", {0x01}, "e4m3", {0x01}, 0, 0x36800000, 0x36800000, 0x36800000},
    {16, "e5m2", {0x01}, "e5m2", {0x01}, 0, 0x2f800000, 0x2f800000, 0x2f800000},
    {17, "e4m3", {0x38, 0xb8}, "e4m3", {0x38, 0x38}, 0x80000000, 0, 0, 0},
    {18, "e4m3", {0x3c, 0x41}, "e5m2", {0x3d, 0xc1}, 0x3dcccccd, 0xc069a000, 0xc069a000, 0xc069999a},
};

TEST(Accumulator, HasTheWordsOfTheSpecificationForFp8) {
  for (const Example& e : examples) {
    const auto d = [&](const char* model) { return word(model, e.a_format, e.a, e.b_format, e.b, e.c, 32); };
    EXPECT_EQ(d("hopper_wgmma"), e.hopper) << "example " << e.number;
    EXPECT_EQ(d("ada_mma"), e.ada) << "example " << e.number;
    EXPECT_EQ(d("blackwell_tcgen05"), e.blackwell) << "example " << e.number;
    EXPECT_EQ(d("rtxblackwell_mma"), e.blackwell) << "example " << e.number;
  }
  EXPECT_EQ(word("hopper_wgmma", "e4m3", Lanes::repeat(0x7e, 32), "e4m3", Lanes::repeat(0x7e, 32), 0, 32, "f16"),
            0x7c00u);
}

TEST(Accumulator, EveryUnitAddsTheSameFourFp16ProductsDifferently) {
  const Lanes a{0xf000, 0xb800, 0xb400, 0xb000}, b{0x6400, 0x3c00, 0x3c00, 0x3c00};
  const std::pair<const char*, std::uint32_t> words[] = {
      {"volta_mma", 0x00000000},    {"turing_mma", 0xbf000000},   {"ampere_mma", 0xbf000000},
      {"ada_mma", 0xbf000000},      {"hopper_mma", 0xbf400000},   {"hopper_wgmma", 0xbf400000},
      {"blackwell_mma", 0xbf400000}, {"blackwell_tcgen05", 0xbf400000}, {"cdna1_mfma", 0xbf600000},
      {"cdna2_mfma", 0x00000000},   {"cdna3_mfma", 0xbf000000},   {"exact", 0xbf600000}};
  for (const auto& [model, want] : words) EXPECT_EQ(word(model, "fp16", a, "fp16", b, 0x4b000000, 4), want) << model;
}

TEST(Accumulator, OverflowsTowardZeroToInfinityAndKeepsItAcrossSteps) {
  EXPECT_EQ(word("hopper_mma", "bf16", {0x7f00, 0x7f00}, "bf16", {0x3f80, 0x3f80}, 0, 16), 0x7f800000u);
  const Lanes apart = Lanes::at({{0, 0x5f80}, {8, 0xdf80}}), one = Lanes::at({{0, 0x5f80}, {8, 0x5f80}});
  EXPECT_EQ(word("ampere_mma", "bf16", apart, "bf16", one, 0, 16), 0x7f800000u);
  EXPECT_EQ(word("ampere_mma", "bf16", {0x5f80, 0xdf80}, "bf16", {0x5f80, 0x5f80}, 0, 16), 0u);
}

TEST(Accumulator, ReadsTf32WithoutItsLowBitsAndStopsAtTheFloor) {
  EXPECT_EQ(word("hopper_mma", "tf32", {0x3f801fff >> 13}, "tf32", {0x3f800000 >> 13}, 0, 8), 0x3f800000u);
  EXPECT_EQ(word("hopper_mma", "tf32", {0x7f800001 >> 13}, "tf32", {0x3f800000 >> 13}, 0, 8), 0x7f800000u);
  EXPECT_EQ(word("hopper_mma", "bf16", Lanes::repeat(0x1c80, 16), "bf16", Lanes::repeat(0x1c80, 16), 0, 16),
            0x00002000u);
}

TEST(Accumulator, AppliesBlockScalesInsideTheAlignment) {
  const auto mx = [](const Lanes& a, const Lanes& b, std::uint32_t c, std::uint32_t sa, std::uint32_t sb) {
    return word("blackwell_mxfp8", "e4m3", a, "e4m3", b, c, 32, "f32", {sa}, {sb});
  };
  EXPECT_EQ(mx({0x38}, {0x38}, 0x3f800000, 0x80, 0x7e), 0x40000000u);
  EXPECT_EQ(mx({0x38}, {0x38}, 0x3f800000, 0xff, 0x7e), 0x7fffffffu);
  EXPECT_EQ(mx({0x7e}, {0x7e}, 0, 0x10, 0x58), 0x00018800u);
  const auto all = [](std::uint32_t code) { return Lanes::repeat(code, 64); };
  const auto nvfp4 = [&](std::uint32_t sa, std::uint32_t sb) {
    return word("blackwell_nvfp4", "e2m1", all(7), "e2m1", all(7), 0, 64, "f32", Lanes::repeat(sa, 4),
                Lanes::repeat(sb, 4));
  };
  EXPECT_EQ(nvfp4(0x38, 0x38), 0x45100000u);
  EXPECT_EQ(nvfp4(0x7e, 0xfe), 0x4ddc8000u);
  EXPECT_EQ(word("blackwell_mxfp4", "e2m1", all(2), "e2m1", all(3), 0, 64, "f32", {0x7f, 0x7c}, {0x7f, 0x7f}),
            0x42580000u);
}

TEST(Accumulator, Cdna3FloorsWhatItShiftsOutAndTruncatesASmallC) {
  const auto fp8 = [](std::uint32_t c) { return word("cdna3_mfma", "e4m3fnuz", {0x68}, "e4m3fnuz", {0x68}, c, 16); };
  EXPECT_EQ(fp8(0xb8000000), 0x447fffffu);
  EXPECT_EQ(fp8(0x38000000), 0x44800000u);
  EXPECT_EQ(fp8(0xb7800000), 0x44800000u);
  EXPECT_EQ(word("cdna3_mfma", "fp16", {0x5000}, "fp16", {0x5000}, 0xb7800000, 8), 0x447fffffu);
  EXPECT_EQ(word("cdna3_mfma", "e4m3fnuz", {0x7f, 0x08, 0xff}, "e4m3fnuz", {0x7f, 0x88, 0x7f}, 0, 16), 0xba800000u);
  EXPECT_EQ(word("cdna3_mfma", "e4m3fnuz", {0x7f, 0x08, 0xff}, "e4m3fnuz", {0x7f, 0x08, 0x7f}, 0, 16), 0u);
  EXPECT_EQ(word("cdna3_mfma", "e4m3fnuz", {0x80}, "e4m3fnuz", {0x00}, 0, 16), 0x7fffffffu);
  const Lanes a{0x7f00, 0xff00}, b{0x4000, 0x4000};
  EXPECT_EQ(word("cdna3_mfma", "bf16", a, "bf16", b, 0, 8), 0x7fffffffu);
  EXPECT_EQ(word("ampere_mma", "bf16", a, "bf16", b, 0, 8), 0u);
}

TEST(Accumulator, TheLoweringOfFp8MmaDoesNotTruncateC) {
  EXPECT_EQ(word("sm90_mma_fp8_lowering", "e4m3", {}, "e4m3", {}, 0x3f800001, 32), 0x3f800001u);
  EXPECT_EQ(word("sm90_mma_fp8_lowering", "e4m3", {0x7f}, "e4m3", {0x38}, 0, 32), 0x7fffffffu);
}

TEST(Accumulator, SwitchesGiveTheWordsOfTheOtherSource) {
  // D2: the exponent floor of binary16 results.
  const Lanes a{0x0400, 0x0001}, b{0x1000, 0x0002}, b1{0x1000, 0x0001};
  EXPECT_EQ(word("hopper_mma", "fp16", a, "fp16", b, 0, 16, "f16"), 0x0001u);
  EXPECT_EQ(word("hopper_mma:floor=-21", "fp16", a, "fp16", b, 0, 16, "f16"), 0x0000u);
  EXPECT_EQ(word("hopper_mma", "fp16", a, "fp16", b1, 0, 16, "f16"), 0x0000u);
  EXPECT_EQ(word("hopper_wgmma", "fp16", a, "fp16", b1, 0, 16, "f16"), 0x0001u);
  // D3: the sign of what underflows to zero.
  EXPECT_EQ(word("hopper_wgmma", "e5m2", {0x81}, "e5m2", {0x01}, 0, 32, "f16"), 0x8000u);
  EXPECT_EQ(word("hopper_wgmma:zero_sign=positive", "e5m2", {0x81}, "e5m2", {0x01}, 0, 32, "f16"), 0x0000u);
  // D5: infinity in C of CDNA3 under large products.
  EXPECT_EQ(word("cdna3_mfma", "e5m2fnuz", {0x7f}, "e5m2fnuz", {0x7f}, 0x7f800000, 16), 0x4f440000u);
  EXPECT_EQ(word("cdna3_mfma:nonfinite_c=propagated", "e5m2fnuz", {0x7f}, "e5m2fnuz", {0x7f}, 0x7f800000, 16),
            0x7f800000u);
  // D6: the window of NVFP4.
  const Lanes x = Lanes::at({{0, 0x7}, {1, 0xf}, {2, 0x4}, {16, 0x2}}),
              y = Lanes::at({{0, 0x7}, {1, 0x7}, {2, 0xe}, {16, 0x4}}), s{0x78, 0x01, 0x38, 0x38};
  EXPECT_EQ(word("blackwell_nvfp4", "e2m1", x, "e2m1", y, 0x49000000, 64, "f32", s, s), 0x00000000u);
  EXPECT_EQ(word("blackwell_nvfp4:window=elements", "e2m1", x, "e2m1", y, 0x49000000, 64, "f32", s, s), 0x37000000u);
}

TEST(Accumulator, ACustomModelWithHoppersNumbersIsHopper) {
  const Model hopper = find_model("hopper_wgmma", "e4m3", "e4m3").model;
  EXPECT_EQ(parse_model("custom:terms=32:f=13:result=e8m13:floor=-133", "e4m3", "e4m3"), hopper);
  EXPECT_EQ(parse_model("custom:" + model_text(hopper), "e4m3", "e4m3"), hopper);
  EXPECT_EQ(parse_model("hopper_wgmma:f=14", "e4m3", "e4m3").fraction_bits, 14);
}

TEST(Accumulator, CutsRoundsAndJoinsAsTheOptionsSay) {
  const Lanes a{0x38, 0xb8, 0x84}, b{0x38, 0x38, 0x04}, b3{0x38, 0x38, 0x06};  // 1 - 1 - 2^-14, - 1.5 * 2^-14
  const auto d = [&](const char* options, const Lanes& y, std::uint32_t c) {
    return word(std::string("custom:terms=32:f=") + options, "e4m3", a, "e4m3", y, c, 32);
  };
  EXPECT_EQ(d("13", b, 0), 0x00000000u);
  EXPECT_EQ(d("14", b, 0), 0xb8800000u);
  EXPECT_EQ(d("13:cut=floor", b, 0), 0xb9000000u);
  EXPECT_EQ(d("13:cut=nearest", b, 0), 0x00000000u) << "a tie goes to the even multiple";
  EXPECT_EQ(d("13:cut=nearest", b3, 0), 0xb9000000u);
  // C is cut as a term inside, added by an ordinary sum outside.
  const Lanes none{};
  const auto joined = [&](const char* options) {
    return word(std::string("custom:f=13") + options, "e4m3", none, "e4m3", none, 0x3f800c01, 32);
  };
  EXPECT_EQ(joined(""), 0x3f800c00u);
  EXPECT_EQ(joined(":c=outside"), 0x3f800c01u);
  EXPECT_EQ(joined(":result=e8m13"), 0x3f800c00u);
  EXPECT_EQ(joined(":c=outside:result=12"), 0x3f801000u) << "the sum outside is rounded to nearest";
  EXPECT_EQ(joined(":result=12"), 0x3f800800u);
  EXPECT_EQ(joined(":result=12:round=nearest"), 0x3f801000u) << "a tie goes to the even multiple";
}

TEST(Accumulator, RefusesWhatItDoesNotKnowAndSaysWhatThereIs) {
  const auto message = [](const char* text, const char* a = "e4m3", const char* output = "f32") -> std::string {
    try {
      parse_model(text, a, a, output);
    } catch (const std::invalid_argument& error) {
      return error.what();
    }
    return "accepted";
  };
  EXPECT_NE(message("hoper_wgmma").find("did you mean 'hopper_wgmma'"), std::string::npos);
  EXPECT_NE(message("cdna3_mfma").find("e4m3fnuz e5m2fnuz -> f32"), std::string::npos);
  EXPECT_NE(message("custom:f=41").find("0 to 40"), std::string::npos);
  EXPECT_NE(message("custom:f=12:f=13").find("given twice"), std::string::npos);
  EXPECT_NE(message("custom:fraction=3").find("model option"), std::string::npos);
  EXPECT_NE(message("custom:terms").find("not key=value"), std::string::npos);
  EXPECT_NE(message("custom:cut=up").find("truncate, floor, nearest"), std::string::npos);
  EXPECT_NE(message("custom:terms=0").find("1 to 4096"), std::string::npos);
  const std::vector<Operand> three(3), two(2);
  EXPECT_THROW(dot(Model{}, {three, {}}, {two, {}}, 0.0f), std::invalid_argument);
  Model scaled = Model{};
  scaled.scale_block = 32;
  EXPECT_THROW(dot(scaled, {two, {}}, {two, {}}, 0.0f), std::invalid_argument);
}

TEST(Accumulator, Fp64IsAChainOfFusedMultiplyAdds) {
  const std::vector<double> a{1.0 + 0x1p-52, 0x1p-60}, b{1.0 + 0x1p-52, 1.0};
  // (1 + u)^2 - 1 keeps u^2 only where the product is not rounded first.
  EXPECT_EQ(dot_fp64(a, b, -1.0), 0x1p-51 + 0x1p-104 + 0x1p-60);
  EXPECT_THROW(dot_fp64(a, std::vector<double>(1), 0.0), std::invalid_argument);
}

TEST(Accumulator, EveryNameOfTheTableIsUniqueForItsFormatsAndAcceptsThem) {
  for (const ModelRow& row : model_rows()) {
    if (row.inputs.empty()) continue;
    const std::string first(row.inputs.substr(0, row.inputs.find(' ')));
    EXPECT_EQ(&find_model(row.name, first, first, row.output), &row) << row.name << " " << first;
    EXPECT_FALSE(row.evidence.empty());
  }
  for (const ModelAlias& alias : model_aliases())
    EXPECT_TRUE(find_by_name(model_rows(), alias.model)) << alias.name;
}

}  // namespace
}  // namespace fp8scope
