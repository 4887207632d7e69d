// The loops of the GPU's GEMM emulation, run by the CPU, against sim/scaled_gemm.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <vector>

#include "cuda/device.hpp"
#include "cuda/gemm.hpp"
#include "cuda/gemm_run.hpp"
#include "sim/convert.hpp"
#include "sim/models.hpp"
#include "sim/philox.hpp"

namespace fp8scope {
namespace {

/// A product with random codes and scales.
struct Case {
  std::string model = "hopper_wgmma", a_format = "e4m3", b_format = "e4m3", output = "f32";
  std::int64_t m = 70, n = 133, k = 256, promote = 128, split_k = 1;
  ScaleOrder order = ScaleOrder::product;
  BlockShape block_a{1, 128}, block_b{128, 128};
  bool bf16_output = false, with_c = false, special = false;

  std::string text() const {
    return fmt::format("{} {} {} {} {}x{}x{} every {} order {} split {} special {}", model, a_format, b_format, output, m, n, k,
                       promote, static_cast<int>(order), split_k, special);
  }
};

struct Data {
  std::vector<std::uint16_t> a, b;
  std::vector<float> scale_a, scale_b, c;
  ScaledMatrix left, right;
  ScaledGemmOptions options;

  explicit Data(const Case& test)
      : left{parse_format(test.a_format), test.m, test.k, {}, test.block_a, {}},
        right{parse_format(test.b_format), test.n, test.k, {}, test.block_b, {}} {
    options = {parse_model(test.model, test.a_format, test.b_format, test.output), test.promote, test.order, test.bf16_output, test.split_k};
    fill(left, a, scale_a, 1, test.special), fill(right, b, scale_b, 2, test.special);
    if (test.with_c)
      for (std::int64_t i = 0; i < test.m * test.n; ++i)
        c.push_back(static_cast<float>(static_cast<std::int32_t>(random_bits(3, static_cast<std::uint64_t>(i)).value)) * 0x1p-20f);
  }

 private:
  void fill(ScaledMatrix& m, std::vector<std::uint16_t>& codes, std::vector<float>& scales, std::uint64_t seed, bool special) {
    for (std::int64_t i = 0; i < m.rows * m.k; ++i) {
      std::uint32_t word = random_bits(seed, static_cast<std::uint64_t>(i)).value;
      std::uint32_t code = word & (m.format.codes() - 1u);
      // Sparse rows and narrow ones too: a step's largest exponent must not be the same everywhere.
      if (i / m.k % 3 == 1 && (word >> 8 & 3u) != 0) code &= m.format.codes() == 256 ? 0x9fu : m.format.sign_bit() | 3u;
      if (i / m.k % 5 == 2 && (word >> 12 & 3u) != 0) code &= m.format.sign_bit();
      const std::uint32_t magnitude = m.format.magnitude_mask();
      if ((code & magnitude) > m.format.max_code() && !(special && i / m.k % 16 == 7)) code ^= 0x55u;
      if ((code & magnitude) > m.format.max_code() && !(special && i / m.k % 16 == 7)) code = 0;
      codes.push_back(static_cast<std::uint16_t>(code));
    }
    for (std::int64_t i = 0; i < m.grid().blocks(); ++i)
      scales.push_back(options.model.scale_block > 0 ? unit_scale(random_bits(seed + 10, static_cast<std::uint64_t>(i)).value, special && i % 37 == 5) : 0.5f + static_cast<float>(random_bits(seed + 10, static_cast<std::uint64_t>(i)).value >> 8) * 0x1p-24f);
    m.codes = codes, m.scale_inv = scales;
  }

