#include <fmt/format.h>
#include <gtest/gtest.h>

#include "sim/simd/isa.hpp"
#include "tests/gemm_fuzz.hpp"
#include "tests/same_bits.hpp"

namespace fp8scope {
namespace {

class GemmOn : public testing::TestWithParam<Isa> {
 protected:
  void SetUp() override {
    if (!isa_supported(GetParam())) GTEST_SKIP() << "this processor lacks " << isa_name(GetParam());
    set_isa(GetParam());
  }
  void TearDown() override { set_isa(Isa::automatic); }
};

TEST_P(GemmOn, EveryElementOfEveryModelIsDots) {
  std::mt19937 random(1);
  every_model([&](const ModelRow& row, const std::string& a, const std::string& b) {
    for (const Kinds kinds : all_kinds) {
      const std::size_t k = 1 + random() % 200;
      const Fuzz fuzz(row.model, format_called(a), format_called(b), {1 + random() % 40, 1 + random() % 80, k},
                      kinds, random);
      EXPECT_TRUE(same_bits(fuzz.by_dot(), fuzz.by_gemm()))
          << row.name << " " << a << " " << b << " " << row.output << " k=" << k << " kinds "
          << static_cast<int>(kinds) << (GemmPlan(fuzz.gemm).vectorised() ? " vectorised" : " by dot");
    }
  });
}

TEST_P(GemmOn, PromotionAddsTheSumsOfWholeChunks) {
  std::mt19937 random(2);
  for (const char* name : {"hopper_wgmma", "blackwell_tcgen05", "ada_mma", "exact"})
    for (const std::size_t every : {16, 24, 32, 64, 100, 128, 512})
      for (const std::size_t k : {1, 31, 128, 300, 640}) {
        Fuzz fuzz(find_model(name, "e4m3", "e4m3").model, e4m3, e4m3, {37, 70, k}, Kinds::normal, random);
        fuzz.gemm.promote_every = every;
        std::vector<float> want = fuzz.c;
        for (std::size_t first = 0; first < k; first += every) {
          // A chunk alone, from zero, is an ordinary product.
          Fuzz chunk = fuzz;
          chunk.gemm.promote_every = 0;
          chunk.gemm.c = nullptr;
          chunk.cut(first, std::min(every, k - first));
          const std::vector<float> partial = chunk.by_dot();
          for (std::size_t i = 0; i < want.size(); ++i) want[i] += partial[i];
        }
        EXPECT_TRUE(same_bits(want, fuzz.by_gemm())) << name << " N_C=" << every << " k=" << k;
        EXPECT_TRUE(same_bits(want, fuzz.by_dot())) << name << " N_C=" << every << " k=" << k;
      }
}

/// Doubles every partial sum, and writes down what it was given.
struct DoublingPromotion : Promotion {
  mutable std::vector<std::vector<std::size_t>> chunks;  // of every element
  std::size_t n;
  DoublingPromotion(std::size_t m, std::size_t columns) : chunks(m * columns), n(columns) {}
  void add(std::size_t chunk, std::size_t row, std::size_t column, std::size_t count, const float* partial,
           float* total) const override {
    for (std::size_t j = 0; j < count; ++j) {
      total[j] += 2.0f * partial[j];
      chunks[row * n + column + j].push_back(chunk);
    }
  }
};

TEST_P(GemmOn, APromotionOfTheCallersSeesEveryElementOfEveryChunkInOrder) {
  std::mt19937 random(3);
  Fuzz fuzz(find_model("hopper_wgmma", "e4m3", "e4m3").model, e4m3, e4m3, {130, 140, 1100}, Kinds::normal, random);
  fuzz.gemm.promote_every = 128;
  fuzz.gemm.c = nullptr;
  const std::vector<float> plain = fuzz.by_gemm();
  DoublingPromotion doubling(130, 140);
  fuzz.gemm.promotion = &doubling;
  std::vector<float> twice = fuzz.by_gemm();
  for (float& d : twice) d /= 2;
  EXPECT_TRUE(same_bits(plain, twice));
  for (const auto& seen : doubling.chunks) EXPECT_EQ(seen, (std::vector<std::size_t>{0, 1, 2, 3, 4, 5, 6, 7, 8}));
}

TEST_P(GemmOn, LargeProductsInManyTilesAreThoseOfOneTile) {
  std::mt19937 random(4);
  for (const auto& [name, format] : {std::pair{"hopper_wgmma", "e4m3"}, std::pair{"hopper_mma", "bf16"}}) {
    const Format f = parse_format(format);
    const Fuzz fuzz(find_model(name, format, format).model, f, f, {530, 600, 70}, Kinds::normal, random);
    const std::vector<float> one = fuzz.by_gemm();
    for (const int threads : {2, 16, 100}) {
      const GemmPlan plan(fuzz.gemm, threads);
      std::vector<float> d(one.size());
      GemmScratch scratch;
      for (std::size_t tile = plan.tiles(); tile-- > 0;) plan.run(tile, scratch, d.data());
      EXPECT_TRUE(same_bits(one, d)) << name << " " << plan.tiles() << " tiles";
    }
    EXPECT_TRUE(same_bits(one, fuzz.by_dot())) << name;
  }
}

TEST_P(GemmOn, CustomModelsOfAnyTermsAndFractionBitsAreDots) {
  std::mt19937 random(5);
  for (const int terms : {1, 3, 4, 8, 16, 32, 48, 64})
    for (const int f : {2, 7, 13, 14, 20, 25, 28, 33})
      for (const char* result : {"f32", "e8m13", "5"}) {
        const std::string text = "custom:terms=" + std::to_string(terms) + ":f=" + std::to_string(f) + ":result=" + result;
        const Model model = parse_model(text, "e4m3", "e4m3");
        for (const Kinds kinds : {Kinds::finite, Kinds::cancelling}) {
          const Fuzz fuzz(model, e4m3, e5m2, {9, 66, 150}, kinds, random);
          EXPECT_TRUE(same_bits(fuzz.by_dot(), fuzz.by_gemm())) << text;
        }
      }
}

TEST_P(GemmOn, AProductWithoutTermsIsOneStepOfC) {
  std::mt19937 random(6);
  const Fuzz fuzz(find_model("hopper_wgmma", "e4m3", "e4m3").model, e4m3, e4m3, {3, 5, 0}, Kinds::normal, random);
  const std::vector<float> d = fuzz.by_gemm();
  for (std::size_t i = 0; i < d.size(); ++i)
    EXPECT_EQ(float_bits(d[i]), float_bits(fuzz.c[i]) & 0xfffffc00u);
}

TEST(Gemm, TheModelsOfHardwareThatMatterHaveAVectorKernel) {
  for (const auto& [name, format] : {std::pair{"hopper_wgmma", "e4m3"}, {"hopper_wgmma", "e5m2"},
                                     {"ada_mma", "e4m3"}, {"blackwell_tcgen05", "e4m3"}, {"blackwell_mxfp8", "e4m3"},
                                     {"hopper_mma", "fp16"}, {"hopper_mma", "bf16"}, {"hopper_mma", "tf32"},
                                     {"volta_mma", "fp16"}, {"ampere_mma", "bf16"}, {"rtxblackwell_mma", "e2m1"}}) {
    const Format f = parse_format(format);
    EXPECT_TRUE(gemm_has_vector_kernel(find_model(name, format, format).model, f, f)) << name << " " << format;
  }
}

TEST(Gemm, RefusesAPromotionInsideABlockOfScales) {
  std::mt19937 random(7);
  Fuzz fuzz(find_model("blackwell_mxfp8", "e4m3", "e4m3").model, e4m3, e4m3, {2, 2, 64}, Kinds::normal, random);
  fuzz.gemm.promote_every = 48;
  EXPECT_THROW(GemmPlan(fuzz.gemm), std::invalid_argument);
}

TEST(Gemm, TenMillionDotProductsOverAllModelsAreDots) {
  std::mt19937 random(2);
  std::size_t compared = 0;
  for (int round = 0; compared < 10'000'000; ++round)
    for (const ModelRow& row : model_rows()) {
      if (row.inputs.empty() || row.output == "f64") continue;
      const auto inputs = words(row.inputs);
      const std::string &a = inputs[random() % inputs.size()], &b = inputs[random() % inputs.size()];
      const Kinds kinds = all_kinds[random() % std::size(all_kinds)];
      // Steps of the unit, whole and broken, one to three of them.
      const std::size_t k = 1 + random() % (3 * std::max(row.model.terms, 4));
      Fuzz fuzz(row.model, format_called(a), format_called(b), {96, 256, k}, kinds, random);
      const auto want = fuzz.by_dot();
      ASSERT_TRUE(same_bits(want, fuzz.by_gemm())) << row.name << " " << a << " " << b << " k=" << k << " round " << round;
      compared += want.size();
    }
  fmt::print("{} dot products\n", compared);
}

INSTANTIATE_TEST_SUITE_P(Isas, GemmOn, testing::Values(Isa::scalar, Isa::sse4, Isa::avx2, Isa::avx512),
                         [](const auto& info) { return std::string(isa_name(info.param)); });

}  // namespace
}  // namespace fp8scope
