// The conversions against outputs of ml_dtypes, CUDA's host headers and gfloat (golden/formats.h5).
#include <gtest/gtest.h>

#include <cmath>
#include <map>

#include "sim/convert.hpp"
#include "tests/golden.hpp"
#include "tests/same_bits.hpp"

namespace fp8scope {
namespace {

/// The file names formats as ml_dtypes does: its e4m3 is the IEEE one.
Format format_of(const std::string& name) {
  static const std::map<std::string, std::string> other{{"e4m3fn", "e4m3"},
                                                        {"e4m3", "e4m3_ieee"},
                                                        {"e8m0fnu", "e8m0"},
                                                        {"f16", "fp16"},
                                                        {"e5m6_ieee", "e5m6"}};
  const auto found = other.find(name);
  return parse_format(found == other.end() ? name : found->second);
}

const std::map<std::string, Rounding> rounding_names{
    {"rne", Rounding::nearest_even}, {"rz", Rounding::toward_zero}, {"rna", Rounding::nearest_away},
    {"rp", Rounding::up},            {"rn", Rounding::down},        {"ro", Rounding::to_odd}};

/// "e5m6_ieee_sat_rne" taken apart.
struct Encoder {
  Format format;
  bool saturates = false;
  Rounding rounding;

  explicit Encoder(const std::string& name) {
    const std::size_t last = name.rfind('_');
    rounding = rounding_names.at(name.substr(last + 1));
    std::string rest = name.substr(0, last);
    if (rest.ends_with("_nosat")) rest.resize(rest.size() - 6);
    else if (rest.ends_with("_sat")) rest.resize(rest.size() - 4), saturates = true;
    format = format_of(rest);
  }
  Overflow overflow() const { return saturates ? Overflow::saturate : Overflow::special; }
};

std::vector<std::uint32_t> read_words(const h5::Group& golden, const std::string& path) {
  const auto values = golden.dataset(path).values<std::int64_t>();
  return {values.begin(), values.end()};
}

struct Source {
  std::vector<float> x;
  explicit Source(const h5::Group& golden) {
    for (const std::uint32_t word : read_words(golden, "inputs_f32_bits"))
      x.push_back(bits_float(word));
  }
};

TEST(FormatsGolden, EncodeAsCudasHostHeaders) {
  FP8SCOPE_OPEN_GOLDEN(golden, "formats.h5");
  const Source source(golden);
  int checked = 0;
  for (const h5::Entry& entry : golden.group("encode/cuda_header").entries()) {
    const Encoder encoder(entry.name);
    const CastRule rule{.rounding = encoder.rounding, .overflow = encoder.overflow()};
    std::vector<std::uint32_t> got;
    for (const float x : source.x) got.push_back(encode(encoder.format, x, rule));
    EXPECT_TRUE(same_bits(read_words(golden, "encode/cuda_header/" + entry.name), got))
        << entry.name;
    ++checked;
  }
  EXPECT_EQ(checked, 16);
}

/// What ml_dtypes gives, also where it leaves its own rule; see the comments.
std::uint32_t ml_dtypes_code(const Encoder& encoder, float x) {
  const Format& f = encoder.format;
  const bool nearest = encoder.rounding == Rounding::nearest_even;
  // E8M0 just above its smallest value: up, which is not nearest. Its ties go up, always.
  if (f == e8m0 && nearest && x > pow2(-127) && x < 1.5f * pow2(-127)) return 1;
  const Rounding rounding = f == e8m0 && nearest ? Rounding::nearest_away : encoder.rounding;
  const CastRule rule = ml_dtypes_rule(rounding, encoder.overflow());
  // Truncation without saturation: special from the next step of the grid on, where IEEE 754 and
  // this program stay at MAX.
  if (rounding == Rounding::toward_zero && !encoder.saturates && f.is_signed() && f.has_nan() &&
      std::fabs(x) >= f.max_value() + pow2(f.max_exponent() - f.mantissa_bits))
    return encode(f, std::copysign(INFINITY, x), rule);
  // Its half is Eigen's, compiled to F16C, which keeps the payload of a NaN.
  if (f == fp16 && is_nan(x)) return encode(f, x, rule) | (float_bits(x) & 0x7fffffu) >> 13;
  return encode(f, x, rule);
}

TEST(FormatsGolden, EncodeAsMlDtypesWithItsOddities) {
  FP8SCOPE_OPEN_GOLDEN(golden, "formats.h5");
  const Source source(golden);
  int checked = 0;
  for (const h5::Entry& entry : golden.group("encode/ml_dtypes").entries()) {
    const Encoder encoder(entry.name);
    std::vector<std::uint32_t> got;
    for (const float x : source.x) got.push_back(ml_dtypes_code(encoder, x));
    EXPECT_TRUE(same_bits(read_words(golden, "encode/ml_dtypes/" + entry.name), got))
        << entry.name;
    ++checked;
  }
  EXPECT_EQ(checked, 34);
}

TEST(FormatsGolden, EncodeAsGfloatInEveryRoundingMode) {
  FP8SCOPE_OPEN_GOLDEN(golden, "formats.h5");
  const Source source(golden);
  int checked = 0;
  for (const h5::Entry& entry : golden.group("encode/gfloat").entries()) {
    const Encoder encoder(entry.name);
    const Format& f = encoder.format;
    const CastRule rule{.rounding = encoder.rounding, .overflow = encoder.overflow()};
    // The TF32 files hold rounded binary32 patterns; there gfloat passes a NaN's bits on.
    const bool as_float = entry.name.starts_with("tf32");
    std::vector<std::uint32_t> got;
    for (const float x : source.x) {
      const std::uint32_t code = encode(f, x, rule);
      if (is_nan(x))  // otherwise it has one NaN code, with every bit set
        got.push_back(as_float ? float_bits(x) | 0x00400000u : low_mask(f.bits()));
      else
        got.push_back(as_float ? float_bits(decode(f, code)) : code);
    }
    EXPECT_TRUE(same_bits(read_words(golden, "encode/gfloat/" + entry.name), got)) << entry.name;
    ++checked;
  }
  EXPECT_EQ(checked, 18);
}

/// What a stochastic dataset's name says: "e4m3fn_sat_StochasticFast_n16".
struct StochasticEncoder {
  Format format;
  std::string mode;
  int bits;

