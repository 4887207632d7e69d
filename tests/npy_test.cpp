#include "src/npy.hpp"

#include <cmath>
#include <cstring>
#include <numeric>

#include "sim/names.hpp"
#include "src/array.hpp"
#include "src/errors.hpp"
#include "tests/same_bits.hpp"
#include "tests/temporary_folder.hpp"

namespace fp8scope {
namespace {

class Npy : public TemporaryFolder {
 protected:
  /// A file as NumPy lays it out: magic, version, header padded to 64 bytes, data.
  std::string file(const std::string& dict, const std::string& data, char version = 1) {
    const std::size_t before = version == 1 ? 10 : 12;
    std::string header = dict;
    header.append((64 - (before + header.size() + 1) % 64) % 64, ' ').push_back('\n');
    std::string bytes = "\x93NUMPY";
    bytes += {version, '\0', static_cast<char>(header.size() & 255),
              static_cast<char>(header.size() >> 8)};
    if (version > 1) bytes += {'\0', '\0'};
    write_bytes(path("a.npy"), bytes + header + data);
    return path("a.npy");
  }
  std::string refusal(const std::string& name) {
    return message_of<DataError>([&] { NpyReader reader(name); });
  }
};

template <class T>
std::string raw(const std::vector<T>& values) {
  return {reinterpret_cast<const char*>(values.data()), values.size() * sizeof(T)};
}

std::vector<float> rows_of(const ArrayReader& array) {
  std::vector<float> values(static_cast<std::size_t>(array.size()));
  array.read_rows(0, array.rows(), values.data());
  return values;
}

TEST_F(Npy, EveryVersionIsRead) {
  const std::vector<float> want{1.5f, -0.0f, NAN, INFINITY, 1e-45f, 3};
  for (const char version : {1, 2, 3}) {
    const auto array = open_array(
        file("{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }", raw(want), version));
    EXPECT_EQ(array->shape(), (std::vector<std::int64_t>{2, 3}));
    EXPECT_TRUE(same_bits(want, rows_of(*array)));
    EXPECT_EQ(array->dtype(), "float32");
  }
}

TEST_F(Npy, EveryTypeBecomesItsExactValue) {
  const auto read = [&](const std::string& descr, const std::string& data,
                        std::string_view encoding = "") {
    return rows_of(*open_array(
        file("{'descr': '" + descr + "', 'fortran_order': False, 'shape': (2,)}", data), encoding));
  };
  EXPECT_EQ(read("<f2", raw<std::uint16_t>({0x3c01, 0x0001})),
            (std::vector<float>{1.0009765625f, 0x1p-24f}));
  EXPECT_EQ(read("<f8", raw<double>({0.1, 1e300})), (std::vector<float>{0.1f, INFINITY}));
  EXPECT_EQ(read("|u1", raw<std::uint8_t>({7, 255})), (std::vector<float>{7, 255}));
  EXPECT_EQ(read("<u2", raw<std::uint16_t>({7, 65535})), (std::vector<float>{7, 65535}));
  EXPECT_EQ(read("<V2", raw<std::uint16_t>({0x3f81, 0xc000}), "bf16"),
            (std::vector<float>{1.0078125f, -2}));
  EXPECT_EQ(read("|V2", raw<std::uint16_t>({0x3f81, 0xc000}), "bfloat16"),
            (std::vector<float>{1.0078125f, -2}));
  EXPECT_EQ(read("|V1", raw<std::uint8_t>({0x7e, 0x81}), "float8_e4m3fn"),
            (std::vector<float>{448, -0x1p-9f}));
  EXPECT_EQ(read("|u1", raw<std::uint8_t>({0x7b, 0x01}), "e5m2"),
            (std::vector<float>{57344, 0x1p-16f}));
  EXPECT_EQ(read("<u2", raw<std::uint16_t>({0x3f81, 0xc000}), "bf16"),
            (std::vector<float>{1.0078125f, -2}));
}

TEST_F(Npy, RowsComeByPanels) {
  std::vector<float> want(2 * 3 * 5);
  std::iota(want.begin(), want.end(), 0.0f);
  const auto array =
      open_array(file("{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3, 5)}", raw(want)));
  EXPECT_EQ(array->rows(), 6);
  EXPECT_EQ(array->cols(), 5);
  std::vector<float> panel(10);
  array->read_rows(2, 2, panel.data());
  EXPECT_EQ(panel, (std::vector<float>(want.begin() + 10, want.begin() + 20)));
  EXPECT_THROW(array->read_rows(5, 2, panel.data()), std::invalid_argument);
}

TEST_F(Npy, AScalarIsOneRowAndAnEmptyArrayNone) {
  const auto scalar =
      open_array(file("{'descr': '<f4', 'fortran_order': False, 'shape': ()}", raw<float>({2})));
  EXPECT_EQ(rows_of(*scalar), std::vector<float>{2});
  const auto empty =
      open_array(file("{'descr': '<f4', 'fortran_order': False, 'shape': (0, 4)}", ""));
  EXPECT_EQ(empty->size(), 0);
  EXPECT_TRUE(rows_of(*empty).empty());
}

TEST_F(Npy, WrittenFilesReadBack) {
  const std::vector<std::uint16_t> bits{0x3f80, 0x7fc1, 0x8000};
  write_npy(path("b.npy"), NpyType::v2, {3, 1}, std::as_bytes(std::span(bits)));
  const NpyReader reader(path("b.npy"));
  EXPECT_EQ(reader.type(), NpyType::v2);
  EXPECT_EQ(reader.shape(), (std::vector<std::int64_t>{3, 1}));
  std::vector<std::uint16_t> back(3);
  reader.read(0, 3, back.data());
  EXPECT_TRUE(same_bits(bits, back));
}

// The bytes that numpy.save() of NumPy 1.24 wrote for np.arange(3, dtype='<f4').
TEST_F(Npy, WrittenFilesAreThoseOfNumPy) {
  const std::vector<float> values{0, 1, 2};
  write_npy(path("b.npy"), NpyType::f4, {3}, std::as_bytes(std::span(values)));
  std::string want("\x93NUMPY\x01\x00\x76\x00", 10);
  want += "{'descr': '<f4', 'fortran_order': False, 'shape': (3,), }";
  want.append(127 - want.size(), ' ').push_back('\n');
  EXPECT_TRUE(bytes_of(path("b.npy")) == want + raw(values));
  EXPECT_THROW(write_npy(path("c.npy"), NpyType::f4, {4}, std::as_bytes(std::span(values))),
               std::invalid_argument);
  EXPECT_EQ(files(), std::vector<std::string>{"b.npy"});
}

TEST_F(Npy, WhatIsNotReadIsNamed) {
  const std::string f4(24, '\0');
  EXPECT_TRUE(
      is_line_with(refusal(file("{'descr': '<f4', 'fortran_order': True, 'shape': (2, 3)}", f4)),
                   {"Fortran", "ascontiguousarray"}));
  EXPECT_TRUE(
      is_line_with(refusal(file("{'descr': '|O', 'fortran_order': False, 'shape': (3,)}", f4)),
                   {"'|O'", "objects"}));
  EXPECT_TRUE(
      is_line_with(refusal(file("{'descr': '>f4', 'fortran_order': False, 'shape': (2, 3)}", f4)),
                   {"'>f4'", "big-endian"}));
  EXPECT_TRUE(
      is_line_with(refusal(file("{'descr': '<c8', 'fortran_order': False, 'shape': (3,)}", f4)),
                   {"'<c8'", "astype"}));
  EXPECT_TRUE(is_line_with(
      refusal(file("{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (6,)}", f4)),
      {"structures"}));
  EXPECT_TRUE(
      is_line_with(refusal(file("{'descr': '<f4', 'fortran_order': False, 'shape': (2, 4)}", f4)),
                   {"truncated", "24 bytes", "32"}));
  EXPECT_TRUE(
      is_line_with(refusal(file("{'descr': '<f4', 'fortran_order': False, 'shape': (5,)}", f4)),
                   {"4 bytes follow"}));
  EXPECT_TRUE(is_line_with(
      refusal(
          file("{'descr': '<f4', 'fortran_order': False, 'shape': (9223372036854775807, 4)}", f4)),
      {"impossible"}));
  EXPECT_TRUE(is_line_with(
      refusal(
          file("{'descr': '<f4', 'fortran_order': False, 'shape': (4611686018427387904,)}", f4)),
      {"truncated"}));
  for (const char* damaged :
       {"{'descr': '<f4', 'fortran_order': False, 'shape': (-1,)}", "{'descr': '<f4'}", "", "{",
        "{'descr': '<f4', 'fortran_order': maybe, 'shape': (6,)}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (6,)} x",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999999999999,)}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': 6}", "{'descr': '<f4, 'shape"})
    EXPECT_TRUE(is_line_with(refusal(file(damaged, f4)), {"a.npy", "header is damaged"}))
        << damaged;
  EXPECT_TRUE(
      is_line_with(refusal(file("{'descr': '<f4', 'fortran_order': False, 'shape': (6,)}", f4, 9)),
                   {"version 9"}));
}

TEST_F(Npy, EveryTruncationIsRefused) {
  const std::string whole =
      bytes_of(file("{'descr': '<f4', 'fortran_order': False, 'shape': (2,)}", raw<float>({1, 2})));
  for (std::size_t length = 0; length < whole.size(); ++length) {
    write_bytes(path("a.npy"), whole.substr(0, length));
    EXPECT_FALSE(refusal(path("a.npy")).empty()) << length;
  }
  write_bytes(path("a.npy"), whole);
  EXPECT_EQ(refusal(path("a.npy")), "");
}

TEST_F(Npy, ElementsWithoutAMeaningNeedOneStated) {
  file("{'descr': '<V2', 'fortran_order': False, 'shape': (1,)}", raw<std::uint16_t>({0x3f80}));
  EXPECT_TRUE(
      is_line_with(message_of<DataError>([&] { open_array(path("a.npy")); }), {"V2", "bf16"}));
  EXPECT_TRUE(is_line_with(message_of<DataError>([&] { open_array(path("a.npy"), "e4m3"); }),
                           {"uint16", "e4m3"}));
  EXPECT_THROW(open_array(path("a.npy"), "e99"), UnknownName);
  file("{'descr': '<f4', 'fortran_order': False, 'shape': (1,)}", raw<float>({1}));
  EXPECT_TRUE(is_line_with(message_of<DataError>([&] { open_array(path("a.npy"), "bf16"); }),
                           {"float32", "bf16"}));
}

TEST_F(Npy, AMissingFileOrAFolderIsAnIoError) {
  EXPECT_TRUE(is_line_with(message_of<IoError>([&] { open_array(path("none.npy")); }),
                           {"none.npy", "No such file"}));
  std::filesystem::create_directory(path("d.npy"));
  EXPECT_TRUE(is_line_with(message_of<IoError>([&] { open_array(path("d.npy")); }),
                           {"d.npy", "not a regular file"}));
}

TEST(OpenArray, WantsANpyFileOrADataset) {
  for (const char* name : {"a.txt", "a.h5", "a.h5:", ""})
    EXPECT_THROW(open_array(name), UsageError) << name;
  EXPECT_EQ(array_file("d/a.h5:/g/x"), "d/a.h5");
  EXPECT_EQ(array_file("a.npy"), "a.npy");
}

TEST(OpenArray, ReadsCodesByTheirEncoding) {
  const auto array = open_array(std::string(FP8SCOPE_SOURCE) + "/tests/data/types.h5:codes");
  EXPECT_EQ(array->dtype(), "e4m3");
  EXPECT_EQ(array->rows(), 2);
  const std::vector<float> values = rows_of(*array);
  EXPECT_EQ(values[0x7e], 448.0f);
  EXPECT_EQ(values[0xb8], -1.0f);
  EXPECT_TRUE(std::isnan(values[0x7f]));
}

TEST(OpenArray, RefusesAnEncodingOfAnotherWidthAndOtherTypes) {
  const std::string file = std::string(FP8SCOPE_SOURCE) + "/tests/data/types.h5:";
  EXPECT_TRUE(is_line_with(message_of<DataError>([&] { open_array(file + "odd_codes"); }),
                           {"/odd_codes", "uint8", "bfloat16"}));
  EXPECT_TRUE(is_line_with(message_of<DataError>([&] { open_array(file + "i4"); }),
                           {"/i4", "int32", "expected"}));
  EXPECT_TRUE(
      is_line_with(message_of<DataError>([&] { open_array(file + "text"); }), {"/text", "text"}));
  EXPECT_TRUE(is_line_with(message_of<DataError>([&] { open_array(file + "compound"); }),
                           {"/compound", "unsupported"}));
  EXPECT_EQ(open_array(file + "empty")->size(), 0);
  EXPECT_EQ(rows_of(*open_array(file + "scalar")), std::vector<float>{2.5f});
}

class ArrayFileTest : public TemporaryFolder {};

TEST_F(ArrayFileTest, CodesAndFloatsReadBackWithTheirEncoding) {
  const std::vector<std::uint8_t> codes{0x38, 0x7e, 0xff, 0};
  const std::vector<std::uint16_t> wide{0x1f, 0xfff, 0, 1};
  const std::vector<std::uint32_t> tf32{0x7f000u, 1, 2, 3};
  const std::vector<float> scale{0.5f, 2};
  ArrayFile file(path("a.h5"));
  file.set_root("recipe", std::string("none"));
  const int a = file.add_codes("codes", e4m3, {2, 2}, "codes"),
            b = file.add_codes("wide", parse_format("e5m6"), {2, 2}, "w");
  const int c = file.add_codes("tf32", parse_format("tf32"), {2, 2}, "t"),
            d = file.add_floats("scale_inv", {2, 1}, "1", "s");
  for (int row = 0; row < 2; ++row) {
    file.write_rows(a, row, 1, codes.data() + 2 * row);
    file.write_rows(b, row, 1, wide.data() + 2 * row);
    file.write_rows(c, row, 1, tf32.data() + 2 * row);
    file.write_rows(d, row, 1, scale.data() + row);
  }
  EXPECT_THROW(file.write_rows(a, 0, 1, scale.data()), std::invalid_argument);
  file.commit();
  EXPECT_EQ(files(), std::vector<std::string>{"a.h5"});
  const auto read = open_array(path("a.h5") + ":/codes");
  EXPECT_EQ(read->dtype(), "e4m3");
  EXPECT_EQ(rows_of(*read)[1], 448.0f);
  EXPECT_EQ(open_array(path("a.h5") + ":/wide")->dtype(), "e5m6");
  EXPECT_EQ(rows_of(*open_array(path("a.h5") + ":wide"))[3], 0x1p-20f);
  EXPECT_EQ(rows_of(*open_array(path("a.h5") + ":tf32"))[1], 0x1p-136f);
  EXPECT_EQ(rows_of(*open_array(path("a.h5") + ":scale_inv")), scale);
  EXPECT_EQ(h5::open_file(path("a.h5")).dataset("codes").text("encoding"), "float8_e4m3fn");
}

}  // namespace
}  // namespace fp8scope
