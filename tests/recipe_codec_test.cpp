// Codecs that are no scaled format, and the exact change from E2M1 to E4M3.
#include "sim/simd/codec.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <random>

#include "sim/convert.hpp"
#include "sim/recipes/lossless.hpp"
#include "sim/recipes/record.hpp"
#include "sim/simd/isa.hpp"
#include "sim/stable_math.hpp"
#include "tests/same_bits.hpp"

namespace fp8scope {
namespace {

std::vector<float> heavy(std::size_t n, float low, float high) {
  std::mt19937 random(7);
  std::uniform_real_distribution<double> octave(std::log2(low), std::log2(high));
  std::vector<float> x(n);
  for (float& v : x) v = static_cast<float>(std::exp2(octave(random))) * (random() % 2 == 0 ? 1.0f : -1.0f);
  return x;
}

TEST(StableExp2, IsThePowerOfTwo) {
  for (int k = -999; k < 1000; ++k) EXPECT_EQ(stable_exp2(k), std::ldexp(1.0, k));
  std::mt19937_64 random(1);
  std::uniform_real_distribution<double> exponent(-999.0, 999.0);
  for (int i = 0; i < 100000; ++i) {
    const double x = exponent(random);
    EXPECT_NEAR(stable_exp2(x) / std::exp2(x), 1.0, 2e-15) << x;
  }
}

TEST(LogFmt, TakesTheNearestOfItsGridInLinearSpace) {
  for (const auto& [codec, bits] : {std::pair{Codec::logfmt8, 8}, std::pair{Codec::logfmt10, 10}}) {
    const std::vector<float> x = heavy(128, 1e-4f, 10.0f);
    std::vector<float> y(128);
    codec_values(codec, x, y);
    double low = 1e9, high = 0.0;
    for (const float v : x) low = std::min(low, std::fabs(double{v})), high = std::max(high, std::fabs(double{v}));
    const int steps = (1 << (bits - 1)) - 2;
    for (std::size_t i = 0; i < x.size(); ++i) {
      double best = 0.0, distance = 1e9;
      for (int k = 0; k <= steps; ++k) {  // every code there is
        const double v = low * std::pow(high / low, static_cast<double>(k) / steps);
        if (std::fabs(v - std::fabs(x[i])) < distance) distance = std::fabs(v - std::fabs(x[i])), best = v;
      }
      EXPECT_NEAR(std::fabs(y[i]) / best, 1.0, 1e-6) << x[i];
      EXPECT_EQ(std::signbit(y[i]), std::signbit(x[i]));
    }
  }
}

TEST(LogFmt, KeepsZeroEqualAndNonFiniteAndCutsTheRangeAt32Octaves) {
  const float inf = std::numeric_limits<float>::infinity();
  const std::vector<float> x{0.0f, -0.0f, 3.0f, 3.0f, inf};
  std::vector<float> y(5);
  codec_values(Codec::logfmt8, x, y);
  EXPECT_EQ(y, x);
  const std::vector<float> wide{0x1p10f, 0x1p-40f};
  codec_values(Codec::logfmt8, wide, y);
  EXPECT_EQ(y[0], 0x1p10f);
  EXPECT_EQ(y[1], 0x1p-22f);
}

/// A tile of one of several kinds: narrow, wide, of few different numbers, near the middles between codes, with zeros,
/// subnormal numbers, infinities and NaN.
std::vector<float> any_tile(std::mt19937& random, Codec codec, std::size_t n) {
  const unsigned kind = random() % 7;
  std::vector<float> x(n);
  std::normal_distribution<float> normal(0.0f, std::ldexp(1.0f, static_cast<int>(random() % 60) - 30));
  const std::uint32_t base = random() % 0x7f000000u;
  for (float& v : x) {
    v = normal(random);
    if (kind == 1) v = bits_float(random());
    if (kind == 2) v = bits_float(base + random() % 16);            // a few units apart
    if (kind == 3) v = bits_float(base + random() % 0x00800000u);   // one octave
    if (kind == 4) v = bits_float(random() % 0x00800000u);          // subnormal
    if (kind == 5) v = random() % 4 == 0 ? 0.0f : random() % 9 == 0 ? bits_float(inf_bits) : to_bf16(v);
  }
  if (kind != 6) return x;
  const CodecRange range = codec_range_scalar(x);
  const CodecTile tile = codec_tile(codec, range.smallest, range.largest);
  for (float& v : x) {  // as near as binary32 gets to where a code changes
    const std::uint32_t code = codec_encode(codec, tile, v) & ((1u << (codec_row(codec).bits - 1)) - 1);
    const float middle = 0.5f * (codec_decode(codec, tile, code) + codec_decode(codec, tile, code > 1 ? code - 1 : code));
    if (middle >= range.smallest && middle <= range.largest)
      v = bits_float(float_bits(middle) + random() % 3 - 1);
  }
  return x;
}

TEST(Codecs, AreTheSameBitsOnEveryInstructionSet) {
  const Isa before = isa();
  std::uint64_t changed = 0;
  for (const NamedIsa& target : isas) {
    if (!isa_supported(target.isa)) continue;
    set_isa(target.isa);
    std::mt19937 random(11);
    for (int round = 0; round < 3000; ++round)
      for (const NamedCodec& row : codecs) {
        const std::vector<float> x = any_tile(random, row.codec, 1 + random() % 160);
        std::vector<float> want(x.size()), got(x.size()), in_place = x;
        codec_values_scalar(row.codec, x, want);
        codec_values(row.codec, x, got);
        codec_values(row.codec, in_place, in_place);
        ASSERT_TRUE(same_bits(want, got)) << row.name << " " << target.name << " round " << round;
        ASSERT_TRUE(same_bits(want, in_place)) << row.name << " " << target.name;
        changed += want != x;
      }
  }
  set_isa(before);
  EXPECT_GT(changed, 5000u);
}

TEST(Codecs, AreCodesAndBackWithTheirNumbers) {
  std::mt19937 random(12);
  for (int round = 0; round < 500; ++round)
    for (const NamedCodec& row : codecs) {
      const std::vector<float> x = any_tile(random, row.codec, 128);
      std::vector<float> y(x.size());
      codec_values(row.codec, x, y);
      const CodecRange range = codec_range_scalar(x);
      const CodecTile tile = codec_tile(row.codec, range.smallest, range.largest);
      for (std::size_t i = 0; i < x.size(); ++i) {
        if (!is_finite(x[i])) continue;
        const std::uint32_t code = codec_encode(row.codec, tile, x[i]);
        EXPECT_LT(code, 1u << row.bits);
        EXPECT_EQ(float_bits(codec_decode(row.codec, tile, code)), float_bits(y[i])) << row.name << " " << x[i];
        EXPECT_EQ(codec_encode(row.codec, tile, y[i]), code) << row.name << " " << x[i];  // what is coded stays
      }
    }
}

TEST(CoatExpand, GivesSmallStatesMoreThanAScaleAlone) {
  const std::vector<float> x = heavy(128, 1e-3f, 1e-1f);  // a narrow range: k > 1
  std::vector<float> y(128);
  codec_values(Codec::coat_expand, x, y);
  double expanded = 0.0, plain = 0.0;
  float amax = 0.0f;
  for (const float v : x) amax = std::max(amax, std::fabs(v));
  for (std::size_t i = 0; i < x.size(); ++i) {
    const float z = decode(e4m3, encode(e4m3, x[i] * (448.0f / amax))) * (amax / 448.0f);
    expanded += std::pow(y[i] / x[i] - 1.0, 2), plain += std::pow(z / x[i] - 1.0, 2);
    EXPECT_NEAR(y[i] / x[i], 1.0, 0.07);
  }
  EXPECT_LT(expanded, 0.5 * plain);
  std::vector<float> zeros(16, 0.0f), out(16, 1.0f);
  codec_values(Codec::coat_expand, zeros, out);
  EXPECT_EQ(out, zeros);
  const std::vector<float> equal(16, 0.3f);
  codec_values(Codec::coat_expand, equal, out);
  EXPECT_NEAR(out[0], 0.3f, 1e-7);
}

TEST(Lossless, E2m1BecomesE4m3ExactlyAsLongAsItsFactorsLieWithin11Octaves) {
  const Format e2m1{2, 1, 1, Specials::finite};
  for (int spread = 0; spread <= 20; ++spread) {
    std::vector<std::uint16_t> codes(2 * 64);
    for (std::size_t i = 0; i < codes.size(); ++i) codes[i] = static_cast<std::uint16_t>(i % 16);
    const std::vector<std::uint8_t> scales{130, static_cast<std::uint8_t>(130 - spread), 125, 128};
    const LosslessCodes out = e2m1_to_e4m3(codes, scales, 2, 64, 2, 64);
    ASSERT_EQ(out.scales.size(), 1u);
    EXPECT_EQ(out.scales[0], 124);
    EXPECT_EQ(out.exact, spread <= 11);
    bool same = true;
    for (std::size_t i = 0; i < codes.size(); ++i) {
      const double before = std::ldexp(decode(e2m1, codes[i]), scales[i / 32] - 127);
      same = same && before == std::ldexp(decode(e4m3, out.codes[i]), out.scales[0] - 127);
    }
    EXPECT_TRUE(same || !out.exact) << spread;
    EXPECT_FALSE(same && spread > 14) << spread;
  }
  const LosslessCodes low = e2m1_to_e4m3(std::vector<std::uint16_t>(32, 1), std::vector<std::uint8_t>{3}, 1, 32, 1, 32);
  EXPECT_EQ(low.scales[0], 0);
}

}  // namespace
}  // namespace fp8scope
