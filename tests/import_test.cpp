// Foreign files to traces and back: what is read, where it goes, and what is refused and how.
#include "src/import/import.hpp"

#include <fmt/format.h>

#include <cmath>
#include <cstring>
#include <numeric>

#include "sim/convert.hpp"
#include "src/command.hpp"
#include "src/errors.hpp"
#include "src/import/safetensors.hpp"
#include "src/import/zip.hpp"
#include "src/npy.hpp"
#include "tests/run_trace.hpp"
#include "tests/temporary_folder.hpp"

namespace fp8scope {
namespace {

template <class T>
std::string raw(const std::vector<T>& values) {
  return {reinterpret_cast<const char*>(values.data()), values.size() * sizeof(T)};
}

std::string safetensors(const std::string& json, const std::string& data = "") {
  std::string length;
  for (int i = 0; i < 8; ++i) length += static_cast<char>(json.size() >> (8 * i) & 255);
  return length + json + data;
}

std::string tensor(const std::string& name, const std::string& dtype, const std::string& shape, std::size_t begin,
                   std::size_t end) {
  return fmt::format(R"("{}":{{"dtype":"{}","shape":[{}],"data_offsets":[{},{}]}})", name, dtype, shape, begin, end);
}

std::string corpus(const std::string& name) {
  return bytes_of(std::string(FP8SCOPE_SOURCE) + "/tests/fuzz/corpus/" + name);
}

std::vector<float> ramp(std::size_t count) {
  std::vector<float> values(count);
  std::iota(values.begin(), values.end(), 1.0f);
  return values;
}

class Import : public TemporaryFolder {
 protected:
  std::string file(const std::string& name, const std::string& bytes) {
    std::filesystem::create_directories(std::filesystem::path(path(name)).parent_path());
    write_bytes(path(name), bytes);
    return path(name);
  }
  int trace(const Args& words) { return run_trace_quietly(words, &notes); }
  std::vector<float> values(const std::string& name, std::size_t tensor, std::size_t step) {
    const Trace read(path(name));
    const TensorInfo& info = read.tensors().at(tensor);
    std::vector<float> result(static_cast<std::size_t>(info.rows * info.cols));
    read.read_rows(tensor, step, 0, info.rows, result.data());
    return result;
  }
  std::string refusal(const std::string& name, const std::string& bytes, std::vector<std::string> options = {}) {
    options.insert(options.begin(), {"import", file(name, bytes), "-o", path("out.h5")});
    return message_of<DataError>([&] { trace(options); });
  }
  std::string notes;
};

struct Attack {
  const char* name;
  std::string header;
  std::size_t data;
  std::vector<std::string> words;
  friend void PrintTo(const Attack& attack, std::ostream* out) { *out << attack.name; }
};

class SafetensorsAttack : public Import, public testing::WithParamInterface<Attack> {};

TEST_P(SafetensorsAttack, IsRefusedInOneLineAndNothingIsWritten) {
  const Attack& attack = GetParam();
  EXPECT_TRUE(is_line_with(refusal("a.safetensors", safetensors(attack.header, std::string(attack.data, '\0'))),
                           attack.words));
  EXPECT_EQ(files(), std::vector<std::string>{"a.safetensors"});
}

INSTANTIATE_TEST_SUITE_P(
    All, SafetensorsAttack,
    testing::Values(
        Attack{"Overlap", "{" + tensor("L/x", "F32", "2", 0, 8) + "," + tensor("L/w", "F32", "2", 4, 12) + "}", 12, {"'L/w'", "begins at byte 4"}},
        Attack{"Hole", "{" + tensor("L/x", "F32", "1", 0, 4) + "," + tensor("L/w", "F32", "1", 8, 12) + "}", 12, {"'L/w'", "ends at 4"}},
        Attack{"DataLeftOver", "{" + tensor("L/x", "F32", "1", 0, 4) + "}", 5, {"5 bytes of data", "need 4"}},
        Attack{"DataMissing", "{" + tensor("L/x", "F32", "2", 0, 8) + "}", 4, {"4 bytes of data", "need 8"}},
        Attack{"ShapeTooLarge", "{" + tensor("L/x", "F32", "3", 0, 8) + "}", 8, {"'L/x'", "has 8 bytes", "needs 12"}},
        Attack{"ShapeOverflow", "{" + tensor("L/x", "F32", "1099511627776,1099511627776", 0, 8) + "}", 8, {"'L/x'", "impossible shape"}},
        Attack{"ShapeAbove63Bits", "{" + tensor("L/x", "F32", "9223372036854775808", 0, 8) + "}", 8, {"'L/x'", "impossible shape"}},
        Attack{"NegativeShape", "{" + tensor("L/x", "F32", "-1", 0, 0) + "}", 0, {"'L/x'", "negative"}},
        Attack{"FractionalShape", "{" + tensor("L/x", "F32", "1.0", 0, 4) + "}", 4, {"'L/x'", "no 64-bit integer"}},
        Attack{"ShapeAbove64Bits", "{" + tensor("L/x", "F32", "18446744073709551616", 0, 4) + "}", 4, {"no 64-bit integer"}},
        Attack{"EndBeforeBegin", R"({"L/x":{"dtype":"F32","shape":[],"data_offsets":[4,0]}})", 4, {"'L/x'"}},
        Attack{"ThreeOffsets", R"({"L/x":{"dtype":"F32","shape":[],"data_offsets":[0,4,4]}})", 4, {"'L/x'", "two numbers"}},
        Attack{"OddBits", "{" + tensor("L/x", "F4", "3", 0, 1) + "}", 1, {"'L/x'", "impossible shape"}},
        Attack{"UnknownDtype", "{" + tensor("L/x", "F7", "1", 0, 1) + "}", 1, {"'L/x'", "F7"}},
        Attack{"MissingField", R"({"L/x":{"dtype":"F32","data_offsets":[0,4]}})", 4, {"'L/x'", "lacks"}},
        Attack{"UnknownField", R"({"L/x":{"dtype":"F32","shape":[1],"data_offsets":[0,4],"strides":[1]}})", 4, {"'L/x'", "strides"}},
        Attack{"DuplicateTensor", "{" + tensor("L/x", "F32", "1", 0, 4) + "," + tensor("L/x", "F32", "1", 0, 4) + "}", 4, {"'L/x'", "twice"}},
        Attack{"DuplicateField", R"({"L/x":{"dtype":"F32","dtype":"F16","shape":[1],"data_offsets":[0,4]}})", 4, {"'L/x'", "'dtype' twice"}},
        Attack{"DuplicateMetadata", R"({"__metadata__":{"a":"1","a":"2"}})", 0, {"__metadata__", "twice"}},
        Attack{"MetadataOfNumbers", R"({"__metadata__":{"a":1}})", 0, {"__metadata__", "number"}},
        Attack{"DeepNesting", R"({"L/x":[[[[)", 0, {"array"}},
        Attack{"NotJson", "{'L/x'", 0, {"not JSON"}},
        Attack{"NotAnObject", "[1]", 0, {"begin with '{'"}},
        Attack{"TextAfterTheObject", "{} x", 0, {"not JSON"}},
        Attack{"NotUtf8", "{\"L\xff\":{}}", 0, {"not JSON"}},
        Attack{"NulInAName", "{\"L\\u0000\":{}}", 0, {"NUL"}},
        Attack{"LongName", "{\"" + std::string(2000, 'a') + "\":{}}", 0, {"1 KiB"}}),
    [](const auto& info) { return std::string(info.param.name); });

TEST_F(Import, ASafetensorsHeaderLongerThanTheFileOrTheLimitIsRefused) {
  EXPECT_TRUE(is_line_with(refusal("a.safetensors", std::string("\x10\0\0\0\0\0\0\0{}", 10)), {"needs 16 bytes"}));
  EXPECT_TRUE(is_line_with(refusal("a.safetensors", std::string(8, '\xff')), {"at most 100 MB"}));
  EXPECT_TRUE(is_line_with(refusal("a.safetensors", "short"), {"not a .safetensors file"}));
}

TEST_F(Import, ArchivesThatLieAreRefused) {
  EXPECT_TRUE(is_line_with(refusal("a.npz", corpus("zip/dotdot")), {"../x.npy", "leads out"}));
  EXPECT_TRUE(is_line_with(refusal("a.npz", "no archive at all, no end"), {"not a zip archive"}));
  EXPECT_TRUE(is_line_with(refusal("a.npz", "x" + corpus("zip/stored")), {"damaged"}));
  std::string bytes = corpus("zip/stored");
  const std::size_t central = bytes.find("PK\1\2");
  const auto changed = [&](std::size_t at, char value) {
    std::string copy = bytes;
    copy[at] = value;
    return copy;
  };
  EXPECT_TRUE(is_line_with(refusal("a.npz", changed(central + 8, 1)), {"L00.down/x.npy", "encrypted"}));
  EXPECT_TRUE(is_line_with(refusal("a.npz", changed(central + 10, 99)), {"method 99"}));
  EXPECT_TRUE(is_line_with(refusal("a.npz", changed(central + 42, 1)), {"no local header"}));
  EXPECT_TRUE(is_line_with(refusal("a.npz", changed(30, 'M')), {"another name in its local header"}));
  EXPECT_TRUE(is_line_with(refusal("a.npz", changed(central + 24, 7)), {"two sizes"}));
  EXPECT_TRUE(is_line_with(refusal("a.npz", changed(central - 1, 7)), {"L00.down/w.npy", "checksum"}));
  EXPECT_EQ(files(), std::vector<std::string>{"a.npz"});
}

TEST_F(Import, ADeflatedMemberThatIsNotWhatItDeclaresIsRefused) {
  std::string bytes = corpus("zip/deflated");
  const std::size_t central = bytes.find("PK\1\2");
  std::string longer = bytes;  // one element more than there is, in both headers
  for (const std::size_t at : {std::size_t{22}, central + 24}) longer[at] = static_cast<char>(longer[at] + 4);
  EXPECT_NE(refusal("a.npz", longer), "");
  const std::size_t middle = bytes.find("PK\3\4", 4) / 2 + 32;  // of the bytes of the first member
  bytes[middle] = static_cast<char>(bytes[middle] ^ 0x55);
  EXPECT_NE(refusal("a.npz", bytes), "");
}

TEST_F(Import, AnArchiveWithA64BitEndOrSizesAfterTheDataIsRead) {
  for (const char* name : {"zip/zip64", "zip/descriptor", "zip/comment"}) {
    EXPECT_EQ(trace({"import", file("a.npz", corpus(name)), "-o", path("t.h5"), "--layer", "L", "--operand", "x"}), 0)
        << name;
    EXPECT_EQ(values("t.h5", 0, 0).at(11), 11.0f);
  }
}

TEST_F(Import, ABombIsRefusedUnlessItIsMeant) {
  ASSERT_EQ(std::system(fmt::format("/usr/bin/python3 -c \"import numpy as np; np.savez_compressed('{}', **{{'L/x': "
                                    "np.zeros((4096, 5000), 'f4')}})\"", path("b.npz")).c_str()), 0);
  EXPECT_TRUE(is_line_with(message_of<DataError>([&] { trace({"import", path("b.npz"), "-o", path("t.h5")}); }),
                           {"b.npz", "L/x", "inflates", "--max-inflation"}));
  EXPECT_EQ(trace({"import", path("b.npz"), "-o", path("t.h5"), "--max-inflation", "2000"}), 0);
}

TEST_F(Import, StoredAndDeflatedArchivesGiveTheSameTrace) {
  EXPECT_EQ(trace({"import", file("a.npz", corpus("zip/stored")), "-o", path("a.h5"), "--operands", "x"}), 0);
  EXPECT_EQ(trace({"import", file("b.npz", corpus("zip/deflated")), "-o", path("b.h5"), "--operands", "x"}), 0);
  EXPECT_NE(notes.find("other"), std::string::npos);
  EXPECT_EQ(values("a.h5", 0, 0), values("b.h5", 0, 0));
  EXPECT_EQ(trace({"verify", path("a.h5")}), 0);
}

TEST_F(Import, EveryTypeKeepsItsBits) {
  const std::vector<float> floats{1.5f, -0.0f, 448, 1e-45f};
  std::vector<std::uint16_t> halves{0x3fc0, 0x8000, 0x43e0, 0x0001};
  const std::vector<std::uint8_t> codes{0x3c, 0x80, 0x7e, 0x01};
  const std::string header = "{" + tensor("a.x", "F32", "2,2", 0, 16) + "," + tensor("b.x", "BF16", "2,2", 16, 24) + "," +
                             tensor("c.x", "F16", "2,2", 24, 32) + "," + tensor("d.x", "F8_E4M3", "2,2", 32, 36) + "," +
                             tensor("e.x", "F8_E5M2", "2,2", 36, 40) + "," + tensor("f.x", "F8_E8M0", "2,2", 40, 44) + "," +
                             tensor("g.x", "F4", "2,2", 44, 46) + "," + tensor("h.x", "I32", "2,2", 46, 62) + "}";
  const std::string data = raw(floats) + raw(halves) + raw(halves) + raw(codes) + raw(codes) + raw(codes) + "\x21\x7f" + std::string(16, '\0');
  ASSERT_EQ(trace({"import", file("a.safetensors", safetensors(header, data)), "-o", path("t.h5")}), 0);
  EXPECT_NE(notes.find("'h.x'"), std::string::npos);
  const Trace read(path("t.h5"));
  ASSERT_EQ(read.tensors().size(), 7u);
  const char* dtypes[] = {"float32", "bfloat16", "float16", "e4m3", "e5m2", "e8m0", "e2m1"};
  const std::size_t offsets[] = {0, 16, 24, 32, 36, 40};
  for (std::size_t t = 0; t < 7; ++t) {
    EXPECT_EQ(read.tensors()[t].dtype, dtypes[t]);
    std::string stored(4 * read.decoder(t).bytes(), '\0');
    read.read_stored(t, 0, 0, 2, stored.data());
    EXPECT_EQ(stored, t < 6 ? data.substr(offsets[t], stored.size()) : std::string("\1\2\xf\7"));
  }
}

TEST_F(Import, CodesBecomeTheirValuesTimesTheirScales) {
  std::vector<std::uint8_t> codes(256 * 128);
  for (std::size_t i = 0; i < codes.size(); ++i) codes[i] = static_cast<std::uint8_t>(i * 7 % 0x7e);
  const std::vector<float> scales{0.5f, 3.0f};
  const std::string bytes = safetensors("{" + tensor("p.weight", "F8_E4M3", "256,128", 0, 32768) + "," +
                                            tensor("p.weight_scale_inv", "F32", "2,1", 32768, 32776) + "}",
                                        raw(codes) + raw(scales));
  ASSERT_EQ(trace({"import", file("a.safetensors", bytes), "-o", path("t.h5")}), 0);
  const std::vector<float> got = values("t.h5", 0, 0);
  for (std::size_t i = 0; i < got.size(); i += 37)
    EXPECT_EQ(got[i], decode(e4m3, codes[i]) * scales[i / (128 * 128)]);
  ASSERT_EQ(trace({"import", path("a.safetensors"), "-o", path("t.h5"), "--scales", "ignore"}), 0);
  EXPECT_EQ(Trace(path("t.h5")).tensors()[0].dtype, "e4m3");
  EXPECT_TRUE(is_line_with(refusal("b.safetensors", safetensors("{" + tensor("p.w", "F8_E4M3", "4,4", 0, 16) + "," +
                                                                    tensor("p.w_scale", "F32", "3,1", 16, 28) + "}",
                                                                std::string(28, '\1'))),
                           {"p.w_scale", "does not fit", "--scales ignore"}));
}

TEST_F(Import, StepsComeFromNamesFromFoldersOrFromAStack) {
  const std::vector<float> x = ramp(24);
  for (const int step : {7, 9}) {
    const std::string name = fmt::format("iter_{:06}/L3_activation.npy", step);
    file(name, "");
    write_npy(path(name), NpyType::f4, {4, 6}, std::as_bytes(std::span(x)));
  }
  ASSERT_EQ(trace({"import", path("iter_000007/L3_activation.npy"), path("iter_000009/L3_activation.npy"), "-o", path("t.h5")}), 0);
  {
    const Trace read(path("t.h5"));
    EXPECT_EQ(read.steps(), (std::vector<std::int64_t>{7, 9}));
    EXPECT_EQ(read.tensors()[0].name(), "L3/x");
    EXPECT_EQ(read.history().at(1, 0), 24.0f);
  }
  write_npy(path("stack.npy"), NpyType::f4, {4, 2, 3}, std::as_bytes(std::span(x)));
  ASSERT_EQ(trace({"import", path("stack.npy"), "-o", path("t.h5"), "--stacked", "--layer", "L", "--operand", "dy",
                   "--step", "100", "--steps", "101-103+2"}), 0);
  EXPECT_EQ(Trace(path("t.h5")).steps(), (std::vector<std::int64_t>{101, 103}));
  EXPECT_EQ(values("t.h5", 0, 1), (std::vector<float>{19, 20, 21, 22, 23, 24}));
}

TEST_F(Import, APatternWithNamedGroupsMapsNames) {
  const std::string bytes = safetensors("{" + tensor("blk.3:act@12", "F32", "1,2", 0, 8) + "}", raw(ramp(2)));
  ASSERT_EQ(trace({"import", file("a.safetensors", bytes), "-o", path("t.h5"), "--map",
                   R"(/(?P<layer>[^/:]+):(?<operand>\w+)@(?<step>\d+)$)"}), 0);
  const Trace read(path("t.h5"));
  EXPECT_EQ(read.tensors()[0].layer, "blk.3");
  EXPECT_EQ(read.tensors()[0].operand, "act");
  EXPECT_EQ(read.steps(), std::vector<std::int64_t>{12});
  const auto usage = [&](const std::string& map) {
    return message_of<UsageError>([&] { trace({"import", path("a.safetensors"), "-o", path("u.h5"), "--map", map}); });
  };
  EXPECT_TRUE(is_line_with(usage("(?<layr>.+)"), {"--map", "layr", "layer"}));
  EXPECT_TRUE(is_line_with(usage("(?<layer>.+"), {"--map", "regular expression"}));
  EXPECT_TRUE(is_line_with(usage("(?<layer>.+)"), {"--map", "operand"}));
  EXPECT_TRUE(is_line_with(usage("(?<layer>zzz)(?<operand>x)"), {"blk.3:act@12", "--map"}));
}

TEST_F(Import, TensorsThatDoNotFitTogetherAreRefused) {
  const std::string two = "{" + tensor("L/x/step1", "F32", "2", 0, 8) + ",";
  EXPECT_TRUE(is_line_with(refusal("a.safetensors", safetensors(two + tensor("L/x/step2", "F32", "1", 8, 12) + "}", std::string(12, '\0'))),
                           {"step2", "rows", "L/x"}));
  EXPECT_TRUE(is_line_with(refusal("a.safetensors", safetensors(two + tensor("L/x/step2", "BF16", "2", 8, 12) + "}", std::string(12, '\0'))),
                           {"bfloat16", "float32"}));
  EXPECT_TRUE(is_line_with(refusal("a.safetensors", safetensors(two + tensor("L/dy/step2", "F32", "1", 8, 12) + "}", std::string(12, '\0'))),
                           {"no step", "--steps"}));
  EXPECT_TRUE(is_line_with(refusal("a.safetensors", safetensors(two + tensor("L.activation/step1", "F32", "2", 8, 16) + "}", std::string(16, '\0')),
                                   {"--map", "(?<layer>L).(?<operand>x|activation)/step(?<step>1)"}),
                           {"a.safetensors", "L/x at step 1"}));
  EXPECT_EQ(files(), std::vector<std::string>{"a.safetensors"});
}

TEST_F(Import, ARawFileIsWhatItsOptionsSay) {
  file("a.bin", "head" + raw(std::vector<std::uint16_t>{0x3f80, 0x4000, 0x4040, 0x4080}));
  ASSERT_EQ(trace({"import", path("a.bin"), "-o", path("t.h5"), "--dtype", "bf16", "--shape", "2x2", "--offset", "4",
                   "--layer", "L", "--operand", "x"}), 0);
  EXPECT_EQ(values("t.h5", 0, 0), ramp(4));
  EXPECT_TRUE(is_line_with(refusal("a.bin", "123", {"--dtype", "e4m3", "--shape", "2x2", "--layer", "L", "--operand", "x"}),
                           {"a.bin", "3 bytes", "needs 4"}));
  EXPECT_THROW(trace({"import", path("a.bin"), "-o", path("u.h5")}), UsageError);
  EXPECT_TRUE(is_line_with(message_of<UsageError>([&] { trace({"import", "a.pt", "-o", path("u.h5")}); }), {"a.pt", "pickle"}));
  EXPECT_THROW(trace({"import", path("a.bin"), "-o", path("u.h5"), "--shape", "2x-1", "--dtype", "e4m3"}), UsageError);
  EXPECT_THROW(trace({"import", path("a.bin"), "-o", path("u.h5"), "--shape", "2", "--dtype", "e4m4"}), UsageError);
}

TEST_F(Import, Float64IsRoundedAndSaidSo) {
  const std::vector<double> x{0.1, 1e300, -1};
  write_npy(path("L.x.npy"), NpyType::f8, {1, 3}, std::as_bytes(std::span(x)));
  ASSERT_EQ(trace({"import", path("L.x.npy"), "-o", path("t.h5")}), 0);
  EXPECT_NE(notes.find("rounded"), std::string::npos);
  EXPECT_EQ(values("t.h5", 0, 0), (std::vector<float>{0.1f, INFINITY, -1}));
}

TEST_F(Import, ExportAndImportGiveTheSameTensors) {
  ASSERT_EQ(trace({"synth", "-o", path("a.h5"), "--rows", "32", "--cols", "48", "--out", "16", "--record", "3", "--count", "2",
                   "--outliers", "token:ratio=50"}), 0);
  ASSERT_EQ(trace({"export", path("a.h5"), "-o", path("a.safetensors")}), 0);
  ASSERT_EQ(trace({"import", path("a.safetensors"), "-o", path("b.h5")}), 0);
  const Trace a(path("a.h5")), b(path("b.h5"));
  ASSERT_EQ(a.tensors().size(), b.tensors().size());
  for (std::size_t t = 0; t < a.tensors().size(); ++t) {
    EXPECT_EQ(a.tensors()[t].name(), b.tensors()[t].name());
    EXPECT_EQ(a.tensors()[t].sha256, b.tensors()[t].sha256);
  }
  EXPECT_EQ(a.history().amax, b.history().amax);
  EXPECT_EQ(h5::open_file(path("b.h5")).text("source"), "synthetic");
  ASSERT_EQ(trace({"export", path("a.h5"), "-o", path("x.npy"), "--layers", "L00", "--operands", "x"}), 0);
  EXPECT_EQ(NpyReader(path("x.npy")).shape(), (std::vector<std::int64_t>{3, 32, 48}));
  ASSERT_EQ(trace({"export", path("a.h5"), "-o", path("x.csv"), "--layers", "L00", "--operands", "x", "--steps", "1"}), 0);
  EXPECT_EQ(std::ranges::count(bytes_of(path("x.csv")), '\n'), 1 + 32 * 48);
  EXPECT_THROW(trace({"export", path("a.h5"), "-o", path("y.npy")}), UsageError);
  EXPECT_THROW(trace({"export", path("a.h5"), "-o", path("y.pt")}), UsageError);
}

TEST_F(Import, ASliceKeepsWhatIsAskedForAndTheWholeHistory) {
  ASSERT_EQ(trace({"synth", "-o", path("a.h5"), "--rows", "32", "--cols", "8", "--record", "5", "--count", "2"}), 0);
  ASSERT_EQ(trace({"slice", path("a.h5"), "-o", path("b.h5"), "--layers", "L01", "--operands", "x,w", "--steps", "1-3+2",
                   "--rows", "4-11"}), 0);
  const Trace a(path("a.h5")), b(path("b.h5"));
  EXPECT_EQ(b.steps(), (std::vector<std::int64_t>{1, 3}));
  ASSERT_EQ(b.tensors().size(), 2u);
  EXPECT_EQ(b.tensors()[0].rows, 8);
  EXPECT_EQ(b.tensors()[0].rows_total, 32);
  EXPECT_EQ(b.tensors()[1].rows, 8);  // w is whole: its rows are output features, as many as columns
  EXPECT_EQ(b.history().step.size(), 5u);
  EXPECT_EQ(b.history().slot, (std::vector<std::string>{"L01/x", "L01/w"}));
  std::vector<float> want(64);
  a.read_rows(3, 3, 4, 8, want.data());
  EXPECT_EQ(values("b.h5", 0, 1), want);
  EXPECT_EQ(trace({"verify", path("b.h5")}), 0);
  EXPECT_THROW(trace({"slice", path("a.h5"), "-o", path("c.h5"), "--layers", "none"}), UsageError);
  EXPECT_THROW(trace({"slice", path("a.h5"), "-o", path("c.h5"), "--rows", "32-"}), UsageError);
  EXPECT_THROW(trace({"slice", path("a.h5"), "-o", path("a.h5")}), UsageError);
}

}  // namespace
}  // namespace fp8scope
