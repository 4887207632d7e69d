// The fast code of sim/cast_plan.hpp against encode(): every format of at most 8 bits, every edge.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cmath>

#include "sim/cast_plan.hpp"
#include "sim/narrow.hpp"
#include "sim/philox.hpp"

namespace fp8scope {
namespace {

std::vector<Format> small_formats() {
  std::vector<Format> all;
  for (const NamedFormat& row : formats)
    if (row.format.bits() <= 8 && row.format.is_signed()) all.push_back(row.format);
  for (const char* name : {"e2m5", "e6m1", "e2m2fn", "e3m4finite", "e4m3b60", "e2m1fnuz"}) all.push_back(parse_format(name));
  return all;
}

/// Both sides of every value and every middle, specials, random patterns.
std::vector<float> inputs(const Format& f) {
  std::vector<float> x;
  const auto add = [&](float v) {
    for (const float near : {std::nextafter(v, -INFINITY), v, std::nextafter(v, INFINITY)}) x.push_back(near), x.push_back(-near);
  };
  for (const std::uint32_t bits : {0u, 1u, 0x7fffffu, 0x800000u, 0x7f7fffffu, 0x7f800000u, 0x7f800001u, 0x7fc00000u})
    x.push_back(bits_float(bits)), x.push_back(bits_float(bits | 0x80000000u));
  for (std::uint32_t code = 0; code < f.max_code(); ++code) {
    const float low = decode(f, code), high = decode(f, code + 1);
    add(low), add(low / 2 + high / 2), add(high), add(high * 1.05f);
  }
  for (std::uint64_t i = 0; i < 20000; ++i) x.push_back(bits_float(random_bits(9, i).value));
  return x;
}

TEST(CastPlan, NearestIsEncode) {
  for (const Format& f : small_formats())
    for (const Overflow overflow : {Overflow::saturate, Overflow::special})
      for (const CastRule& rule : {CastRule{Rounding::nearest_even, overflow}, ml_dtypes_rule(Rounding::nearest_even, overflow),
                                   CastRule{Rounding::nearest_even, overflow, InfRule::special, NanRule::all_ones_signed}}) {
        const CastPlan plan = make_plan(f, rule);
        ASSERT_TRUE(plan.vectorised) << format_name(f);
        for (const float x : inputs(f))
          ASSERT_EQ(encode_nearest(plan, x), encode(f, x, rule)) << fmt::format("{} {:08x}", format_name(f), float_bits(x));
      }
}

TEST(CastPlan, StochasticIsEncode) {
  for (const Format& f : small_formats())
    for (const InfRule inf : {InfRule::max, InfRule::special}) {
      CastRule rule;
      rule.rounding = Rounding::stochastic, rule.inf = inf;
      const CastPlan plan = make_plan(f, rule);
      ASSERT_TRUE(plan.stochastic && !plan.vectorised) << format_name(f);
      std::uint64_t i = 0;
      for (const float x : inputs(f))
        for (const std::uint32_t random : {0u, 1u, 0x7fffffffu, 0x80000000u, 0xffffffffu, random_bits(1, i++).value})
          ASSERT_EQ(encode_stochastic(plan, x, random), encode(f, x, rule, {random, 32}))
              << fmt::format("{} {:08x} {:08x}", format_name(f), float_bits(x), random);
    }
}

TEST(CastPlan, WhatDependsOnMoreThanTheCodeIsLeftToEncode) {
  EXPECT_FALSE(make_plan(e4m3, {Rounding::stochastic, Overflow::special}).stochastic);
  EXPECT_FALSE(make_plan(e4m3, {Rounding::up}).vectorised);
  EXPECT_FALSE(make_plan(bf16, {}).vectorised);
}

TEST(Narrow, EveryPatternDecodesToItsValue) {
  const auto same = [](float a, float b) { return is_nan(a) ? is_nan(b) : float_bits(a) == float_bits(b); };
  for (std::uint32_t bits = 0; bits < 0x10000u; ++bits) {
    ASSERT_TRUE(same(decode(bf16, bits), bf16_value(bits))) << bits;
    ASSERT_TRUE(same(decode(fp16, bits), fp16_value(bits))) << bits;
    ASSERT_EQ(float_bits(fp16_value(bits)) >> 31, bits >> 15);
  }
}

}  // namespace
}  // namespace fp8scope
