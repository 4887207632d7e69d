// The loops of the GPU's GEMM emulation, run by the CPU, against sim/scaled_gemm.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <vector>

#include "cuda/device.hpp"
#include "cuda/gemm.hpp"
#include "cuda/gemm_run.hpp"
#include "sim/models.hpp"
#include "sim/philox.hpp"

namespace fp8scope {
namespace {

/// A product with random codes and scales.
struct Case {
  std::string model = "hopper_wgmma", a_format = "e4m3", b_format = "e4m3";
  std::int64_t m = 70, n = 133, k = 256, promote = 128, split_k = 1;
  ScaleOrder order = ScaleOrder::product;
  BlockShape block_a{1, 128}, block_b{128, 128};
  bool bf16_output = false, with_c = false, special = false;

  std::string text() const {
    return fmt::format("{} {} {} {}x{}x{} every {} order {} split {} special {}", model, a_format, b_format, m, n, k,
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
    fill(left, a, scale_a, 1, test.special), fill(right, b, scale_b, 2, test.special);
    if (test.with_c)
      for (std::int64_t i = 0; i < test.m * test.n; ++i)
        c.push_back(static_cast<float>(static_cast<std::int32_t>(random_bits(3, static_cast<std::uint64_t>(i)).value)) * 0x1p-20f);
    options = {parse_model(test.model, test.a_format, test.b_format), test.promote, test.order, test.bf16_output, test.split_k};
  }

 private:
  static void fill(ScaledMatrix& m, std::vector<std::uint16_t>& codes, std::vector<float>& scales, std::uint64_t seed, bool special) {
    for (std::int64_t i = 0; i < m.rows * m.k; ++i) {
      std::uint32_t word = random_bits(seed, static_cast<std::uint64_t>(i)).value;
      std::uint32_t code = word & 0xffu;
      // Sparse rows and narrow ones too: a step's largest exponent must not be the same everywhere.
      if (i / m.k % 3 == 1 && (word >> 8 & 3u) != 0) code &= 0x9fu;
      if (i / m.k % 5 == 2 && (word >> 12 & 3u) != 0) code &= 0x80u;
      if ((code & 0x7fu) > m.format.max_code() && !(special && i / m.k % 16 == 7)) code ^= 0x55u;
      if ((code & 0x7fu) > m.format.max_code() && !(special && i / m.k % 16 == 7)) code = 0;
      codes.push_back(static_cast<std::uint16_t>(code));
    }
    for (std::int64_t i = 0; i < m.grid().blocks(); ++i)
      scales.push_back(0.5f + static_cast<float>(random_bits(seed + 10, static_cast<std::uint64_t>(i)).value >> 8) * 0x1p-24f);
    m.codes = codes, m.scale_inv = scales;
  }
};

std::size_t mismatches(const Case& test) {
  const Data data(test);
  const auto size = static_cast<std::size_t>(test.m * test.n);
  std::vector<float> want(size), got(size);
  scaled_gemm(data.left, data.right, data.options, data.c, want);
  cuda::emulated_gemm_on_host(data.left, data.right, data.options, data.c, got);
  std::size_t differ = 0;
  for (std::size_t i = 0; i < size; ++i) differ += float_bits(want[i]) != float_bits(got[i]);
  return differ;
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

TEST(GpuGemmLoops, ChooseTheFastPathWhereItIsExact) {
  const auto path = [](const char* model) { return cuda::emulated_path(parse_model(model, "e4m3", "e4m3")); };
  EXPECT_EQ(path("hopper_wgmma"), cuda::EmulatedPath::floats);
  EXPECT_EQ(path("ada_mma"), cuda::EmulatedPath::floats);
  EXPECT_EQ(path("blackwell_tcgen05"), cuda::EmulatedPath::doubles);
  EXPECT_EQ(path("hopper_wgmma:f=15"), cuda::EmulatedPath::doubles);
  EXPECT_EQ(path("hopper_wgmma:cut=floor"), cuda::EmulatedPath::elements);
}

/// The control of all of the above: another model's words are told apart.
TEST(GpuGemmLoops, DifferForAnotherModel) {
  const Data data(Case{});
  Data other = Data(Case{});
  other.options.model.fraction_bits = 12;
  const std::size_t size = 70 * 133;
  std::vector<float> want(size), got(size);
  scaled_gemm(data.left, data.right, data.options, {}, want);
  cuda::emulated_gemm_on_host(other.left, other.right, other.options, {}, got);
  std::size_t differ = 0;
  for (std::size_t i = 0; i < size; ++i) differ += float_bits(want[i]) != float_bits(got[i]);
  EXPECT_GT(differ, size / 10);
}

TEST(GpuGemmLoops, RefuseWhatTheyDoNotCompute) {
  Case mx = with([](Case& t) { t.model = "blackwell_mxfp8", t.block_a = {1, 32}, t.block_b = {1, 32}; });
  const Data data(mx);
  EXPECT_NE(cuda::emulated_gemm_refusal(data.left, data.right, data.options), "");
  EXPECT_EQ(cuda::emulated_gemm_refusal(Data(Case{}).left, Data(Case{}).right, Data(Case{}).options), "");
}

TEST(GpuGemm, EqualsTheEmulatorOnTheDevice) {
  if (cuda::device_count() == 0) GTEST_SKIP() << "no GPU: " << cuda::why_none();
  for (const char* model : {"hopper_wgmma", "ada_mma", "blackwell_tcgen05"})
    for (const bool special : {false, true}) {
      const Case test = with([&](Case& t) { t.model = model, t.special = special, t.k = 1024, t.split_k = 2; });
      const Data data(test);
      std::vector<float> want(70 * 133), got(70 * 133);
      scaled_gemm(data.left, data.right, data.options, {}, want);
      cuda::emulated_gemm(data.left, data.right, data.options, {}, got);
      for (std::size_t i = 0; i < want.size(); ++i) ASSERT_EQ(float_bits(want[i]), float_bits(got[i])) << test.text() << " " << i;
    }
}

}  // namespace
}  // namespace fp8scope
