#include "sim/simd/cast.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <random>

#include "sim/quantize.hpp"
#include "sim/simd/isa.hpp"
#include "tests/same_bits.hpp"

namespace fp8scope {
namespace {

/// Runs `test` under every instruction set this machine has.
template <class Test>
void with_every_isa(Test test) {
  for (const NamedIsa& target : isas) {
    if (!isa_supported(target.isa)) continue;
    set_isa(target.isa);
    SCOPED_TRACE(std::string(target.name));
    test();
  }
  set_isa(Isa::automatic);
}

std::vector<CastRule> rules() {
  std::vector<CastRule> all{CastRule{}, ml_dtypes_rule(Rounding::nearest_even, Overflow::saturate),
                            ml_dtypes_rule(Rounding::nearest_even, Overflow::special)};
  for (const NanRule nan : {NanRule::all_ones, NanRule::all_ones_signed, NanRule::quiet_signed})
    for (const Overflow overflow : {Overflow::saturate, Overflow::special})
      for (const InfRule inf : {InfRule::max, InfRule::special})
        for (const NoNanRule no_nan : {NoNanRule::max, NoNanRule::sign_bit_flip})
          all.push_back({Rounding::nearest_even, overflow, inf, nan, no_nan});
  all.push_back({Rounding::toward_zero});
  return all;
}

/// Every rounding edge of the format with its neighbours, specials, and random patterns.
std::vector<float> hard_values(const Format& f) {
  std::vector<float> x{0.0f, -0.0f, INFINITY, -INFINITY, std::nanf(""), -std::nanf(""), bits_float(0x7f800001u),
                       bits_float(0xffffffffu), bits_float(1u), bits_float(0x80000001u), 3.4e38f, -3.4e38f};
  for (std::uint32_t code = 0; code <= f.max_code(); ++code) {
    const float low = decode(f, code);
    const float high = code < f.max_code() ? decode(f, code + 1) : low + pow2(f.max_exponent() - f.mantissa_bits);
    for (const float v : {low, high, low + (high - low) / 2})
      for (const float w : {std::nextafter(v, -INFINITY), v, std::nextafter(v, INFINITY)})
        x.insert(x.end(), {w, -w});
  }
  std::mt19937 random(5);
  for (int i = 0; i < 3000; ++i) x.push_back(bits_float(static_cast<std::uint32_t>(random())));
  return x;
}

TEST(CastSimd, EncodesAsThePlainCodeForEveryFormatRuleLengthAndAlignment) {
  with_every_isa([] {
    for (const NamedFormat& format : formats) {
      const Format& f = format.format;
      if (f.bits() > 8 || !f.is_signed()) continue;
      const std::vector<float> x = hard_values(f);
      for (const CastRule& rule : rules())
        for (const float scale : {1.0f, 0.37f}) {
          std::vector<std::uint8_t> want(x.size()), got(x.size());
          for (std::size_t i = 0; i < x.size(); ++i)
            want[i] = static_cast<std::uint8_t>(quantize_element(f, x[i], scale, rule));
          encode_all(f, rule, x, scale, got);
          ASSERT_TRUE(same_bits(want, got)) << format.name;
        }
      for (std::size_t offset = 0; offset < 5; ++offset)
        for (std::size_t n = 0; n < 200; n += n < 70 ? 1 : 13) {
          const std::span part = std::span(x).subspan(offset, n);
          std::vector<std::uint8_t> want(n), buffer(n + 8, 0xa5);
          for (std::size_t i = 0; i < n; ++i) want[i] = static_cast<std::uint8_t>(encode(f, part[i]));
          encode_all(f, {}, part, 1.0f, std::span(buffer).subspan(offset));
          EXPECT_TRUE(same_bits(want, std::vector<std::uint8_t>(buffer.begin() + offset, buffer.begin() + offset + n)));
          EXPECT_EQ(buffer[offset + n], 0xa5) << "wrote beyond the end";
        }
    }
  });
}

TEST(CastSimd, EncodesLargeArraysPastTheCachesWithTheSameCodes) {
  std::mt19937 random(6);
  std::vector<float> x((3 << 20) + 77);
  for (float& v : x) v = bits_float(static_cast<std::uint32_t>(random()));
  std::vector<std::uint8_t> want(x.size());
  for (std::size_t i = 0; i < x.size(); ++i) want[i] = static_cast<std::uint8_t>(encode(e4m3, x[i]));
  with_every_isa([&] {
    for (const std::size_t offset : {0, 1, 31}) {
      std::vector<std::uint8_t> got(x.size() + offset);
      encode_all(e4m3, {}, x, 1.0f, std::span(got).subspan(offset));
      got.erase(got.begin(), got.begin() + offset);
      EXPECT_TRUE(same_bits(want, got));
    }
  });
}

TEST(CastSimd, DecodesEveryCode) {
  with_every_isa([] {
    for (const NamedFormat& format : formats) {
      const Format& f = format.format;
      if (f.bits() > 8 || !f.is_signed()) continue;
      std::vector<std::uint8_t> codes;
      for (std::uint32_t i = 0; i < 3 * f.codes() + 5; ++i) codes.push_back(static_cast<std::uint8_t>(i % f.codes()));
      std::vector<float> want, got(codes.size());
      for (const std::uint8_t code : codes) want.push_back(decode(f, code));
      decode_all(f, codes, got);
      EXPECT_TRUE(same_bits(want, got)) << format.name;
    }
  });
}

TEST(CastSimd, QuantizesTilesAsAmaxScaleAndCastOneAfterAnother) {
  std::mt19937 random(7);
  std::normal_distribution<float> normal;
  const ScaleRule te{}, pow2{.pow2 = true}, deepseek{.kind = ScaleRule::Kind::deepseek, .floor = 1e-4f},
      mx{.kind = ScaleRule::Kind::e8m0_ceil};
  struct Shape {
    std::int64_t rows, cols, width;
  };
  with_every_isa([&] {
    for (const Shape shape : {Shape{5, 384, 128}, Shape{37, 200, 128}, Shape{3, 96, 32}, Shape{2, 100, 7}, Shape{900, 2048, 128}}) {
      std::vector<float> x(shape.rows * shape.cols);
      for (float& v : x) v = std::ldexp(normal(random), static_cast<int>(random() % 20) - 10);
      x[3] = std::nanf(""), x[5] = INFINITY;
      if (shape.rows > 2) std::fill_n(x.begin() + 2 * shape.cols, shape.cols, 0.0f);
      const BlockGrid grid(shape.rows, shape.cols, {1, shape.width});
      for (const ScaleRule& rule : {te, pow2, deepseek, mx})
        for (const AmaxRule amax : {AmaxRule::ignore_nan, AmaxRule::propagate_nan})
          for (const Format& f : {e4m3, e5m2}) {
            std::vector<float> amaxes(grid.blocks());
            block_amax(amax, grid, x, amaxes);
            std::vector<Scales> scales(grid.blocks()), got_scales(grid.blocks());
            for (std::size_t i = 0; i < amaxes.size(); ++i) scales[i] = block_scales(rule, amaxes[i]);
            std::vector<std::uint16_t> codes(x.size());
            quantize(f, {}, grid, x, scales, codes);
            std::vector<std::uint8_t> got(x.size());
            quantize_tiles(f, {}, rule, amax, shape.rows, shape.cols, shape.width, x, got, got_scales);
            ASSERT_TRUE(same_bits(codes, std::vector<std::uint16_t>(got.begin(), got.end()))) << shape.cols;
            for (std::size_t i = 0; i < scales.size(); ++i) {
              EXPECT_EQ(float_bits(scales[i].scale), float_bits(got_scales[i].scale));
              EXPECT_EQ(float_bits(scales[i].scale_inv), float_bits(got_scales[i].scale_inv));
            }
          }
    }
  });
}

TEST(CastSimd, RefusesFormatsOfMoreThanAByteAndShortSpans) {
  std::vector<float> x(4);
  std::vector<std::uint8_t> codes(3);
  EXPECT_THROW(encode_all(e4m3, {}, x, 1.0f, codes), std::invalid_argument);
  codes.resize(4);
  EXPECT_THROW(encode_all(fp16, {}, x, 1.0f, codes), std::invalid_argument);
  EXPECT_THROW(encode_all(e8m0, {}, x, 1.0f, codes), std::invalid_argument);
}

}  // namespace
}  // namespace fp8scope