  explicit StochasticEncoder(const std::string& name) {
    const std::size_t sat = name.find("_sat_"), count = name.rfind("_n");
    format = format_of(name.substr(0, sat));
    mode = name.substr(sat + 5, count - sat - 5);
    bits = std::stoi(name.substr(count + 2));
  }

  std::uint32_t code(float x, std::uint32_t random) const {
    const CastRule rule{.rounding = Rounding::stochastic};
    // Up if dropped part + (random + 1/2) / 2^bits >= 1: one more random bit, which is 1.
    if (mode == "StochasticFast") return encode(format, x, rule, {2 * random + 1, bits + 1});
    if (mode == "Stochastic") {
      // The dropped part is first rounded to `bits` bits, as a longer mantissa does.
      Format longer = format;
      longer.mantissa_bits += bits;
      x = decode(longer, encode(longer, x, {}));
    }
    return encode(format, x, rule, {random, bits});
  }
};

TEST(FormatsGolden, RoundStochasticallyInGfloatsThreeModes) {
  FP8SCOPE_OPEN_GOLDEN(golden, "formats.h5");
  const auto inputs = read_words(golden, "encode/stochastic/inputs_f32_bits");
  std::map<std::string, int> checked;
  for (const h5::Entry& entry : golden.group("encode/stochastic/gfloat").entries()) {
    const StochasticEncoder encoder(entry.name);
    const auto random =
        read_words(golden, "encode/stochastic/random_bits_" + std::to_string(encoder.bits));
    std::vector<std::uint32_t> got;
    for (std::size_t i = 0; i < inputs.size(); ++i)
      got.push_back(encoder.code(bits_float(inputs[i]), random[i]));
    EXPECT_TRUE(same_bits(read_words(golden, "encode/stochastic/gfloat/" + entry.name), got))
        << entry.name;
    ++checked[encoder.mode];
  }
  EXPECT_EQ(checked, (std::map<std::string, int>{
                         {"Stochastic", 3}, {"StochasticFast", 6}, {"StochasticFastest", 4}}));
}

TEST(FormatsGolden, DecodeEveryCode) {
  FP8SCOPE_OPEN_GOLDEN(golden, "formats.h5");
  int checked = 0;
  for (const h5::Entry& entry : golden.group("decode").entries()) {
    const Format f = format_of(entry.name);
    const auto want = read_words(golden, "decode/" + entry.name);
    std::vector<std::uint32_t> got;
    ASSERT_EQ(want.size(), f.codes());
    for (std::uint32_t code = 0; code < f.codes(); ++code) {
      const float value = decode(f, code);
      // E5M6 is gfloat's, whose NaNs are all positive; the others are ml_dtypes'.
      const bool unsigned_nan = entry.name == "e5m6_ieee" && is_nan(value);
      got.push_back(float_bits(value) & (unsigned_nan ? magnitude_bits : 0xffffffffu));
    }
    EXPECT_TRUE(same_bits(want, got)) << entry.name;
    ++checked;
  }
  EXPECT_EQ(checked, 12);
}

}  // namespace
}  // namespace fp8scope
