// What a trace must hold: each fault of the schema is one line that names the object.
#include "src/errors.hpp"
#include "src/trace.hpp"
#include "tests/temporary_folder.hpp"

namespace fp8scope {
namespace {

/// A minimal trace with one thing changed.
struct Fault {
  const char* name;
  void (*apply)(h5::Group& root, h5::Dataset& x);
  std::vector<std::string> words;
};

using MinimalTrace = TemporaryFolder;

class BrokenTrace : public TemporaryFolder, public testing::WithParamInterface<Fault> {};

h5::Dataset add_column(h5::Group& group, const char* name,
                       const std::vector<std::int64_t>& values) {
  h5::Dataset dataset = group.create_dataset(name, h5::Type::i64, {std::ssize(values)});
  dataset.write_all<std::int64_t>(values);
  return dataset;
}

void write_minimal(const std::string& path, void (*apply)(h5::Group&, h5::Dataset&)) {
  h5::NewFile file(path);
  file.root().set("schema", std::string("fp8trace"));
  file.root().set("schema_version", std::string("1.0"));
  add_column(file.root(), "steps", {4});
  h5::Dataset x =
      file.root().create_group("tensors/L00").create_dataset("x", h5::Type::bf16, {1, 2, 2});
  const std::uint16_t bits[4] = {0x3f80, 0x4000, 0xc040, 0};
  x.write({0, 0, 0}, {1, 2, 2}, bits);
  x.set("operand", std::string("x"));
  x.set("gemms", std::string("fprop"));
  x.set("contraction_axis_fprop", std::int64_t{2});
  apply(file.root(), x);
  file.commit();
}

void add_history(h5::Group& root, const std::vector<std::int64_t>& steps, std::int64_t slots) {
  h5::Group group = root.create_group("history");
  add_column(group, "step", steps);
  const std::vector<std::string> names{"L00/x"};
  group.create_dataset("slot_name", h5::Type::text, {1}).write_all<std::string>(names);
  const std::vector<float> amax(steps.size() * static_cast<std::size_t>(slots), 3.0f);
  group.create_dataset("amax", h5::Type::f32, {std::ssize(steps), slots}).write_all<float>(amax);
}

TEST_P(BrokenTrace, IsRefusedInOneLine) {
  write_minimal(path("t.h5"), GetParam().apply);
  const std::string message = message_of<DataError>([&] { Trace trace(path("t.h5")); });
  EXPECT_TRUE(is_line_with(message, GetParam().words));
  EXPECT_TRUE(is_line_with(message, {"t.h5"}));
}

using Root = h5::Group;
using Set = h5::Dataset;
INSTANTIATE_TEST_SUITE_P(
    TraceFile, BrokenTrace,
    testing::Values(
        Fault{"OtherSchema",
              [](Root& r, Set&) { r.set("schema", std::string("fp8stats")); },
              {"'fp8stats'", "not a trace"}},
        Fault{"NewerSchema",
              [](Root& r, Set&) { r.set("schema_version", std::string("2.0")); },
              {"2.0", "newer"}},
        Fault{"UnknownGemm",
              [](Root&, Set& x) { x.set("gemms", std::string("fprop,igrad")); },
              {"/tensors/L00/x", "igrad"}},
        Fault{"AxisOutOfRange",
              [](Root&, Set& x) { x.set("contraction_axis_fprop", std::int64_t{0}); },
              {"contraction_axis_fprop", "1 or 2"}},
        Fault{"EncodingOfAnotherWidth",
              [](Root&, Set& x) { x.set("encoding", std::string("float8_e4m3fn")); },
              {"bfloat16", "float8_e4m3fn"}},
        Fault{"UnknownEncoding",
              [](Root&, Set& x) { x.set("encoding", std::string("float7")); },
              {"/tensors/L00/x", "float7"}},
        Fault{"ConstantWithoutOneStep",
              [](Root& r, Set&) {
                h5::Dataset y =
                    r.create_group("tensors/L00").create_dataset("y", h5::Type::bf16, {3, 0, 2});
                y.set("operand", std::string("y"));
              },
              {"/tensors/L00/y", "3 steps", "/steps has 1"}},
        Fault{"TensorOfTwoAxes",
              [](Root& r, Set&) {
                h5::Dataset y =
                    r.create_group("tensors/L00").create_dataset("y", h5::Type::f32, {0, 2});
                y.set("operand", std::string("y"));
              },
              {"[0, 2]", "[step, row, col]"}},
        Fault{"TensorOfIntegers",
              [](Root& r, Set&) {
                h5::Dataset y =
                    r.create_group("tensors/L00").create_dataset("y", h5::Type::i32, {1, 0, 2});
                y.set("operand", std::string("y"));
              },
              {"/tensors/L00/y", "int32", "expected bfloat16"}},
        Fault{"HistoryOfAnotherShape",
              [](Root& r, Set&) {
                add_history(r, {3, 4}, 2);
              },
              {"/history/amax", "[2, 2]", "[2, 1]"}},
        Fault{"HistoryWithoutARecordedStep",
              [](Root& r, Set&) {
                add_history(r, {2, 3}, 1);
              },
              {"step 4", "not in the history"}},
        Fault{"HistoryThatGoesBack",
              [](Root& r, Set&) {
                add_history(r, {4, 3}, 1);
              },
              {"/history/step", "ascend"}}),
    [](const auto& info) { return std::string(info.param.name); });

TEST_F(MinimalTrace, IsSound) {
  write_minimal(path("t.h5"), [](Root& r, Set&) { add_history(r, {3, 4}, 1); });
  for (const TraceCheck& check : verify(Trace(path("t.h5"))))
    EXPECT_TRUE(check.good) << check.message;
}

TEST_F(MinimalTrace, AWrongSha256IsFound) {
  write_minimal(path("t.h5"), [](Root&, Set& x) { x.set("sha256", std::string(64, '0')); });
  EXPECT_FALSE(verify(Trace(path("t.h5")))[0].good);
}

}  // namespace
}  // namespace fp8scope
