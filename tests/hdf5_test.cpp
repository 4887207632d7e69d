// tests/data/*.h5 were written by h5py (make_hdf5.py there), so that reader and writer do not only
// agree with each other.
#include "src/hdf5.hpp"

#include <cmath>
#include <cstring>
#include <numeric>

#include "src/errors.hpp"
#include "src/sha256.hpp"
#include "tests/same_bits.hpp"
#include "tests/temporary_folder.hpp"

namespace fp8scope {
namespace {

using Hdf5 = TemporaryFolder;

h5::Group data_file(const std::string& name) {
  return h5::open_file(std::string(FP8SCOPE_SOURCE) + "/tests/data/" + name);
}

template <class T>
std::vector<T> read_all(const h5::Dataset& dataset) {
  std::vector<T> values(static_cast<std::size_t>(h5::element_count(dataset.shape())));
  dataset.read(h5::Shape(dataset.shape().size(), 0), dataset.shape(), values.data());
  return values;
}

TEST(Hdf5FromPython, HalfFloatsAreReadAsTheirBits) {
  const h5::Group root = data_file("types.h5");
  const std::vector<std::uint16_t> bits{0x0000, 0x8000, 0x0001, 0x3C01,
                                        0x3F80, 0x7F80, 0x7FC1, 0xFF81};
  EXPECT_EQ(root.dataset("bf16").type(), h5::Type::bf16);
  EXPECT_EQ(root.dataset("fp16").type(), h5::Type::fp16);
  EXPECT_TRUE(same_bits(bits, read_all<std::uint16_t>(root.dataset("bf16"))));
  EXPECT_TRUE(same_bits(bits, read_all<std::uint16_t>(root.dataset("fp16"))));
}

TEST(Hdf5FromPython, FloatsOfEitherByteOrderAreReadExactly) {
  const h5::Group root = data_file("types.h5");
  const std::vector<float> want{0.1f, -0.0f, INFINITY};
  EXPECT_TRUE(same_bits(want, root.dataset("f32").values<float>()));
  EXPECT_TRUE(same_bits(want, root.dataset("f32_big_endian").values<float>()));
  EXPECT_TRUE(same_bits({0.1, 1e300}, root.dataset("f64").values<double>()));
}

TEST(Hdf5FromPython, IntegersKeepTheirExtremes) {
  const h5::Group root = data_file("types.h5");
  EXPECT_EQ(root.dataset("u4").values<std::int64_t>(), (std::vector<std::int64_t>{0, 4294967295}));
  EXPECT_EQ(root.dataset("i1").values<std::int64_t>(), (std::vector<std::int64_t>{-128, 127}));
  EXPECT_EQ(root.dataset("i8").values<std::int64_t>(),
            (std::vector<std::int64_t>{INT64_MIN, INT64_MAX}));
  EXPECT_EQ(root.dataset("u8").values<std::uint64_t>(),
            (std::vector<std::uint64_t>{0, UINT64_MAX}));
}

TEST(Hdf5FromPython, TextOfBothKindsIsRead) {
  const h5::Group root = data_file("types.h5");
  EXPECT_EQ(root.dataset("text").values<std::string>(),
            (std::vector<std::string>{"caf\u00e9", ""}));
  EXPECT_EQ(root.dataset("fixed_text").values<std::string>(),
            (std::vector<std::string>{"ab", "cdef"}));
}

TEST(Hdf5FromPython, AttributesAreReadByKind) {
  const h5::Group root = data_file("types.h5");
  EXPECT_EQ(root.text("word"), "caf\u00e9");
  EXPECT_EQ(root.text("fixed"), "abc");
  EXPECT_EQ(root.integer("number"), 7);
  EXPECT_EQ(root.text("absent"), std::nullopt);
  std::vector<std::string> names;
  for (const h5::Attribute& a : root.attributes()) names.push_back(a.name);
  EXPECT_EQ(names.size(), 5u) << "all but the array of numbers";
  EXPECT_TRUE(is_line_with(message_of<DataError>([&] { root.text("number"); }),
                           {"types.h5", "number", "not text"}));
  EXPECT_TRUE(is_line_with(message_of<DataError>([&] { root.integer("word"); }),
                           {"word", "not an integer"}));
}

TEST(Hdf5FromPython, AValueThatWouldChangeIsRefused) {
  const h5::Group root = data_file("types.h5");
  EXPECT_THROW(root.dataset("f64").values<float>(), DataError);
  EXPECT_THROW(root.dataset("u8").values<std::int64_t>(), DataError);
  EXPECT_THROW(root.dataset("f32").values<std::int64_t>(), DataError);
  EXPECT_THROW(root.dataset("compound").values<float>(), DataError);
  EXPECT_THROW(root.dataset("text").values<double>(), DataError);
  EXPECT_THROW(root.dataset("null"), DataError);
}

struct Refusal {
  const char* file;
  std::vector<std::string> words;
};

class RefusedDataset : public testing::TestWithParam<Refusal> {};

TEST_P(RefusedDataset, GetsOneLineThatNamesItAndSaysWhatToDo) {
  const Refusal& want = GetParam();
  const h5::Group root = data_file(std::string(want.file) + ".h5");
  const std::string message = message_of<DataError>([&] { root.dataset("x"); });
  EXPECT_TRUE(is_line_with(message, want.words));
  EXPECT_TRUE(is_line_with(message, {std::string(want.file) + ".h5': /x"}));
}

INSTANTIATE_TEST_SUITE_P(
    Hdf5, RefusedDataset,
    testing::Values(Refusal{"external_link", {"external link", "copy the data"}},
                    Refusal{"soft_link", {"soft link", "copy the data"}},
                    Refusal{"external_storage", {"another file", "h5repack"}},
                    Refusal{"virtual", {"virtual", "h5repack"}},
                    Refusal{"lzf", {"filter 32000", "h5repack"}},
                    Refusal{"missing_chunks", {"1 of 4 chunks are missing", "incomplete"}},
                    Refusal{"bomb", {"[1099511627776, 1048576]", "incomplete"}},
                    Refusal{"unwritten", {"[1048576]", "incomplete"}}),
    [](const auto& info) { return std::string(info.param.file); });

TEST(Hdf5Group, ListingMeetsAnExternalLinkAndRefusesIt) {
  EXPECT_THROW(data_file("external_link.h5").entries(), DataError);
  EXPECT_TRUE(data_file("external_link.h5").entries(h5::Group::Links::skip).empty());
}

TEST(Hdf5Group, AMissingObjectIsNamedWithThoseThereAre) {
  const h5::Group root = data_file("soft_link.h5");
  EXPECT_TRUE(
      is_line_with(message_of<DataError>([&] { root.dataset("z/w"); }), {"/z", "holds: ", "y"}));
  EXPECT_TRUE(
      is_line_with(message_of<DataError>([&] { root.dataset("y/w"); }), {"'/y' is a dataset"}));
  EXPECT_TRUE(is_line_with(message_of<DataError>([&] { root.group("y"); }), {"not a group"}));
  EXPECT_TRUE(is_line_with(message_of<DataError>([&] { root.dataset("/"); }), {"not a dataset"}));
}

TEST(Hdf5Group, ACycleOfGroupsDoesNotHangTheGuard) {
  EXPECT_TRUE(data_file("cycle.h5").has("a/b/a/b"));
}

TEST_F(Hdf5, EveryHalfFloatCodeKeepsItsBits) {
  std::vector<std::uint16_t> codes(65536);
  std::iota(codes.begin(), codes.end(), std::uint16_t{0});
  h5::NewFile file(path("a.h5"));
  for (const h5::Type type : {h5::Type::bf16, h5::Type::fp16}) {
    const std::string name(h5::type_name(type));
    file.root()
        .create_dataset(name, type, {256, 256}, {{64, 256}, 1})
        .write({0, 0}, {256, 256}, codes.data());
  }
  file.commit();
  const h5::Group root = h5::open_file(path("a.h5"));
  EXPECT_TRUE(same_bits(codes, read_all<std::uint16_t>(root.dataset("bfloat16"))));
  EXPECT_TRUE(same_bits(codes, read_all<std::uint16_t>(root.dataset("float16"))));
  EXPECT_EQ(root.dataset("bfloat16").type(), h5::Type::bf16);
}

TEST_F(Hdf5, NanPayloadsOfFloatsSurvive) {
  const std::vector<std::uint32_t> bits{0x7f800001, 0xffc12345, 0x7fffffff, 0x00000001, 0x80000000};
  std::vector<float> values(bits.size());
  std::memcpy(values.data(), bits.data(), bits.size() * 4);
  h5::NewFile file(path("a.h5"));
  file.root().create_dataset("x", h5::Type::f32, {5}).write_all<float>(values);
  file.commit();
  const std::vector<float> back = h5::open_file(path("a.h5")).dataset("x").values<float>();
  EXPECT_EQ(std::memcmp(back.data(), bits.data(), bits.size() * 4), 0);
}

TEST_F(Hdf5, RowsAreTheSameByPanelsOfAnySize) {
  const h5::Shape shape{3, 5, 7};
  std::vector<float> values(105);
  std::iota(values.begin(), values.end(), 1.0f);
  std::vector<std::string> written;
  for (const std::int64_t panel : {1, 2, 4, 15}) {
    h5::NewFile file(path("a.h5"));
    h5::Dataset dataset = file.root().create_dataset("x", h5::Type::f32, shape, {{1, 2, 7}, 1});
    for (std::int64_t row = 0; row < 15; row += panel)
      dataset.write_rows(row, std::min<std::int64_t>(panel, 15 - row), values.data() + row * 7);
    file.commit();
    written.push_back(bytes_of(path("a.h5")));
  }
  for (const std::string& bytes : written)
    EXPECT_TRUE(bytes == written.front()) << "bytes depend on the panels";
  const h5::Dataset dataset = h5::open_file(path("a.h5")).dataset("x");
  for (const std::int64_t panel : {1, 3, 6, 15}) {
    std::vector<float> back(105);
    for (std::int64_t row = 0; row < 15; row += panel)
      dataset.read_rows(row, std::min<std::int64_t>(panel, 15 - row), back.data() + row * 7);
    EXPECT_TRUE(same_bits(values, back)) << panel;
  }
}

TEST_F(Hdf5, AttributesComeBackInTheOrderWritten) {
  const std::vector<h5::Attribute> want{{"z", std::string("caf\u00e9")},
                                        {"a", std::int64_t{-3}},
                                        {"m", 0.1},
                                        {"b", std::vector<std::string>{"x", ""}}};
  h5::NewFile file(path("a.h5"));
  for (const h5::Attribute& a : want) file.root().set(a.name, a.value);
  file.commit();
  const auto back = h5::open_file(path("a.h5")).attributes();
  ASSERT_EQ(back.size(), want.size());
  for (std::size_t i = 0; i < want.size(); ++i) {
    EXPECT_EQ(back[i].name, want[i].name);
    EXPECT_EQ(back[i].value, want[i].value);
  }
}

TEST_F(Hdf5, AFileWithoutCommitLeavesNothing) {
  {
    h5::NewFile file(path("a.h5"));
    file.root().set("x", std::int64_t{1});
  }
  EXPECT_TRUE(files().empty());
}

TEST_F(Hdf5, ADatasetMayOutliveTheVariableOfItsFile) {
  std::unique_ptr<h5::Dataset> dataset;
  dataset = std::make_unique<h5::Dataset>(data_file("types.h5").dataset("f32"));
  EXPECT_EQ(dataset->values<float>()[0], 0.1f);
}

TEST(Shape, ThatOverflowsIsRefused) {
  EXPECT_EQ(h5::element_count({}), 1);
  EXPECT_EQ(h5::element_count({3, 0, 5}), 0);
  EXPECT_THROW(h5::element_count({INT64_MAX, 2}), DataError);
}

TEST(RowChunk, IsWholeRowsOfAtMostAMebibyte) {
  EXPECT_EQ(h5::row_chunk({4096, 512}, 2), (h5::Shape{1024, 512}));
  EXPECT_EQ(h5::row_chunk({2, 300, 576}, 2), (h5::Shape{1, 300, 576}));
  EXPECT_EQ(h5::row_chunk({10, 1 << 22}, 4), (h5::Shape{1, 1 << 18}));
  EXPECT_EQ(h5::row_chunk({0, 5}, 4), h5::Shape{});
}

// FIPS 180-4 examples, and the lengths around a block; with and without the processor's own.
class EverySha256 : public testing::TestWithParam<bool> {};

TEST_P(EverySha256, AgreesWithThePublishedExamples) {
  const auto hash = [](const std::string& text, std::size_t step) {
    Sha256 h(GetParam());
    for (std::size_t at = 0; at < text.size(); at += step)
      h.add(text.data() + at, std::min(step, text.size() - at));
    return h.hex();
  };
  EXPECT_EQ(hash("", 1), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  EXPECT_EQ(hash("abc", 1), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  EXPECT_EQ(hash("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq", 5),
            "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
  for (const std::size_t step : {1u, 63u, 64u, 65u, 1000u})
    EXPECT_EQ(hash(std::string(1000000, 'a'), step),
              "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}

INSTANTIATE_TEST_SUITE_P(Hdf5, EverySha256, testing::Bool());

}  // namespace
}  // namespace fp8scope
