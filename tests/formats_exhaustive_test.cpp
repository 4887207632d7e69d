// All 2^32 floats through sixteen encoders, against hashes of CUDA's and ml_dtypes' outputs, one for
// each exponent of each sign (golden/formats_exhaustive_hashes.json).
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <atomic>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <thread>

#include "sim/simd/cast.hpp"

namespace fp8scope {
namespace {

constexpr std::uint32_t chunk = 1u << 23;
constexpr std::uint32_t part = 1u << 14;

struct Encoder {
  const char* name;
  Format format;
  CastRule rule;
};

CastRule cuda(Rounding rounding, Overflow overflow) { return {.rounding = rounding, .overflow = overflow}; }

std::vector<Encoder> encoders() {
  constexpr auto rne = Rounding::nearest_even;
  constexpr auto sat = Overflow::saturate, nosat = Overflow::special;
  const auto named = [](const char* name) { return parse_format(name); };
  return {
      {"bf16_rne", bf16, cuda(rne, nosat)},
      {"f16_rne", fp16, cuda(rne, nosat)},
      {"e2m1_sat_rne", named("e2m1"), cuda(rne, sat)},
      {"e2m3_sat_rne", named("e2m3"), cuda(rne, sat)},
      {"e3m2_sat_rne", named("e3m2"), cuda(rne, sat)},
      {"e4m3fn_nosat_rne", e4m3, cuda(rne, nosat)},
      {"e4m3fn_sat_rne", e4m3, cuda(rne, sat)},
      {"e5m2_nosat_rne", e5m2, cuda(rne, nosat)},
      {"e5m2_sat_rne", e5m2, cuda(rne, sat)},
      {"e4m3fnuz_nosat_rne", named("e4m3fnuz"), ml_dtypes_rule(rne, nosat)},
      {"e4m3fnuz_sat_rne", named("e4m3fnuz"), ml_dtypes_rule(rne, sat)},
      {"e5m2fnuz_nosat_rne", named("e5m2fnuz"), ml_dtypes_rule(rne, nosat)},
      {"e5m2fnuz_sat_rne", named("e5m2fnuz"), ml_dtypes_rule(rne, sat)},
      {"e8m0_sat_rp", e8m0, cuda(Rounding::up, sat)},
      {"e8m0_sat_rz", e8m0, cuda(Rounding::toward_zero, sat)},
      {"e8m0_nosat_rne", e8m0, ml_dtypes_rule(Rounding::nearest_away, nosat)},
  };
}

/// FNV-1a of the codes of floats [first, first + chunk).
std::uint64_t hash_of_chunk(const Encoder& encoder, std::uint32_t first) {
  std::uint64_t hash = 0xcbf29ce484222325u;
  const auto add = [&](std::uint32_t byte) { hash = (hash ^ byte) * 0x100000001b3u; };
  const Format& f = encoder.format;
  std::vector<float> x(part);
  std::vector<std::uint8_t> codes(part);
  for (std::uint32_t begin = first, done = 0; done < chunk; done += part, begin += part) {
    for (std::uint32_t i = 0; i < part; ++i) x[i] = bits_float(begin + i);
    if (f.bits() <= 8 && f.is_signed()) {
      encode_span(f, encoder.rule, x, codes);
      for (const std::uint8_t code : codes) add(code);
      continue;
    }
    for (const float v : x) {
      std::uint32_t code = encode(f, v, encoder.rule);
      // ml_dtypes rounds up just above the smallest E8M0, which is not nearest.
      if (f == e8m0 && encoder.rule.rounding == Rounding::nearest_away && v > pow2(-127) && v < 1.5f * pow2(-127))
        code = 1;
      add(code & 0xff);
      if (f.bits() > 8) add(code >> 8);
    }
  }
  return hash;
}

TEST(FormatsExhaustive, EveryFloatHasTheCodeOfCudaAndMlDtypes) {
  const std::string path = std::string(FP8SCOPE_GOLDEN) + "/formats_exhaustive_hashes.json";
  if (!std::filesystem::exists(path)) GTEST_SKIP() << path << " is not at hand";
  const nlohmann::json sets = nlohmann::json::parse(std::ifstream(path)).at("sets");
  const std::vector<Encoder> all = encoders();
  ASSERT_EQ(sets.size(), all.size());
  for (const Encoder& encoder : all) {
    const auto& want = sets.at(encoder.name).at("fnv1a64_chunks");
    ASSERT_EQ(want.size(), (std::uint64_t{1} << 32) / chunk) << encoder.name;
    std::vector<std::uint64_t> got(want.size());
    std::atomic<std::size_t> next{0};
    const auto work = [&] {
      for (std::size_t c; (c = next++) < got.size();)
        got[c] = hash_of_chunk(encoder, static_cast<std::uint32_t>(c * chunk));
    };
    std::thread other(work);
    work();
    other.join();
    for (std::size_t c = 0; c < got.size(); ++c)
      EXPECT_EQ(fmt::format("{:016x}", got[c]), want[c].get<std::string>())
          << encoder.name << fmt::format(", floats 0x{:08x} and on", c * chunk);
  }
}

}  // namespace
}  // namespace fp8scope
