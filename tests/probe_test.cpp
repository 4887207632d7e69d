// The probes of a GPU's matrix units, asked of every model in a GPU's place.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "sim/matrix_unit.hpp"
#include "src/probe.hpp"
#include "src/probe_data.hpp"

namespace fp8scope {
namespace {

/// The first formats that a row multiplies.
std::string formats_of(const ModelRow& row) {
  if (row.inputs.empty()) return "bf16";
  return std::string(row.inputs.substr(0, row.inputs.find(' ')));
}

/// Whether two rows give the same words for other data than the probes'.
std::size_t apart(const MatrixUnit& unit, const Model& a, const Model& b) {
  std::size_t differ = 0;
  for (const InputClass& c : input_classes()) {
    const DotBatch batch = random_batch(unit, c.name, 2 * unit.k, 2000, 990 + static_cast<std::uint64_t>(c.name[0]));
    const RecordedProduct dump = batch.dump(c.name, std::vector<std::uint32_t>(batch.size()));
    const auto x = recompute(dump, {"", a, {}}), y = recompute(dump, {"", b, {}});
    for (std::size_t i = 0; i < x.size(); ++i) differ += !same_word(dump, x[i], y[i], false);
  }
  return differ;
}

TEST(Probe, NamesTheRowOfEveryModelOfTheTable) {
  std::size_t rows = 0, alone = 0;
  for (const ModelRow& row : model_rows()) {
    if (row.name == "custom" || row.output == "f64") continue;
    const std::string formats = formats_of(row);
    EmulatedUnit unit(std::string(row.name), formats, formats, std::string(row.output));
    ProbeOptions options;
    options.search = false;
    const ProbeReport report = probe_unit(unit, options);
    EXPECT_TRUE(report.layout_ok) << row.name;
    EXPECT_NE(std::ranges::find(report.same, std::string(row.name)), report.same.end()) << row.name << " " << formats << " " << row.output << ": " << report.verdict;
    // Whoever else is named cannot be told from it by other data either.
    for (const std::string& name : report.same) {
      const Model& other = find_model(name, formats, formats, row.output).model;
      if (name == row.name || other == row.model) continue;
      EXPECT_EQ(apart(unit, row.model, other), 0u) << row.name << " is not told from " << name << ", " << formats << " " << row.output;
    }
    ++rows, alone += report.same.size() == 1;
  }
  fmt::print("{} rows, {} of them named alone\n", rows, alone);
  EXPECT_GE(rows, 60u);
}

TEST(Probe, NamesFp8UnitsAlone) {
  for (const char* model : {"hopper_wgmma", "ada_mma"})
    for (const char* a : {"e4m3", "e5m2"})
      for (const char* b : {"e4m3", "e5m2"}) {
        EmulatedUnit unit(model, a, b, "f32");
        unit.m = 8, unit.n = 4;
        ProbeOptions options;
        options.search = false, options.per_class = 200;
        EXPECT_EQ(probe_unit(unit, options).verdict, model) << a << " " << b;
      }
}

TEST(Probe, FitsTheNumbersOfHopperAndNothingElse) {
  EmulatedUnit unit("hopper_wgmma", "e4m3", "e4m3", "f32");
  const ProbeReport report = probe_unit(unit, {});
  ASSERT_EQ(report.fits.size(), 1u) << report.verdict;
  EXPECT_EQ(model_text(report.fits[0]), "terms=32:f=13:floor=-133:result=13:round=truncate");
}

TEST(Probe, SaysNoneForAModelThatIsNotInTheTableAndFitsItsNumbers) {
  for (const char* text : {"terms=8:f=17:floor=-133:result=20:round=nearest:cut=floor", "terms=16:f=14:floor=-133:result=13:round=truncate",
                           "terms=32:f=13:floor=-133:result=13:round=nearest", "terms=4:f=11:floor=-133:result=12:round=truncate:c=outside"}) {
    EmulatedUnit unit(std::string("custom:") + text, "e4m3", "e4m3", "f32");
    const ProbeReport report = probe_unit(unit, {});
    EXPECT_TRUE(report.same.empty()) << text;
    EXPECT_EQ(report.verdict.rfind("none of the table", 0), 0u) << report.verdict;
    ASSERT_FALSE(report.fits.empty()) << text;
    const bool found = std::ranges::any_of(report.fits, [&](const Model& m) { return model_text(m) == text; });
    EXPECT_TRUE(found) << text << ": " << report.verdict;
    EXPECT_LE(report.fits.size(), 2u) << text << ": " << report.verdict;
  }
}

/// A unit whose rows come out one place too low.
class ShiftedUnit final : public MatrixUnit {
 public:
  ShiftedUnit() : inner_("hopper_wgmma", "e4m3", "e4m3", "f32") {
    name = "shifted", a_format = b_format = "e4m3", output = "f32", m = 16, n = 8, k = 32;
  }
  void run(const UnitTiles& t, std::span<std::uint32_t> d) override {
    inner_.run(t, d);
    std::rotate(d.begin(), d.begin() + 1, d.end());
  }

 private:
  EmulatedUnit inner_;
};

TEST(Probe, StopsWhereTheLayoutIsWrong) {
  ShiftedUnit unit;
  const ProbeReport report = probe_unit(unit, {});
  EXPECT_FALSE(report.layout_ok);
  EXPECT_TRUE(report.rows.empty());
  EXPECT_NE(report.verdict.find("layout"), std::string::npos);
}

TEST(Probe, ReadsTheNumbersOfTheSpecification) {
  const auto answer = [](const char* model, const char* format, const char* question) {
    EmulatedUnit unit(model, format, format, "f32");
    for (const Reading& r : read_probes(unit))
      if (r.question.find(question) != std::string::npos) return r.answer;
    return std::string();
  };
  EXPECT_EQ(answer("hopper_wgmma", "e4m3", "fraction bits of C"), "13 (changed bits 000003ff)");
  EXPECT_EQ(answer("blackwell_tcgen05", "e4m3", "fraction bits of C"), "23 (changed bits 00000000)");
  EXPECT_EQ(answer("hopper_wgmma", "e4m3", "below the largest exponent"), "13");
  EXPECT_EQ(answer("blackwell_tcgen05", "e4m3", "below the largest exponent"), "25");
  EXPECT_EQ(answer("ampere_mma", "fp16", "below the largest exponent"), "24");
  EXPECT_EQ(answer("hopper_wgmma", "e4m3", "a step has"), "32 products");
  EXPECT_EQ(answer("ada_mma", "e4m3", "a step has"), "16 products");
  EXPECT_EQ(answer("ampere_mma", "bf16", "a step has"), "8 products");
  EXPECT_NE(answer("sm90_mma_fp8_lowering", "e4m3", "a step has").find("k = 2 3 6 7 10 11"), std::string::npos);
  EXPECT_EQ(answer("hopper_wgmma:round=nearest", "e4m3", "of the last place"), "rounded up");
  EXPECT_EQ(answer("hopper_wgmma", "e4m3", "of the last place"), "truncated");
}

}  // namespace
}  // namespace fp8scope