  /// A scale that the unit takes: mostly near 1, some at both ends of the format, some zero.
  float unit_scale(std::uint32_t word, bool nan) const {
    if (nan) return bits_float(0x7fc00000u);
    const Format& f = options.model.scale_format;
    const std::uint32_t one = static_cast<std::uint32_t>(f.bias) << f.mantissa_bits, code = word >> 8 & 0xffu;
    if (word % 8 == 0) return decode(f, std::min(code & f.magnitude_mask(), f.max_code()));
    return decode(f, one + code % 16);
  }
};

/// Words of the emulator on one product that the loops give otherwise on another.
std::size_t different_words(const Data& emulator, const Data& loops) {
  const auto size = static_cast<std::size_t>(emulator.left.rows * emulator.right.rows);
  std::vector<float> want(size), got(size);
  scaled_gemm(emulator.left, emulator.right, emulator.options, emulator.c, want);
  cuda::emulated_gemm_on_host(loops.left, loops.right, loops.options, loops.c, got);
  std::size_t differ = 0;
  for (std::size_t i = 0; i < size; ++i) differ += float_bits(want[i]) != float_bits(got[i]);
  return differ;
}

std::size_t mismatches(const Case& test) {
  const Data data(test);
  return different_words(data, data);
}

Case with(auto change) {
  Case c;
  change(c);
  return c;
}

TEST(GpuGemmLoops, EqualTheEmulatorForEveryFp8Model) {
  for (const char* model : {"hopper_wgmma", "ada_mma", "blackwell_tcgen05", "rtxblackwell_mma", "rtxblackwell_mma_k16"})
    for (const char* a : {"e4m3", "e5m2"})
      for (const char* b : {"e4m3", "e5m2"}) {
        const Case c = with([&](Case& t) { t.model = model, t.a_format = a, t.b_format = b; });
        EXPECT_EQ(mismatches(c), 0u) << c.text();
      }
}

TEST(GpuGemmLoops, EqualTheEmulatorForEveryOrderIntervalAndPart) {
  for (const ScaleOrder order : {ScaleOrder::product, ScaleOrder::first_a, ScaleOrder::first_b})
    for (const std::int64_t promote : {32, 64, 128})
      for (const std::int64_t split : {1, 3}) {
        const Case c = with([&](Case& t) { t.order = order, t.promote = promote, t.split_k = split, t.k = 384; });
        EXPECT_EQ(mismatches(c), 0u) << c.text();
      }
}

TEST(GpuGemmLoops, EqualTheEmulatorWithOneScaleAndWithoutPromotion) {
  for (const char* model : {"hopper_wgmma", "ada_mma", "blackwell_tcgen05"})
    for (const std::int64_t promote : {0, 96, 48}) {
      Case c = with([&](Case& t) {
        t.model = model, t.promote = promote, t.block_a = t.block_b = {}, t.order = ScaleOrder::plain;
        t.k = 401, t.split_k = 2, t.with_c = true, t.bf16_output = promote == 96;
      });
      if (promote == 48 && c.model != "ada_mma") continue;
      EXPECT_EQ(mismatches(c), 0u) << c.text();
    }
}

TEST(GpuGemmLoops, EqualTheEmulatorWhereRowsHoldNanAndInfinity) {
  for (const char* format : {"e4m3", "e5m2"})
    for (const char* model : {"hopper_wgmma", "blackwell_tcgen05"}) {
      const Case c = with([&](Case& t) { t.model = model, t.a_format = t.b_format = format, t.special = true, t.k = 128; });
      EXPECT_EQ(mismatches(c), 0u) << c.text();
    }
}

TEST(GpuGemmLoops, EqualTheEmulatorForCustomModels) {
  for (const char* model : {"custom:terms=8:f=14:result=20", "custom:terms=32:f=25:round=nearest", "custom:terms=4:f=13:result=13",
                            "custom:terms=16:f=12:cut=floor", "custom:terms=32:f=11:result=11:round=nearest", "custom:f=13:floor=3"}) {
    const Case c = with([&](Case& t) { t.model = model, t.m = 30, t.n = 40; });
    EXPECT_EQ(mismatches(c), 0u) << c.text();
  }
}

/// Binary16 accumulators: subnormal sums, infinity, ties to even.
TEST(GpuGemmLoops, EqualTheEmulatorForBinary16Accumulators) {
  for (const char* model : {"hopper_wgmma", "ada_mma", "blackwell_tcgen05", "rtxblackwell_mma", "rtxblackwell_mma_k16"})
    for (const char* format : {"e4m3", "e5m2"})
      for (const std::int64_t promote : {0, 128}) {
        const Case c = with([&](Case& t) {
          t.model = model, t.output = "f16", t.a_format = format, t.promote = promote, t.special = promote == 128;
          if (promote == 0) t.block_a = t.block_b = {}, t.order = ScaleOrder::plain;
        });
        EXPECT_EQ(mismatches(c), 0u) << c.text();
      }
}

constexpr const char* narrow_formats[] = {"e4m3", "e5m2", "e2m3", "e3m2", "e2m1"};

TEST(GpuGemmLoops, EqualTheEmulatorForEveryPairOfFp8Fp6AndFp4) {
  for (const char* a : narrow_formats)
    for (const char* b : narrow_formats)
      for (const char* output : {"f32", "f16"}) {
        const Case c = with([&](Case& t) { t.model = "blackwell_tcgen05", t.a_format = a, t.b_format = b, t.output = output; });
        EXPECT_EQ(mismatches(c), 0u) << c.text();
      }
}

Case block_scaled(const char* model, const char* a, const char* b, std::int64_t block) {
  return with([&](Case& t) { t.model = model, t.a_format = a, t.b_format = b, t.block_a = t.block_b = {1, block}, t.promote = 0, t.order = ScaleOrder::plain; });
}

TEST(GpuGemmLoops, EqualTheEmulatorWithScalesOf32ElementsInTheUnit) {
  for (const char* model : {"blackwell_mxfp8", "rtxblackwell_mxfp8"})
    for (const char* a : narrow_formats)
      for (const char* b : narrow_formats) {
        const Case c = block_scaled(model, a, b, 32);
        EXPECT_EQ(mismatches(c), 0u) << c.text();
      }
  for (const std::int64_t promote : {0, 64})
    for (const bool special : {false, true}) {
      Case c = block_scaled("blackwell_mxfp8", "e4m3", "e5m2", 32);
      c.promote = promote, c.special = special, c.k = 401, c.split_k = 3, c.with_c = true, c.bf16_output = promote == 64;
      EXPECT_EQ(mismatches(c), 0u) << c.text();
    }
}

TEST(GpuGemmLoops, EqualTheEmulatorForScaledFourBitFormats) {
  for (const char* model : {"blackwell_mxfp4", "blackwell_nvfp4", "rtxblackwell_nvfp4", "blackwell_nvfp4:window=elements", "blackwell_mxfp4:f=30"})
    for (const std::int64_t k : {256, 401})
      for (const bool special : {false, true}) {
        Case c = block_scaled(model, "e2m1", "e2m1", std::string(model).find("nvfp4") != std::string::npos ? 16 : 32);
        c.k = k, c.split_k = k == 401 ? 2 : 1, c.promote = special ? 128 : 0, c.special = special;
        EXPECT_EQ(mismatches(c), 0u) << c.text();
      }
}

TEST(GpuGemmLoops, ChooseTheFastPathWhereItIsExact) {
  const auto path = [](const char* model, const char* output = "f32", const char* format = "e4m3") {
    return cuda::emulated_path(parse_model(model, format, format, output), parse_format(format), parse_format(format));
  };
  EXPECT_EQ(path("hopper_wgmma", "f16"), cuda::EmulatedPath::whole_floats);
  EXPECT_EQ(path("ada_mma", "f16"), cuda::EmulatedPath::whole_floats);
  EXPECT_EQ(path("blackwell_tcgen05", "f16"), cuda::EmulatedPath::whole_doubles);
  EXPECT_EQ(path("blackwell_mxfp8"), cuda::EmulatedPath::whole_doubles);
  EXPECT_EQ(path("blackwell_mxfp4", "f32", "e2m1"), cuda::EmulatedPath::groups);
  EXPECT_EQ(path("blackwell_nvfp4", "f32", "e2m1"), cuda::EmulatedPath::groups);
  EXPECT_EQ(path("blackwell_nvfp4:window=elements", "f32", "e2m1"), cuda::EmulatedPath::elements);
  EXPECT_EQ(path("hopper_wgmma:zero_sign=positive", "f16"), cuda::EmulatedPath::elements);
  EXPECT_EQ(path("hopper_wgmma"), cuda::EmulatedPath::floats);
  EXPECT_EQ(path("ada_mma"), cuda::EmulatedPath::floats);
  EXPECT_EQ(path("blackwell_tcgen05"), cuda::EmulatedPath::doubles);
  EXPECT_EQ(path("hopper_wgmma:f=15"), cuda::EmulatedPath::doubles);
  EXPECT_EQ(path("hopper_wgmma:cut=floor"), cuda::EmulatedPath::elements);
}

/// The control of all of the above: another model's words are told apart, on every path.
TEST(GpuGemmLoops, DifferForAnotherModel) {
  const Case cases[] = {Case{}, with([](Case& t) { t.output = "f16", t.model = "ada_mma"; }), block_scaled("blackwell_mxfp8", "e4m3", "e4m3", 32),
                        block_scaled("blackwell_nvfp4", "e2m1", "e2m1", 16)};
  for (const Case& c : cases) {
    const Data data(c);
    Data other = Data(c);
    other.options.model.fraction_bits -= c.output == "f16" || c.a_format == "e2m1" ? 12 : 1;
    EXPECT_GT(different_words(data, other), 70u * 133 / 50) << c.text();
  }
}

/// Faults of one place: a scale of one step up, the zero's sign, rounding for truncation.
TEST(GpuGemmLoops, DifferForOneScaleOneBitOrAnotherRounding) {
  Case c = block_scaled("blackwell_mxfp8", "e4m3", "e4m3", 32);
  const Data data(c);
  Data other = Data(c);
  other.scale_a[5] = other.scale_a[5] * 2.0f;
  EXPECT_GT(different_words(data, other), 0u);
  Data nearest = Data(c);
  nearest.options.model.result.nearest = true;
  EXPECT_GT(different_words(data, nearest), 70u * 133 / 10);
  c = with([](Case& t) { t.output = "f16"; });
  Data cut = Data(c);
  cut.options.model.result.nearest = false;
  EXPECT_GT(different_words(Data(c), cut), 70u * 133 / 10);
}

TEST(GpuGemmLoops, RefuseWhatTheyDoNotCompute) {
  const Data lowered(with([](Case& t) { t.model = "sm90_mma_fp8_lowering"; }));
  EXPECT_NE(cuda::emulated_gemm_refusal(lowered.left, lowered.right, lowered.options), "");
  const Data half(with([](Case& t) { t.a_format = t.b_format = "fp16"; }));
  EXPECT_NE(cuda::emulated_gemm_refusal(half.left, half.right, half.options), "");
  const Data data(Case{});
  EXPECT_EQ(cuda::emulated_gemm_refusal(data.left, data.right, data.options), "");
  Data scales(block_scaled("blackwell_mxfp8", "e4m3", "e4m3", 32));
  scales.scale_b[3] = 1.5f;
  std::vector<float> d(70 * 133);
  EXPECT_THROW(cuda::emulated_gemm_on_host(scales.left, scales.right, scales.options, {}, d), std::invalid_argument);
}

TEST(GpuGemm, EqualsTheEmulatorOnTheDevice) {
  if (cuda::device_count() == 0) GTEST_SKIP() << "no GPU: " << cuda::why_none();
  std::vector<Case> cases;
  for (const bool special : {false, true}) {
    for (const char* model : {"hopper_wgmma", "ada_mma", "blackwell_tcgen05"})
      for (const char* output : {"f32", "f16"})
        cases.push_back(with([&](Case& t) { t.model = model, t.output = output, t.special = special, t.k = 1024, t.split_k = 2; }));
    for (Case c : {block_scaled("blackwell_mxfp8", "e4m3", "e5m2", 32), block_scaled("blackwell_mxfp4", "e2m1", "e2m1", 32), block_scaled("blackwell_nvfp4", "e2m1", "e2m1", 16)})
      c.special = special, cases.push_back(c);
  }
  for (const Case& test : cases) {
    const Data data(test);
    std::vector<float> want(70 * 133), got(70 * 133);
    scaled_gemm(data.left, data.right, data.options, {}, want);
    cuda::emulated_gemm(data.left, data.right, data.options, {}, got);
    for (std::size_t i = 0; i < want.size(); ++i) ASSERT_EQ(float_bits(want[i]), float_bits(got[i])) << test.text() << " " << i;
  }
}

}  // namespace
}  // namespace fp8scope
