#include "src/trace.hpp"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>

#include "sim/convert.hpp"
#include "src/errors.hpp"
#include "tests/same_bits.hpp"
#include "tests/temporary_folder.hpp"

namespace fp8scope {
namespace {

constexpr std::int64_t rows = 300, cols = 40;
const std::vector<std::int64_t> recorded{2, 3, 7};

/// Stored elements: every bit pattern turns up, NaN and infinity among them.
std::vector<std::byte> pattern(std::size_t bytes, std::uint32_t seed) {
  std::vector<std::byte> all(bytes);
  for (std::byte& b : all) b = static_cast<std::byte>((seed = seed * 1664525u + 1013904223u) >> 24);
  return all;
}

/// What is in a trace of one layer: operand, dtype, bytes of an element.
struct Kind {
  const char* operand;
  const char* dtype;
  std::size_t bytes;
  bool constant;
};

constexpr Kind kinds[] = {{"x", "bfloat16", 2, false},
                          {"w", "float32", 4, true},
                          {"dy", "float16", 2, false},
                          {"codes", "float8_e4m3fn", 1, false}};

std::int64_t steps_of(const Kind& kind) { return kind.constant ? 1 : std::ssize(recorded); }

std::vector<std::byte> content(const Kind& kind) {
  return pattern(static_cast<std::size_t>(steps_of(kind) * rows * cols) * kind.bytes,
                 static_cast<std::uint32_t>(kind.dtype[5]));
}

float finite_amax(const ElementDecoder& decoder, const std::byte* stored, std::int64_t count) {
  std::vector<float> values(static_cast<std::size_t>(count));
  decoder.decode(stored, count, values.data());
  float amax = 0;
  for (const float x : values)
    if (std::isfinite(x)) amax = std::max(amax, std::fabs(x));
  return amax;
}

ElementDecoder decoder_of(const Kind& kind) {
  using h5::Type;
  const Type type = kind.bytes == 4        ? Type::f32
                    : kind.bytes == 1      ? Type::u8
                    : kind.dtype[0] == 'b' ? Type::bf16
                                           : Type::fp16;
  return {type, kind.bytes == 1 ? kind.dtype : "", "test"};
}

/// Ten steps of history; in the recorded ones the amax of the content.
AmaxHistory history_of_content() {
  AmaxHistory h;
  for (std::int64_t t = 0; t < 10; ++t) h.step.push_back(t);
  for (const Kind& kind : kinds) h.slot.push_back(std::string("L02.down/") + kind.operand);
  h.amax.assign(10 * std::size(kinds), 1.5f);
  for (std::size_t k = 0; k < std::size(kinds); ++k) {
    const auto stored = content(kinds[k]);
    for (std::size_t s = 0; s < recorded.size(); ++s) {
      const std::size_t from = kinds[k].constant ? 0 : s * rows * cols * kinds[k].bytes;
      h.amax[static_cast<std::size_t>(recorded[s]) * std::size(kinds) + k] =
          finite_amax(decoder_of(kinds[k]), stored.data() + from, rows * cols);
    }
  }
  return h;
}

TensorInfo info_of(const Kind& kind) {
  TensorInfo info;
  info.layer = "L02.down", info.operand = kind.operand, info.dtype = kind.dtype;
  info.layer_index = 2, info.rows = rows, info.cols = cols, info.constant = kind.constant;
  info.gemms = {{"fprop", 2}, {"wgrad", 1}};
  info.name_in_framework = "model.layers.2.mlp.down_proj";
  return info;
}

void write_trace(const std::string& path, const AmaxHistory& history, std::int64_t panel = 128) {
  TraceWriter writer(path, recorded, history,
                     {{"title", std::string("a test")}, {"model.layers", std::int64_t{30}}});
  for (const Kind& kind : kinds) {
    const int tensor = writer.add(info_of(kind));
    const auto stored = content(kind);
    for (std::int64_t step = 0; step < steps_of(kind); ++step)
      for (std::int64_t row = 0; row < rows; row += panel)
        writer.write_rows(
            tensor, static_cast<std::size_t>(step), row, std::min(panel, rows - row),
            stored.data() + static_cast<std::size_t>((step * rows + row) * cols) * kind.bytes);
  }
  writer.commit();
}

class TraceFile : public TemporaryFolder {};

TEST_F(TraceFile, TellsWhatWasWritten) {
  write_trace(path("t.h5"), history_of_content());
  const Trace trace(path("t.h5"));
  EXPECT_EQ(trace.steps(), recorded);
  ASSERT_EQ(trace.tensors().size(), std::size(kinds));
  for (std::size_t k = 0; k < std::size(kinds); ++k) {
    const TensorInfo& info = trace.tensors()[k];
    EXPECT_EQ(info.name(), std::string("L02.down/") + kinds[k].operand);
    EXPECT_EQ(info.steps, steps_of(kinds[k]));
    EXPECT_EQ(info.rows, rows);
    EXPECT_EQ(info.cols, cols);
    EXPECT_EQ(info.rows_total, rows);
    EXPECT_EQ(info.panel_rows, 128);
    EXPECT_EQ(info.constant, kinds[k].constant);
    EXPECT_EQ(info.gemms, (std::vector<GemmUse>{{"fprop", 2}, {"wgrad", 1}}));
    EXPECT_EQ(info.layer_index, 2);
    EXPECT_EQ(info.name_in_framework, "model.layers.2.mlp.down_proj");
    EXPECT_EQ(info.sha256.size(), 64u);
  }
  EXPECT_EQ(trace.tensors()[0].format, bf16);
  EXPECT_EQ(trace.tensors()[3].format, e4m3);
  EXPECT_EQ(trace.tensors()[3].dtype, "e4m3");
  const auto model = std::ranges::find(trace.attributes(), "model.layers", &h5::Attribute::name);
  ASSERT_NE(model, trace.attributes().end());
  EXPECT_EQ(std::get<std::int64_t>(model->value), 30);
}

TEST_F(TraceFile, KeepsTheHistoryOfStepsThatWereNotRecorded) {
  const AmaxHistory want = history_of_content();
  write_trace(path("t.h5"), want);
  const Trace trace(path("t.h5"));
  EXPECT_EQ(trace.history().step, want.step);
  EXPECT_EQ(trace.history().slot, want.slot);
  EXPECT_TRUE(same_bits(want.amax, trace.history().amax));
  EXPECT_EQ(trace.history().find_slot("L02.down/w"), 1);
  EXPECT_EQ(trace.history().find_slot("L02.down/q"), -1);
  EXPECT_EQ(trace.history().find_step(7), 7);
  EXPECT_EQ(trace.history().at(3, 1), want.amax[3 * 4 + 1]);
}

TEST_F(TraceFile, EveryDtypeKeepsItsBitsByPanelsOfAnySize) {
  write_trace(path("t.h5"), history_of_content());
  const Trace trace(path("t.h5"));
  for (std::size_t k = 0; k < std::size(kinds); ++k)
    for (const std::int64_t panel : {std::int64_t{1}, std::int64_t{128}, std::int64_t{77}, rows}) {
      const auto want = content(kinds[k]);
      std::vector<std::byte> got(want.size());
      for (std::int64_t step = 0; step < steps_of(kinds[k]); ++step)
        for (std::int64_t row = 0; row < rows; row += panel)
          trace.read_stored(
              k, static_cast<std::size_t>(step), row, std::min(panel, rows - row),
              got.data() + static_cast<std::size_t>((step * rows + row) * cols) * kinds[k].bytes);
      EXPECT_TRUE(want == got) << kinds[k].dtype << " by " << panel;
    }
}

TEST_F(TraceFile, RowsAreTheExactValuesOfTheStoredElements) {
  write_trace(path("t.h5"), history_of_content());
  const Trace trace(path("t.h5"));
  const Format formats[] = {bf16, {8, 23, 127, Specials::ieee}, fp16, e4m3};
  for (std::size_t k = 0; k < std::size(kinds); ++k) {
    const auto stored = content(kinds[k]);
    std::vector<float> got(cols);
    trace.read_rows(k, 1, 299, 1, got.data());
    for (std::int64_t c = 0; c < cols; ++c) {
      const std::int64_t at = ((kinds[k].constant ? 0 : rows) + 299) * cols + c;
      std::uint32_t code = 0;
      std::memcpy(&code, stored.data() + static_cast<std::size_t>(at) * kinds[k].bytes,
                  kinds[k].bytes);
      const float want = decode(formats[k], code);
      EXPECT_TRUE(std::isnan(want)
                      ? std::isnan(got[static_cast<std::size_t>(c)])
                      : float_bits(want) == float_bits(got[static_cast<std::size_t>(c)]))
          << kinds[k].dtype << " column " << c;
    }
  }
}

TEST_F(TraceFile, AConstantTensorIsTheSameAtEveryStep) {
  write_trace(path("t.h5"), history_of_content());
  const Trace trace(path("t.h5"));
  std::vector<std::uint32_t> first(cols), last(cols);
  trace.read_stored(1, 0, 5, 1, first.data());
  trace.read_stored(1, 2, 5, 1, last.data());
  EXPECT_TRUE(same_bits(first, last));
}

TEST_F(TraceFile, BytesDoNotDependOnThePanelsWritten) {
  write_trace(path("a.h5"), history_of_content(), 128);
  write_trace(path("b.h5"), history_of_content(), 50);
  EXPECT_TRUE(bytes_of(path("a.h5")) == bytes_of(path("b.h5")));
  EXPECT_EQ(files(), (std::vector<std::string>{"a.h5", "b.h5"}));
}

TEST_F(TraceFile, ThatIsSoundVerifies) {
  write_trace(path("t.h5"), history_of_content());
  for (const TraceCheck& check : verify(Trace(path("t.h5"))))
    EXPECT_TRUE(check.good) << check.what << check.message;
  EXPECT_EQ(verify(Trace(path("t.h5"))).size(), 2 * std::size(kinds));
}

TEST_F(TraceFile, AHistoryThatContradictsATensorIsFound) {
  AmaxHistory history = history_of_content();
  history.amax[7 * 4 + 2] *= 2;
  write_trace(path("t.h5"), history);
  std::vector<std::string> bad;
  for (const TraceCheck& check : verify(Trace(path("t.h5"))))
    if (!check.good) bad.push_back(check.what + ": " + check.message);
  ASSERT_EQ(bad.size(), 1u);
  EXPECT_TRUE(is_line_with(bad[0], {"L02.down/dy", "step 7", "history"}));
}

TEST_F(TraceFile, SampledRowsMayStayBelowTheHistoryButNotExceedIt) {
  const std::vector<float> values{1, 2, 3, 4};
  for (const float amax : {5.0f, 3.0f}) {
    TraceWriter writer(path("t.h5"), {0}, {{0}, {"L00.o/x"}, {amax}}, {});
    TensorInfo info;
    info.layer = "L00.o", info.operand = "x", info.dtype = "float32", info.rows = 1, info.cols = 4;
    info.row_sampling = "first", info.rows_total = 64;
    writer.write_rows(writer.add(info), 0, 0, 1, values.data());
    writer.commit();
    EXPECT_EQ(verify(Trace(path("t.h5")))[1].good, amax == 5.0f);
  }
}

TEST_F(TraceFile, OutOfOrderOrIncompleteWritingIsAFault) {
  TraceWriter writer(path("t.h5"), recorded, history_of_content(), {});
  const int tensor = writer.add(info_of(kinds[0]));
  const auto stored = content(kinds[0]);
  EXPECT_THROW(writer.write_rows(tensor, 0, 1, 1, stored.data()), std::invalid_argument);
  EXPECT_THROW(writer.write_rows(tensor, 0, 0, rows + 1, stored.data()), std::invalid_argument);
  writer.write_rows(tensor, 0, 0, rows, stored.data());
  EXPECT_THROW(writer.commit(), std::invalid_argument);
  EXPECT_FALSE(std::filesystem::exists(path("t.h5")));
}

TEST_F(TraceFile, AnUnknownDtypeOrANameWithASlashIsAFault) {
  TraceWriter writer(path("t.h5"), recorded, history_of_content(), {});
  TensorInfo info = info_of(kinds[0]);
  info.dtype = "complex64";
  EXPECT_THROW(writer.add(info), std::invalid_argument);
  info = info_of(kinds[0]);
  info.layer = "a/b";
  EXPECT_THROW(writer.add(info), std::invalid_argument);
}

TEST_F(TraceFile, AnEmptyTensorIsAllowed) {
  TraceWriter writer(path("t.h5"), recorded, {}, {});
  TensorInfo info = info_of(kinds[0]);
  info.rows = 0;
  writer.add(info);
  writer.commit();
  const Trace trace(path("t.h5"));
  EXPECT_EQ(trace.tensors()[0].size(), 0);
  trace.read_rows(0, 0, 0, 0, nullptr);
}

TEST_F(TraceFile, ReadingBeyondTheRowsIsAFault) {
  write_trace(path("t.h5"), history_of_content());
  const Trace trace(path("t.h5"));
  std::vector<float> out(2 * cols);
  EXPECT_THROW(trace.read_rows(0, 0, rows - 1, 2, out.data()), std::invalid_argument);
  EXPECT_THROW(trace.read_rows(0, 3, 0, 1, out.data()), std::invalid_argument);
  EXPECT_THROW(trace.read_rows(9, 0, 0, 1, out.data()), std::out_of_range);
}

TEST(BundledTrace, Verifies) {
  const std::string path = std::string(FP8SCOPE_SOURCE) + "/notebooks-data/traces/smollm2.h5";
  if (!std::filesystem::exists(path)) GTEST_SKIP() << path << " is not there";
  const Trace trace(path);
  EXPECT_GE(trace.tensors().size(), 12u);
  EXPECT_GE(trace.history().step.size(), 32u);
  for (const TraceCheck& check : verify(trace))
    EXPECT_TRUE(check.good) << check.what << ": " << check.message;
}

}  // namespace
}  // namespace fp8scope
