#include "sim/error_sums.hpp"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <random>

#include "sim/format.hpp"
#include "sim/simd/error_sums.hpp"
#include "sim/simd/magnitudes.hpp"
#include "sim/simd/isa.hpp"

namespace fp8scope {
namespace {

/// A row as hostile as real ones: wide exponents, zeros of both signs, NaN, infinities, subnormals.
struct Row {
  std::vector<float> x, scale, scale_inv, value;

  Row(std::mt19937& random, const Format& f, std::size_t n, bool wild) {
    std::normal_distribution<float> normal(0.0f, 3.0f);
    std::uniform_int_distribution<int> kind(0, 40), exponent(-40, 20);
    const float inf = std::numeric_limits<float>::infinity();
    for (std::size_t i = 0; i < n; ++i) {
      const int k = wild ? kind(random) : 40;
      float v = std::ldexp(normal(random), exponent(random) / 4);
      if (k == 0) v = bits_float(random());
      if (k == 1) v = 0.0f;
      if (k == 2) v = -0.0f;
      if (k == 3) v = inf;
      if (k == 4) v = std::numeric_limits<float>::quiet_NaN();
      if (k == 5) v = std::ldexp(1.0f, -140);
      x.push_back(v);
      const float s = std::ldexp(1.0f + 0.1f * (i % 7), static_cast<int>(i / 16 % 5) - 2);
      scale.push_back(k == 6 ? inf : k == 7 ? std::numeric_limits<float>::quiet_NaN() : s);
      scale_inv.push_back(1.0f / scale.back());
      value.push_back(decode(f, encode(f, x[i] * scale[i])));
    }
  }
  CastRow row() const { return {x.data(), scale.data(), scale_inv.data(), value.data(), x.size()}; }
};

template <class Sums>
bool same(const Sums& a, const Sums& b) {
  return std::memcmp(&a, &b, sizeof a) == 0;
}

/// Puts the selection of instructions back.
struct IsaGuard {
  ~IsaGuard() { set_isa(Isa::automatic); }
};

TEST(ErrorSums, EveryInstructionSetGivesTheBitsOfThePlainCode) {
  const IsaGuard guard;
  std::mt19937 random(1);
  for (const NamedIsa& target : isas) {
    if (!isa_supported(target.isa)) continue;
    set_isa(target.isa);
    for (const NamedFormat& format : formats) {
      if (format.format.bits() > 16 || !format.format.is_signed()) continue;
      for (std::size_t n = 0; n < 90; n = n < 40 ? n + 1 : n + 7) {
        const Row data(random, format.format, n, true);
        for (const bool by_magic : {true, false}) {
          CastLimits limits = cast_limits(format.format, {}, 4.0f);
          limits.by_magic = limits.by_magic && by_magic;
          EXPECT_TRUE(same(error_sums_scalar(limits, data.row()), error_sums(limits, data.row())))
              << target.name << " " << format.name << " " << n;
        }
        EXPECT_TRUE(same(moment_sums_scalar(data.x), moment_sums(data.x))) << target.name << " " << n;
        EXPECT_EQ(bulk_power_scalar(data.x, 4.0f), bulk_power(data.x, 4.0f)) << target.name << " " << n;
      }
    }
  }
}

TEST(ErrorSums, RoundingInBinary32IsTheCastForEveryFormatThatUsesIt) {
  std::mt19937 random(2);
  int compared = 0;
  for (const NamedFormat& format : formats) {
    CastLimits by_magic = cast_limits(format.format, {}, 4.0f);
    if (!by_magic.by_magic || format.format.bits() > 16) continue;
    CastLimits by_code = by_magic;
    by_code.by_magic = false;
    for (int round = 0; round < 50; ++round) {
      const Row data(random, format.format, 400, true);
      EXPECT_TRUE(same(error_sums_scalar(by_code, data.row()), error_sums_scalar(by_magic, data.row())))
          << format.name;
    }
    ++compared;
  }
  EXPECT_GE(compared, 12);  // all but bf16, tf32 and the scale format
}

TEST(ErrorSums, AreTheSumsOfTheirDefinition) {
  std::mt19937 random(3);
  for (const Format& f : {e4m3, e5m2}) {
    const Row data(random, f, 5000, false);
    const CastLimits limits = cast_limits(f, {}, 4.0f);
    long double noise = 0, top = 0, error = 0, cross = 0, loss = 0;
    double max_abs = 0;
    std::uint64_t underflow = 0, subnormal = 0, clipped = 0;
    for (std::size_t i = 0; i < data.x.size(); ++i) {
      const long double x = data.x[i], y = data.value[i] * data.scale_inv[i];
      const long double e = static_cast<float>(x - y);
      (std::fabs(data.x[i]) > 4.0f ? top : noise) += e * e;
      error += e;
      cross += x * e;
      max_abs = std::max(max_abs, static_cast<double>(std::fabs(e)));
      underflow += x != 0 && data.value[i] == 0;
      subnormal += data.value[i] != 0 && std::fabs(data.value[i]) < std::ldexp(1.0, f.min_exponent());
      const bool clips = encode(f, data.x[i] * data.scale[i], {Rounding::nearest_even, Overflow::special}) !=
                         encode(f, data.x[i] * data.scale[i]);
      clipped += clips;
      if (clips) loss += std::fabs(x) - std::fabs(y);
    }
    const ErrorSums sums = error_sums(limits, data.row());
    EXPECT_NEAR(sums.noise_bulk / static_cast<double>(noise), 1.0, 1e-13);
    EXPECT_NEAR(sums.noise_top / static_cast<double>(top), 1.0, 1e-13);
    EXPECT_NEAR(sums.error, static_cast<double>(error), 1e-12 * std::sqrt(static_cast<double>(noise) * 5000));
    EXPECT_NEAR(sums.cross / static_cast<double>(cross), 1.0, 1e-9);
    if (loss > 0) {
      EXPECT_NEAR(sums.clipped_loss / static_cast<double>(loss), 1.0, 1e-12);
    }
    EXPECT_EQ(sums.max_abs, max_abs);
    EXPECT_EQ(sums.underflow, underflow);
    EXPECT_EQ(sums.subnormal, subnormal);
    EXPECT_EQ(sums.clipped, clipped);
    EXPECT_EQ(sums.lost, 0u);
  }
}

TEST(ErrorSums, ClippingBeginsBeyondTheLastRoundingEdge) {
  const float one = 1.0f;
  const auto clipped = [&](const Format& f, float x) {
    return error_sums(cast_limits(f, {}, 1e9f), {&x, &one, &one, nullptr, 1}).clipped;
  };
  EXPECT_EQ(clipped(e4m3, 464.0f), 0u);  // a tie, to the even 448
  EXPECT_EQ(clipped(e4m3, std::nextafter(464.0f, 500.0f)), 1u);
  EXPECT_EQ(clipped(e5m2, std::nextafter(61440.0f, 0.0f)), 0u);
  EXPECT_EQ(clipped(e5m2, 61440.0f), 1u);  // a tie, away from the odd 57344
}

TEST(ErrorSums, AreIndifferentToWhatIsNotFinite) {
  const float inf = std::numeric_limits<float>::infinity();
  const std::vector<float> x{1.06f, inf, std::nanf(""), 3.3f}, one(4, 1.0f);
  const std::vector<float> rest{1.06f, 0.0f, 0.0f, 3.3f};
  const CastLimits limits = cast_limits(e4m3, {}, 1e9f);
  const ErrorSums with = error_sums(limits, {x.data(), one.data(), one.data(), nullptr, 4});
  const ErrorSums without = error_sums(limits, {rest.data(), one.data(), one.data(), nullptr, 4});
  EXPECT_TRUE(same(with, without));
  const MomentSums moments = moment_sums(x);
  EXPECT_EQ(moments.nans, 1u);
  EXPECT_EQ(moments.infs, 1u);
  EXPECT_EQ(moments.finite, 2u);
  EXPECT_EQ(bits_float(moments.smallest), 1.06f);
}

TEST(MomentSums, KnowTheSmallestMagnitudeThatIsNotZeroOnEveryInstructionSet) {
  const IsaGuard guard;
  std::mt19937 random(8);
  for (const std::size_t n : {1, 5, 16, 17, 63, 400})
    for (int round = 0; round < 50; ++round) {
      std::vector<float> x(n);
      std::uint32_t smallest = inf_bits;
      for (float& v : x) {
        const unsigned kind = random() % 8;
        v = kind == 0 ? 0.0f : kind == 1 ? -0.0f : kind == 2 ? bits_float(inf_bits) : kind == 3 ? std::nanf("")
            : kind == 4 ? bits_float(random() % 0x800000u) : bits_float(random() & 0xbfffffffu);
        if (is_finite(v) && v != 0.0f) smallest = std::min(smallest, float_bits(v) & magnitude_bits);
      }
      EXPECT_EQ(moment_sums_scalar(x).smallest, smallest) << n;
      for (const NamedIsa& target : isas) {
        if (!isa_supported(target.isa)) continue;
        set_isa(target.isa);
        EXPECT_EQ(moment_sums(x).smallest, smallest) << target.name << " " << n;
      }
    }
}

TEST(BlockMagnitudes, AreMaximaOfBitPatternsWithNanOnTop) {
  const IsaGuard guard;
  std::mt19937 random(4);
  const Row data(random, e4m3, 19 * 53, true);
  for (const NamedIsa& target : isas) {
    if (!isa_supported(target.isa)) continue;
    set_isa(target.isa);
    std::vector<std::uint32_t> columns(53), segments(4), above(53);
    for (const int rows : {1, 7, 8, 19}) {
      column_magnitudes(data.x.data(), rows, 53, columns.data());
      for (int c = 0; c < 53; ++c) {
        std::uint32_t largest = 0;
        for (int r = 0; r < rows; ++r) largest = std::max(largest, float_bits(data.x[r * 53 + c]) & magnitude_bits);
        EXPECT_EQ(columns[c], largest);
        above[c] = largest + (c % 3 - 1);
      }
      std::vector<std::uint32_t> raised = above;
      raise_magnitudes(columns.data(), 53, raised.data());
      for (int c = 0; c < 53; ++c) EXPECT_EQ(raised[c], std::max(columns[c], above[c]));
    }
    segment_magnitudes(columns.data(), 53, 16, segments.data());
    for (int k = 0; k < 4; ++k)
      EXPECT_EQ(segments[k], *std::max_element(columns.begin() + 16 * k,
                                               columns.begin() + std::min(16 * k + 16, 53)));
  }
}

}  // namespace
}  // namespace fp8scope
