#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>

#include "sim/code_table.hpp"
#include "sim/names.hpp"
#include "sim/simd/cast.hpp"

#if defined(__SSE__)
#include <xmmintrin.h>
#endif

namespace fp8scope {
namespace {

// Every named format of at most 8 bits, and spelt ones at the edges of the grammar.
std::vector<Format> small_formats() {
  std::vector<Format> all;
  for (const NamedFormat& row : formats)
    if (row.format.bits() <= 8) all.push_back(row.format);
  for (const char* name : {"e1m6", "e2m5", "e6m1", "e7m0", "e5m0", "e2m2fn", "e3m4finite",
                           "e4m3b60", "e4m3b100fn", "e5m2b-60", "e2m1fnuz", "e1m2finite", "e1m3fn"})
    try {
      all.push_back(parse_format(name));
    } catch (const std::invalid_argument&) {
      // Outside of what binary32 can hold, or of the grammar.
    }
  return all;
}

std::vector<CastRule> rules() {
  std::vector<CastRule> all;
  for (const Rounding rounding : {Rounding::nearest_even, Rounding::toward_zero, Rounding::up})
    for (const Overflow overflow : {Overflow::saturate, Overflow::special}) {
      for (const InfRule inf : {InfRule::max, InfRule::special})
        for (const NanRule nan :
             {NanRule::all_ones, NanRule::all_ones_signed, NanRule::quiet_signed, NanRule::max, NanRule::lowest})
          for (const NoNanRule no_nan : {NoNanRule::max, NoNanRule::sign_bit_flip})
            all.push_back({rounding, overflow, inf, nan, no_nan});
      all.push_back(ml_dtypes_rule(rounding, overflow));
    }
  return all;
}

// Specials, both sides of every rounding edge of `f`, and random patterns.
std::vector<float> inputs(const Format& f) {
  std::vector<float> x;
  const auto add = [&](float v) {
    for (const float near : {std::nextafter(v, -INFINITY), v, std::nextafter(v, INFINITY)})
      x.push_back(near), x.push_back(-near);
  };
  for (std::uint32_t bits : {0u, 1u, 0x7fffffu, 0x800000u, 0x7f7fffffu, 0x7f800000u, 0x7f800001u,
                             0x7fbfffffu, 0x7fc00000u, 0x7fffffffu})
    x.push_back(bits_float(bits)), x.push_back(bits_float(bits | 0x80000000u));
  for (std::uint32_t code = 0; code <= f.max_code(); ++code) {
    const double low = decode(f, code);
    const double high = code < f.max_code() ? decode(f, code + 1) : 2 * low - decode(f, code - 1);
    add(static_cast<float>(low)), add(static_cast<float>((low + high) / 2));
    add(static_cast<float>(high));
  }
  std::mt19937 random(1);
  for (int i = 0; i < 4000; ++i) x.push_back(bits_float(random()));
  return x;
}

std::string where(Isa isa, const Format& f, float x) {
  return fmt::format("{} {} x={:08x}", isa_name(isa), format_name(f), float_bits(x));
}

TEST(Simd, EveryTargetEncodesEveryEdgeOfEveryFormatAsTheScalarCode) {
  for (const Format& f : small_formats()) {
    const std::vector<float> x = inputs(f);
    std::vector<std::uint8_t> codes(x.size());
    for (const CastRule& rule : rules())
      for (const Isa isa : supported_isas()) {
        encode_span(f, rule, x, codes, {isa});
        for (std::size_t i = 0; i < x.size(); ++i)
          ASSERT_EQ(codes[i], encode(f, x[i], rule)) << where(isa, f, x[i]);
      }
  }
}

TEST(Simd, EveryLengthAndAlignmentGivesTheSameCodesAndWritesNothingElse) {
  const std::vector<float> x = inputs(e4m3);
  alignas(64) static std::uint8_t codes[400];  // streaming needs the alignment
  for (const Isa isa : supported_isas())
    for (const Stores stores : {Stores::cached, Stores::streaming})
      for (std::size_t shift = 0; shift < 3; ++shift)
        for (std::size_t n = 0; n < 300; ++n) {
          std::ranges::fill(codes, 0xaa);
          const std::span<const float> part(x.data() + shift, n);
          encode_span(e4m3, {}, part, {codes + shift, n}, {isa, stores});
          for (std::size_t i = 0; i < n; ++i)
            ASSERT_EQ(codes[shift + i], encode(e4m3, part[i])) << where(isa, e4m3, part[i]);
          for (std::size_t i = shift + n; i < std::size(codes); ++i) ASSERT_EQ(codes[i], 0xaa) << n;
        }
}

TEST(Simd, ScaledCodesAreThoseOfTheRoundedProduct) {
  for (const Format& f : {e4m3, e5m2, parse_format("e4m3fnuz"), parse_format("e2m1")}) {
    const std::vector<float> x = inputs(f);
    std::vector<std::uint8_t> codes(x.size());
    for (const float scale : {0.0f, 1.1f, 0x1p-140f, 3e38f, INFINITY, -7.3f})
      for (const Isa isa : supported_isas()) {
        encode_scaled(f, {}, x, scale, codes, {isa});
        for (std::size_t i = 0; i < x.size(); ++i)
          ASSERT_EQ(codes[i], encode(f, x[i] * scale)) << where(isa, f, x[i]) << ' ' << scale;
      }
  }
}

TEST(Simd, ANanScaleGivesTheCodeOfAPositiveNanToItsTile) {
  const std::vector<float> x = {1.0f, -NAN, NAN, 2.0f, 3.0f};
  const std::vector<float> scale = {bits_float(0xffc00000u), 1.0f};
  const CastRule rule = ml_dtypes_rule(Rounding::nearest_even, Overflow::special);
  for (const Isa isa : supported_isas()) {
    std::vector<std::uint8_t> codes(5);
    encode_tiles(e4m3, rule, x, 3, scale, codes, {isa});
    EXPECT_EQ(codes, (std::vector<std::uint8_t>{0x7f, 0x7f, 0x7f, 0x40, 0x44})) << isa_name(isa);
  }
}

TEST(Simd, AmaxIgnoresOrPropagatesNansAtEveryPlace) {
  std::mt19937 random(2);
  for (const Isa isa : supported_isas())
    for (std::size_t n = 1; n < 200; ++n) {
      std::vector<float> x(n);
      float largest = 0;
      for (float& v : x) {
        v = static_cast<float>(static_cast<int>(random() % 2001) - 1000);
        largest = std::max(largest, std::abs(v));
      }
      EXPECT_EQ(amax_span(x, AmaxRule::propagate_nan, isa), largest);
      const std::size_t place = random() % n;
      const float lost = x[place];
      x[place] = bits_float(0xff800001u);
      EXPECT_EQ(float_bits(amax_span(x, AmaxRule::propagate_nan, isa)), 0x7fc00000u);
      largest = 0;
      for (std::size_t i = 0; i < n; ++i)
        if (i != place) largest = std::max(largest, std::abs(x[i]));
      EXPECT_EQ(amax_span(x, AmaxRule::ignore_nan, isa), largest) << n << ' ' << place;
      x[place] = lost < 0 ? -INFINITY : INFINITY;
      EXPECT_EQ(amax_span(x, AmaxRule::ignore_nan, isa), INFINITY);
    }
  EXPECT_EQ(amax_span({}, AmaxRule::propagate_nan), 0.0f);
}

TEST(Simd, TileAmaxesAreThoseOfEachTileAlone) {
  std::mt19937 random(9);
  std::vector<float> x(3000);
  for (float& v : x) v = bits_float(random() & ~0x00800000u);  // finite
  for (const std::size_t place : {700u, 701u, 1400u}) x[place] = bits_float(0xff800001u), x[place + 90] = INFINITY;
  for (const std::int64_t tile : {1, 4, 8, 16, 24, 32, 64, 128, 1000})
    for (const std::size_t n : {std::size_t{5}, std::size_t{257}, std::size_t{1024}, x.size()})
      for (const AmaxRule rule : {AmaxRule::propagate_nan, AmaxRule::ignore_nan}) {
        const std::span<const float> part(x.data(), n);
        std::vector<float> expected((n + static_cast<std::size_t>(tile) - 1) / static_cast<std::size_t>(tile)), found(expected);
        for (std::size_t t = 0; t < expected.size(); ++t) {
          const std::size_t begin = t * static_cast<std::size_t>(tile);
          expected[t] = amax_span(part.subspan(begin, std::min(static_cast<std::size_t>(tile), n - begin)), rule, Isa::scalar);
        }
        for (const Isa isa : supported_isas()) {
          tile_amax(part, tile, rule, found, isa);
          for (std::size_t t = 0; t < found.size(); ++t)
            ASSERT_EQ(float_bits(found[t]), float_bits(expected[t])) << isa_name(isa) << " tile " << tile << " of " << n << ", " << t;
        }
      }
}

void scales_to_448(std::span<const float> amax, std::span<float> scale,
                   std::span<float> scale_inv) {
  for (std::size_t t = 0; t < amax.size(); ++t) {
    scale[t] = 448.0f / (amax[t] > 1e-4f ? amax[t] : 1e-4f);
    scale_inv[t] = 1.0f / scale[t];
  }
}

TEST(Simd, FusedTilesEqualAmaxThenScaleThenCast) {
  std::mt19937 random(3);
  std::normal_distribution<float> normal;
  for (const std::int64_t tile : {1, 4, 7, 8, 16, 32, 48, 64, 128, 4096, 1 << 20})
    for (const std::size_t n : {std::size_t{0}, std::size_t{1}, std::size_t{127}, std::size_t{5000},
                                std::size_t{16384}}) {
      std::vector<float> x(n);
      for (float& v : x) v = std::exp2(4 * normal(random)) * normal(random);
      const auto tiles = static_cast<std::size_t>((static_cast<std::int64_t>(n) + tile - 1) / tile);
      std::vector<float> amax(tiles), scale(tiles), inv(tiles), s(tiles), si(tiles);
      alignas(64) static std::uint8_t buffer[16384];
      const std::span<std::uint8_t> codes(buffer, n);
      std::vector<std::uint8_t> expected(n);
      tile_amax(x, tile, AmaxRule::ignore_nan, amax, Isa::scalar);
      scales_to_448(amax, s, si);
      encode_tiles(e4m3, {}, x, tile, s, expected, {Isa::scalar});
      for (std::size_t i = 0; i < n; ++i)
        ASSERT_EQ(expected[i], encode(e4m3, x[i] * s[i / static_cast<std::size_t>(tile)]));
      for (const Isa isa : supported_isas())
        for (const Stores stores : {Stores::cached, Stores::streaming}) {
          std::ranges::fill(codes, 0xaa);
          quantize_tiles(e4m3, {}, x, tile, AmaxRule::ignore_nan, scales_to_448, scale, inv, codes,
                         {isa, stores});
          EXPECT_TRUE(std::ranges::equal(codes, expected))
              << isa_name(isa) << " tile " << tile << " n " << n;
          EXPECT_EQ(scale, s);
          EXPECT_EQ(inv, si);
        }
    }
}

// A tile whose products all fit is cast without looking for NaN or overflow: around that border, and
// with every scale that is none, the codes must still be those of encode().
TEST(Simd, FusedTilesAreRightWhereTheLargestProductIsAtTheBorderOfTheFormat) {
  constexpr std::int64_t tile = 64;
  const float inf = std::numeric_limits<float>::infinity(), nan = std::nanf("");
  for (const Format& f : small_formats()) {
    const float max = f.max_value();
    std::vector<float> scales{1.0f, -1.0f, 0.0f, inf, -inf, nan, 0x1p-149f, 0x1p100f};
    const std::uint32_t bits = float_bits(max), half_ulp = 1u << (22 - f.mantissa_bits);
    for (const std::uint32_t above : {0u, half_ulp, 2 * half_ulp, 3 * half_ulp, 4 * half_ulp})
      for (const int ulps : {-2, -1, 0, 1, 2})
        scales.push_back(bits_float(bits + above + static_cast<std::uint32_t>(ulps)));
    std::vector<float> x(tile), scale(1), inv(1);
    for (std::size_t i = 0; i < x.size(); ++i)
      x[i] = (i % 3 ? 1.0f : -1.0f) * static_cast<float>(i) / 63.0f;  // amax is 1
    std::vector<std::uint8_t> expected(x.size()), codes(x.size());
    for (const bool with_nan : {false, true}) {
      if (with_nan) x[5] = nan, x[7] = -nan, x[40] = 0.5f;
      for (const float s : scales) {
        for (std::size_t i = 0; i < x.size(); ++i)
          expected[i] = static_cast<std::uint8_t>(encode(f, std::isnan(s) ? nan : x[i] * s, {}));
        const TileScales given = [s](auto, std::span<float> to, std::span<float> to_inv) {
          to[0] = to_inv[0] = s;
        };
        for (const Isa isa : supported_isas()) {
          quantize_tiles(f, {}, x, tile, AmaxRule::ignore_nan, given, scale, inv, codes,
                         {isa, Stores::cached});
          for (std::size_t i = 0; i < x.size(); ++i)
            ASSERT_EQ(codes[i], expected[i]) << where(isa, f, x[i]) << " scale " << s;
        }
      }
    }
  }
}

// So is it under rules that have no vector code, whatever the scale's NaN looks like.
TEST(Simd, FusedTilesOfANanScaleHaveTheCodeOfAPositiveNanUnderEveryRule) {
  const std::vector<float> x{-1.0f, 0.5f, -0.0f, 1.0f};
  std::vector<float> scale(1), inv(1);
  std::vector<std::uint8_t> codes(x.size());
  const TileScales negative_nan = [](auto, std::span<float> s, std::span<float> si) { s[0] = si[0] = bits_float(0xffc00000u); };
  for (const Format& f : small_formats())
    for (const CastRule& rule : rules())
      for (const Isa isa : supported_isas()) {
        quantize_tiles(f, rule, x, 4, AmaxRule::ignore_nan, negative_nan, scale, inv, codes, {isa, Stores::cached});
        for (const std::uint8_t code : codes)
          ASSERT_EQ(code, encode(f, bits_float(0x7fc00000u), rule)) << where(isa, f, 0.0f);
      }
}

TEST(Simd, DecodeReadsTheTableForEveryCode) {
  for (const Format& f : small_formats()) {
    const std::vector<float> table = decode_table(f);
    std::vector<std::uint8_t> codes(3 * f.codes() + 5);
    for (std::size_t i = 0; i < codes.size(); ++i)
      codes[i] = static_cast<std::uint8_t>(i % f.codes());
    std::vector<float> out(codes.size());
    for (const Isa isa : supported_isas()) {
      std::ranges::fill(out, 7.5f);
      decode_span(table, codes, out, isa);
      for (std::size_t i = 0; i < out.size(); ++i)
        ASSERT_EQ(float_bits(out[i]), float_bits(decode(f, codes[i]))) << where(isa, f, out[i]);
    }
  }
}

TEST(Simd, AnInstructionSetIsCalledByItsNameAndRefusedWhereItCannotRun) {
  EXPECT_EQ(by_name(isas, "avx2", "instruction set").isa, Isa::avx2);
  EXPECT_EQ(supported_isas().front(), Isa::scalar);
  EXPECT_EQ(isa(), supported_isas().back());
  std::vector<float> x(4);
  std::vector<std::uint8_t> codes(4);
  for (const NamedIsa& row : isas) {
    if (isa_supported(row.isa)) EXPECT_NO_THROW(encode_span(e4m3, {}, x, codes, {row.isa}));
    else EXPECT_THROW(encode_span(e4m3, {}, x, codes, {row.isa}), std::invalid_argument);
  }
}

TEST(Simd, WrongSpansWideFormatsAndStochasticRoundingAreRefused) {
  std::vector<float> x(4);
  std::vector<std::uint8_t> codes(3), right(4);
  EXPECT_THROW(encode_span(e4m3, {}, x, codes), std::invalid_argument);
  EXPECT_THROW(encode_span(bf16, {}, x, right), std::invalid_argument);
  EXPECT_THROW(encode_span(e4m3, {Rounding::stochastic}, x, right), std::invalid_argument);
  EXPECT_THROW(encode_tiles(e4m3, {}, x, 0, x, right), std::invalid_argument);
}

#if defined(__SSE__)
TEST(Simd, AProcessThatFlushesSubnormalsIsRefused) {
  std::vector<float> x(4);
  std::vector<std::uint8_t> codes(4);
  const unsigned before = _mm_getcsr();
  for (const unsigned bad : {0x8000u, 0x0040u, 0x2000u}) {
    _mm_setcsr(before | bad);
    EXPECT_THROW(encode_span(e4m3, {}, x, codes), std::runtime_error) << bad;
    _mm_setcsr(before);
  }
}
#endif

}  // namespace
}  // namespace fp8scope
