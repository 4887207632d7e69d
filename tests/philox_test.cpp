#include "sim/philox.hpp"

#include <gtest/gtest.h>

#include <cmath>

#include "sim/convert.hpp"

namespace fp8scope {
namespace {

void expect_words(const PhiloxWords& got, std::uint32_t a, std::uint32_t b, std::uint32_t c, std::uint32_t d) {
  EXPECT_EQ(got.word[0], a);
  EXPECT_EQ(got.word[1], b);
  EXPECT_EQ(got.word[2], c);
  EXPECT_EQ(got.word[3], d);
}

// Source: kat_vectors of Random123 1.14, philox4x32 with 10 rounds.
TEST(Philox, HasTheKnownAnswers) {
  expect_words(philox4x32({{0, 0, 0, 0}}, 0), 0x6627e8d5u, 0xe169c58du, 0xbc57ac4cu, 0x9b00dbd8u);
  constexpr std::uint32_t ones = 0xffffffffu;
  expect_words(philox4x32({{ones, ones, ones, ones}}, ~std::uint64_t{0}), 0x408f276du, 0x41c83b0eu, 0xa20bc7c6u,
               0x6d5451fdu);
  expect_words(philox4x32({{0x243f6a88u, 0x85a308d3u, 0x13198a2eu, 0x03707344u}}, 0x299f31d0a4093822u),
               0xd16cfe09u, 0x94fdccebu, 0x5001e420u, 0x24126ea1u);
}

TEST(RandomBits, AreWordIndexMod4OfCounterIndexDiv4) {
  const PhiloxWords words = philox4x32({{7, 1, 0, 0}}, 42);
  for (std::uint64_t i = 0; i < 4; ++i)
    EXPECT_EQ(random_bits(42, ((std::uint64_t{1} << 32) + 7) * 4 + i).value, words.word[i]);
}

TEST(RandomBits, RoundUpAsOftenAsTheDroppedPartSays) {
  // 1.0 + 0.3 of a step of E4M3 (1/8): up three times in ten.
  const float x = 1.0f + 0.3f / 8;
  int up = 0;
  constexpr int draws = 100000;
  for (int i = 0; i < draws; ++i) {
    const std::uint32_t code = encode(e4m3, x, {.rounding = Rounding::stochastic}, random_bits(1, i));
    ASSERT_TRUE(code == 0x38 || code == 0x39);
    up += code == 0x39;
  }
  EXPECT_NEAR(up / static_cast<double>(draws), 0.3, 5 * std::sqrt(0.21 / draws));
}

}  // namespace
}  // namespace fp8scope
