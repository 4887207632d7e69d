// Synthetic tensors and injected outliers: their distribution, their bits, their labels.
#include "src/import/synth.hpp"

#include <gtest/gtest.h>

#include <cmath>

#include "src/command.hpp"
#include "src/errors.hpp"
#include "src/sha256.hpp"
#include "src/trace.hpp"
#include "tests/run_trace.hpp"
#include "tests/temporary_folder.hpp"

namespace fp8scope {
namespace {

TEST(Quantile, OfTheNormalDistributionInvertsErfc) {
  for (double p = 0x1p-33; p < 1.0; p = p < 1e-3 ? p * 1.7 : p + 1e-3) {
    const double x = quantile(Distribution::normal, p);
    EXPECT_NEAR(0.5 * std::erfc(-x / std::sqrt(2.0)) / p, 1.0, 1e-13 * std::max(1.0, x * x)) << p;
  }
  EXPECT_EQ(quantile(Distribution::normal, 0.5), 0.0);
}

TEST(Quantile, HasMeanZeroAndVarianceOne) {
  for (const NamedDistribution& row : distributions) {
    double sum = 0, square = 0;
    constexpr int n = 1 << 16;
    for (int i = 0; i < n; ++i) {
      const double x = quantile(row.distribution, (i + 0.5) / n);
      sum += x, square += x * x;
    }
    EXPECT_NEAR(sum / n, 0.0, 1e-9) << row.name;
    EXPECT_NEAR(square / n, 1.0, 1e-3) << row.name;
  }
}

TEST(TensorStream, DependsOnSeedNameStepAndPositionAlone) {
  std::vector<float> whole(1000), part(300);
  TensorStream(1, "L00/x", 2).fill(Distribution::normal, 1.0, 0, whole);
  TensorStream(1, "L00/x", 2).fill(Distribution::normal, 1.0, 501, part);
  EXPECT_TRUE(std::equal(part.begin(), part.end(), whole.begin() + 501));
  for (const TensorStream& other : {TensorStream(2, "L00/x", 2), TensorStream(1, "L00/w", 2), TensorStream(1, "L00/x", 3)}) {
    other.fill(Distribution::normal, 1.0, 501, part);
    EXPECT_FALSE(std::equal(part.begin(), part.end(), whole.begin() + 501));
  }
}

/// The same on every processor, compiler and set of instructions.
TEST(TensorStream, GivesTheRecordedBits) {
  std::vector<float> values(1 << 16);
  Sha256 hash;
  for (const NamedDistribution& row : distributions) {
    TensorStream(7, "L00/x", 0).fill(row.distribution, 0.02, 0, values);
    hash.add(values.data(), values.size() * sizeof(float));
  }
  EXPECT_EQ(hash.hex(), "4aefd57104abb07b40101d56ee8c986099b141aa3ee603c1c3971c61b3cad905");
}

TEST(Outliers, AreTheShareAskedFor) {
  std::vector<float> ones(64 * 200, 1.0f);
  const auto hits = [&](const char* spec) {
    std::vector<float> values = ones;
    Outliers(parse_outliers(spec), 3, "L/x", 1, 64, 200).inject(0, 64, values.data());
    return std::ranges::count(values, 1000.0f);
  };
  EXPECT_EQ(hits("none"), 0);
  EXPECT_EQ(hits("channel:share=0.02:ratio=1000"), 4 * 64);
  EXPECT_EQ(hits("token:share=0.05:ratio=1000"), 3 * 200);
  EXPECT_EQ(hits("token:share=1e-9:ratio=1000"), 200);  // at least one
  EXPECT_NEAR(static_cast<double>(hits("random:share=0.1:ratio=1000")), 1280.0, 200.0);
}

TEST(Outliers, KeepTheirChannelsButNotTheirTokens) {
  const OutlierSpec channel = parse_outliers("channel:share=0.1"), token = parse_outliers("token:share=0.1");
  const auto at = [](const OutlierSpec& spec, std::int64_t step) {
    std::vector<std::int64_t> all;
    for (const OutlierPlace& place : Outliers(spec, 3, "L/x", step, 100, 100).places())
      all.push_back(place.row * 1000 + place.col);
    return all;
  };
  EXPECT_EQ(at(channel, 1), at(channel, 2));
  EXPECT_NE(at(token, 1), at(token, 2));
  EXPECT_EQ(at(token, 1).size(), 10u);
}

TEST(Outliers, AreTheSameWhateverThePanels) {
  std::vector<float> whole(40 * 30, 1.0f), panels = whole;
  const Outliers outliers(parse_outliers("random:share=0.2:ratio=3"), 5, "L/x", 0, 40, 30);
  outliers.inject(0, 40, whole.data());
  for (int row = 0; row < 40; row += 8) outliers.inject(row, 8, panels.data() + 30 * row);
  EXPECT_EQ(whole, panels);
}

TEST(Outliers, AreReadAsTheyAreWritten) {
  for (const char* text : {"none", "token:share=0.25:ratio=10000", "random:share=0.001:ratio=2.5"})
    EXPECT_EQ(outliers_text(parse_outliers(text)), text);
  EXPECT_THROW(parse_outliers("tokens"), std::invalid_argument);
  for (const char* text : {"token:shar=1", "token:share=2", "token:share=", "token:ratio=-1", "token:ratio=inf", "token:"})
    EXPECT_THROW(parse_outliers(text), UsageError) << text;
}

class Synth : public TemporaryFolder {
 protected:
  int trace(const Args& words) { return run_trace_quietly(words); }
};

TEST_F(Synth, InjectingMultipliesTheLabelledElementsAndNoOthers) {
  ASSERT_EQ(trace({"synth", "-o", path("a.h5"), "--rows", "50", "--cols", "20", "--record", "2", "--dtype", "float32"}), 0);
  ASSERT_EQ(trace({"synth", "--inject", path("a.h5"), "-o", path("b.h5"), "--outliers", "random:share=0.05:ratio=1000",
                   "--operands", "x", "--seed", "4"}), 0);
  EXPECT_EQ(trace({"verify", path("b.h5")}), 0);
  const Trace a(path("a.h5")), b(path("b.h5"));
  const h5::Group root = h5::open_file(path("b.h5"));
  const h5::Group labels = root.group("outliers/L00/x");
  const auto step = labels.dataset("step").values<std::int64_t>(), row = labels.dataset("row").values<std::int64_t>(),
             col = labels.dataset("col").values<std::int64_t>();
  ASSERT_GT(step.size(), 50u);
  for (std::size_t s = 0; s < 2; ++s) {
    std::vector<float> before(1000), after(1000);
    a.read_rows(0, s, 0, 50, before.data()), b.read_rows(0, s, 0, 50, after.data());
    for (std::size_t i = 0; i < step.size(); ++i)
      if (step[i] == static_cast<std::int64_t>(s)) before[static_cast<std::size_t>(row[i] * 20 + col[i])] *= 1000.0f;
    EXPECT_EQ(before, after);
  }
  EXPECT_FALSE(root.has("outliers/L00/w"));
  EXPECT_EQ(root.text("source"), "synthetic");  // a synthetic trace does not become a recorded one
}

TEST_F(Synth, ARecordedTraceBecomesRecordedAndInjected) {
  const std::string recorded = std::string(FP8SCOPE_SOURCE) + "/notebooks-data/traces/smollm2.h5";
  ASSERT_EQ(trace({"slice", recorded, "-o", path("a.h5"), "--layers", "L00.down", "--steps", "112-113"}), 0);
  ASSERT_EQ(trace({"synth", "--inject", path("a.h5"), "-o", path("b.h5"), "--outliers", "channel:ratio=1e4", "--operands", "x"}), 0);
  const h5::Group root = h5::open_file(path("b.h5"));
  EXPECT_EQ(root.text("source"), "recorded+injected");
  EXPECT_EQ(root.text("injected_outliers"), "channel:share=0.01:ratio=10000");
  EXPECT_EQ(trace({"verify", path("b.h5")}), 0);
}

TEST_F(Synth, RefusesWhatMakesNoSense) {
  EXPECT_THROW(trace({"synth"}), UsageError);
  for (const char* option : {"--rows=0", "--cols=99999999", "--sigma=z=1", "--sigma=x=-1", "--dtype=e4m3", "--operands=y", "--compress=10"})
    EXPECT_THROW(trace({"synth", "-o", path("a.h5"), option}), UsageError) << option;
  EXPECT_THROW(trace({"synth", "-o", path("a.h5"), "--distribution", "cauchy"}), std::invalid_argument);
  EXPECT_TRUE(files().empty());
}

}  // namespace
}  // namespace fp8scope
