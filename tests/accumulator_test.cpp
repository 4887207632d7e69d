// Worked examples typed in by hand: one line for each rule of the matrix units.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cmath>
#include <string>

#include "sim/models.hpp"

namespace fp8scope {
namespace {

using Codes = std::vector<std::uint32_t>;

/// A step's worth of codes; lanes that are not given are zero.
std::vector<Operand> lanes(const Format& f, const Codes& codes, std::size_t n = 32) {
  std::vector<Operand> operands(n, unpack_code(f, 0));
  for (std::size_t i = 0; i < codes.size(); ++i) operands[i] = unpack_code(f, codes[i]);
  return operands;
}

std::string word(const char* model, const char* a_format, const char* b_format, const Codes& a, const Codes& b,
                 std::uint32_t c, std::size_t n = 32) {
  const Model& m = find_model(model, a_format, b_format).model;
  const float d = dot(m, {lanes(parse_format(a_format), a, n), {}}, {lanes(parse_format(b_format), b, n), {}},
                      bits_float(c));
  return fmt::format("{:08X}", float_bits(d));
}

struct Example {
  const char* what;
  Codes a, b;
  std::uint32_t c;
  const char *hopper, *ada, *blackwell;
};

TEST(Accumulator, WorkedExamplesOfFp8) {
  Codes split_a(17, 0), split_b(17, 0);
  split_a[0] = 0x78, split_a[1] = 0xF8, split_a[16] = 0x38;
  split_b[0] = 0x78, split_b[1] = 0x78, split_b[16] = 0x38;
  const Example examples[] = {
      {"C is cut even with zero products", {}, {}, 0x3F800001, "3F800000", "3F800000", "3F800001"},
      {"truncation, not rounding", {}, {}, 0x3FFFFFFF, "3FFFFC00", "3FFFFC00", "3FFFFFFF"},
      {"a residual is lost at F=13", {0x78, 0xF8, 0x38}, {0x78, 0x78, 0x38}, 0, "00000000", "00000000", "3F800000"},
      {"Ada splits at k=16", split_a, split_b, 0, "00000000", "3F800000", "3F800000"},
      {"2^-13 survives", {0x38, 0xB8, 0x08}, {0x38, 0x38, 0x04}, 0, "39000000", "39000000", "39000000"},
      {"2^-14 does not", {0x38, 0xB8, 0x04}, {0x38, 0x38, 0x04}, 0, "00000000", "00000000", "38800000"},
      {"1.5 * 1.5 has exponent 0", {0x3C, 0xBC, 0x08}, {0x3C, 0x3C, 0x04}, 0, "39000000", "39000000", "39000000"},
      {"1.125 * 2 has exponent 1", {0x39, 0xB9, 0x08}, {0x40, 0x40, 0x04}, 0, "00000000", "00000000", "39000000"},
      {"a negative C truncates, not floors", {0x38}, {0x38}, 0xB8FFFFFF, "3F800000", "3F800000", "3F7FF800"},
      {"no overflow", Codes(31, 0x38), Codes(31, 0x38), 0x7F7FFFFF, "7F7FFC00", "7F7FFC00", "7F7FFFFF"},
      {"32 * 448 * 448", Codes(32, 0x7E), Codes(32, 0x7E), 0, "4AC40000", "4AC40000", "4AC40000"},
      {"NaN * 0", {0x7F}, {0x00}, 0x3F800000, "7FFFFFFF", "7FFFFFFF", "7FFFFFFF"},
      {"subnormals are kept", {0x01}, {0x01}, 0, "36800000", "36800000", "36800000"},
      {"cancellation gives +0", {0x38, 0xB8}, {0x38, 0x38}, 0x80000000, "00000000", "00000000", "00000000"},
  };
  for (const Example& e : examples) {
    EXPECT_EQ(word("hopper_wgmma", "e4m3", "e4m3", e.a, e.b, e.c), e.hopper) << e.what;
    EXPECT_EQ(word("ada_mma", "e4m3", "e4m3", e.a, e.b, e.c), e.ada) << e.what;
    EXPECT_EQ(word("blackwell_tcgen05", "e4m3", "e4m3", e.a, e.b, e.c), e.blackwell) << e.what;
  }
}

TEST(Accumulator, WorkedExamplesOfE5m2AndMixedPairs) {
  for (const char* model : {"hopper_wgmma", "ada_mma", "blackwell_tcgen05"}) {
    EXPECT_EQ(word(model, "e5m2", "e5m2", {0x7C}, {0x00}, 0), "7FFFFFFF") << model;
    EXPECT_EQ(word(model, "e5m2", "e5m2", {0x7C, 0xFC}, {0x3C, 0x3C}, 0), "7FFFFFFF") << model;
    EXPECT_EQ(word(model, "e5m2", "e5m2", {0x7C}, {0xBC}, 0x3F800000), "FF800000") << model;
    EXPECT_EQ(word(model, "e5m2", "e5m2", {0x01}, {0x01}, 0), "2F800000") << model;
  }
  EXPECT_EQ(word("hopper_wgmma", "e4m3", "e5m2", {0x3C, 0x41}, {0x3D, 0xC1}, 0x3DCCCCCD), "C069A000");
  EXPECT_EQ(word("blackwell_tcgen05", "e4m3", "e5m2", {0x3C, 0x41}, {0x3D, 0xC1}, 0x3DCCCCCD), "C069999A");
}

// 2^23 - 2^23 - 0.5 - 0.25 - 0.125: every generation keeps another part of it.
TEST(Accumulator, OneSumThroughTheGenerations) {
  const Codes a{0xF000, 0xB800, 0xB400, 0xB000}, b{0x6400, 0x3C00, 0x3C00, 0x3C00};
  const std::pair<const char*, const char*> generations[] = {
      {"volta_mma", "00000000"},  {"turing_mma", "BF000000"}, {"ampere_mma", "BF000000"},
      {"ada_mma", "BF000000"},    {"hopper_mma", "BF400000"}, {"blackwell_tcgen05", "BF400000"},
      {"cdna1_mfma", "BF600000"}, {"cdna2_mfma", "00000000"}, {"cdna3_mfma", "BF000000"}};
  for (const auto& [model, want] : generations)
    EXPECT_EQ(word(model, "fp16", "fp16", a, b, 0x4B000000, 16), want) << model;
}

TEST(Accumulator, OverflowIsInfinityAlsoWhereResultsAreTruncated) {
  EXPECT_EQ(word("hopper_mma", "bf16", "bf16", {0x7F00, 0x7F00}, {0x3F80, 0x3F80}, 0, 16), "7F800000");
  Codes a(9, 0), b(9, 0);
  a[0] = 0x5F80, a[8] = 0xDF80, b[0] = b[8] = 0x5F80;
  EXPECT_EQ(word("ampere_mma", "bf16", "bf16", a, b, 0, 16), "7F800000");
  EXPECT_EQ(word("ampere_mma", "bf16", "bf16", {0x5F80, 0xDF80}, {0x5F80, 0x5F80}, 0, 16), "00000000");
  EXPECT_EQ(word("hopper_mma", "bf16", "bf16", Codes(16, 0x1C80), Codes(16, 0x1C80), 0, 16), "00002000");
}

TEST(Accumulator, Cdna3TruncatesFp8OncePerSpecialRule) {
  const Codes a{0x68}, b{0x68};
  EXPECT_EQ(word("cdna3_mfma", "e4m3fnuz", "e4m3fnuz", a, b, 0xB8000000, 16), "447FFFFF");
  EXPECT_EQ(word("cdna3_mfma", "e4m3fnuz", "e4m3fnuz", a, b, 0x38000000, 16), "44800000");
  EXPECT_EQ(word("cdna3_mfma", "e4m3fnuz", "e4m3fnuz", a, b, 0xB7800000, 16), "44800000");
  EXPECT_EQ(word("cdna3_mfma", "fp16", "fp16", {0x5000}, {0x5000}, 0xB7800000, 8), "447FFFFF");
  EXPECT_EQ(word("cdna3_mfma", "e4m3fnuz", "e4m3fnuz", {0x7F, 0x08, 0xFF}, {0x7F, 0x88, 0x7F}, 0, 16), "BA800000");
}

TEST(Accumulator, BlockScalesEnterTheUnit) {
  const auto scaled = [](const char* model, const char* format, std::uint32_t a, std::uint32_t b, std::size_t n,
                         const Codes& sa, const Codes& sb, std::uint32_t c, std::size_t filled) {
    const Model& m = find_model(model, format, format).model;
    std::vector<Operand> x, y;
    for (const std::uint32_t s : sa) x.push_back(unpack_scale(m.scale_format, s));
    for (const std::uint32_t s : sb) y.push_back(unpack_scale(m.scale_format, s));
    const Format f = parse_format(format);
    const float d = dot(m, {lanes(f, Codes(filled, a), n), x}, {lanes(f, Codes(filled, b), n), y}, bits_float(c));
    return fmt::format("{:08X}", float_bits(d));
  };
  EXPECT_EQ(scaled("blackwell_mxfp8", "e4m3", 0x38, 0x38, 32, {0x80}, {0x7E}, 0x3F800000, 1), "40000000");
  EXPECT_EQ(scaled("blackwell_mxfp8", "e4m3", 0x38, 0x38, 32, {0xFF}, {0x7F}, 0, 1), "7FFFFFFF");
  EXPECT_EQ(scaled("blackwell_mxfp8", "e4m3", 0x7E, 0x7E, 32, {0x10}, {0x58}, 0, 1), "00018800");
  EXPECT_EQ(scaled("blackwell_nvfp4", "e2m1", 0x7, 0x7, 64, Codes(4, 0x38), Codes(4, 0x38), 0, 64), "45100000");
  EXPECT_EQ(scaled("blackwell_mxfp4", "e2m1", 0x2, 0x3, 64, {0x7F, 0x7C}, {0x7F, 0x7F}, 0, 64), "42580000");
}

}  // namespace
}  // namespace fp8scope
