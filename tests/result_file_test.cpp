#include "src/result_file.hpp"

#include <chrono>
#include <cmath>
#include <thread>

#include <nlohmann/json.hpp>

#include "sim/names.hpp"
#include "src/errors.hpp"
#include "src/version.hpp"
#include "tests/same_bits.hpp"
#include "tests/temporary_folder.hpp"

namespace fp8scope {
namespace {

/// A table of every kind of column.
Table every_kind() {
  Table t("results", "what came out");
  t.add<std::string>("recipe", "1", "scaling recipe") = {"te_current", "a,\"b\"", "caf\u00e9|x"};
  t.add<std::int64_t>("step", "1", "step") = {-1, 0, INT64_MAX};
  t.add<std::uint64_t>("n", "1", "elements") = {0, 1, UINT64_MAX};
  t.add<double>("sqnr_db", "dB", "signal to noise") = {31.25, INFINITY, NAN};
  t.add<float>("amax", "1", "largest magnitude") = {0.1f, 1e-45f, -INFINITY};
  t.add<std::uint64_t>("hist", "1", "exponents",
                       {"exponent", "exponent of the value", {-2, -1}}) = {1, 2, 3, 4, 5, 6};
  return t;
}

Results example() {
  Results results;
  results.title = "a test";
  results.attributes = {{"seed", std::int64_t{7}}, {"recipes", std::string("te_current")}};
  results.inputs = {{"smollm2.h5", 12, std::string(64, 'a')}};
  results.tables.push_back(every_kind());
  auto& second = results.add("runs/0/stats", "another");
  second.add<double>("mse", "1", "mean square error") = {0.5};
  results.add("nothing", "no rows").add<double>("x", "1", "x");
  return results;
}

const RunInfo here{{"fp8scope", "replay"}, "avx2", 2};

class ResultFile : public TemporaryFolder {};

TEST_F(ResultFile, TablesReadBackTheSame) {
  write_results(path("r.h5"), example(), here, false);
  const Results back = read_results(path("r.h5"));
  EXPECT_EQ(back.schema, "fp8stats");
  EXPECT_EQ(back.title, "a test");
  ASSERT_EQ(back.tables.size(), 4u);  // and /inputs
  const Table want = every_kind();
  const Table& got = back.tables[0];
  EXPECT_EQ(got.name, "results");
  EXPECT_EQ(got.long_name, "what came out");
  EXPECT_EQ(got.signal, "sqnr_db");
  ASSERT_EQ(got.columns.size(), want.columns.size());
  for (std::size_t c = 0; c < want.columns.size(); ++c) {
    EXPECT_EQ(got.columns[c].name, want.columns[c].name);
    EXPECT_EQ(got.columns[c].unit, want.columns[c].unit);
    EXPECT_EQ(got.columns[c].long_name, want.columns[c].long_name);
    EXPECT_EQ(got.columns[c].values.index(), want.columns[c].values.index());
  }
  EXPECT_EQ(print_table(got, TableStyle::csv), print_table(want, TableStyle::csv));
  EXPECT_EQ(got.column("hist").axis->values, (std::vector<std::int64_t>{-2, -1}));
  EXPECT_EQ(got.column("hist").axis->name, "exponent");
  EXPECT_EQ(back.tables[1].name, "runs/0/stats");
  EXPECT_EQ(back.tables[2].rows(), 0u);
  EXPECT_EQ(std::get<std::vector<std::string>>(back.tables[3].column("name").values)[0],
            "smollm2.h5");
}

TEST_F(ResultFile, FloatsKeepTheirBits) {
  write_results(path("r.h5"), example(), here, true);
  const Table table = read_results(path("r.h5")).tables[0];
  EXPECT_TRUE(same_bits({0.1f, 1e-45f, -INFINITY},
                        std::get<std::vector<float>>(table.column("amax").values)));
}

TEST_F(ResultFile, ReproducibleFilesAreTheSameBytesWhateverTheRun) {
  write_results(path("a.h5"), example(), here, true);
  std::this_thread::sleep_for(std::chrono::milliseconds(1100));  // a stored time would differ now
  write_results(path("b.h5"), example(), {{"other", "words"}, "scalar", 1}, true);
  EXPECT_TRUE(bytes_of(path("a.h5")) == bytes_of(path("b.h5")));
  EXPECT_EQ(bytes_of(path("a.h5")).find(std::string(compiler)), std::string::npos);
  EXPECT_FALSE(h5::open_file(path("a.h5")).has("run_info"));
  EXPECT_EQ(files(), (std::vector<std::string>{"a.h5", "b.h5"}));
}

TEST_F(ResultFile, OtherwiseTellsTheMachineAndTheArguments) {
  write_results(path("r.h5"), example(), here, false);
  const h5::Group info = h5::open_file(path("r.h5")).group("run_info");
  EXPECT_EQ(info.text("isa"), "avx2");
  EXPECT_EQ(info.integer("threads"), 2);
  EXPECT_EQ(info.text("compiler"), compiler);
  EXPECT_EQ(info.required_text("created").size(), std::string("2026-01-01T00:00:00Z").size());
  EXPECT_TRUE(info.has_attribute("argv"));
  EXPECT_TRUE(info.has_attribute("host"));
}

TEST_F(ResultFile, CarriesProvenanceUnitsAndScales) {
  write_results(path("r.h5"), example(), here, true);
  const h5::Group root = h5::open_file(path("r.h5"));
  EXPECT_EQ(root.text("git_commit"), git_commit);
  EXPECT_EQ(root.text("tool_version"), version);
  EXPECT_EQ(root.text("default"), "results");
  EXPECT_EQ(root.integer("seed"), 7);
  const h5::Dataset column = root.dataset("results/sqnr_db");
  EXPECT_EQ(column.text("units"), "dB");
  EXPECT_EQ(column.scale_name(0), "row");
  EXPECT_EQ(root.group("results").text("NX_class"), "NXdata");
  EXPECT_EQ(root.dataset("results/hist").scale_name(1), "exponent");
  EXPECT_TRUE(root.dataset("results/exponent").is_scale());
}

TEST_F(ResultFile, ManyRowsAreCompressedAndReadBack) {
  Results results;
  auto& values = results.add("results", "many").add<double>("x", "1", "x");
  for (int i = 0; i < 300000; ++i) values.push_back(i % 7);
  write_results(path("r.h5"), results, {}, true);
  EXPECT_LT(std::filesystem::file_size(path("r.h5")), 300000u * 2);
  EXPECT_TRUE(same_bits(values, std::get<std::vector<double>>(
                                    read_results(path("r.h5")).tables[0].column("x").values)));
}

TEST_F(ResultFile, ColumnsOfDifferentLengthAreAFaultAndNothingIsWritten) {
  Results results = example();
  results.tables[0].add<double>("short", "1", "") = {1};
  EXPECT_TRUE(is_line_with(
      message_of<std::invalid_argument>([&] { write_results(path("r.h5"), results, here, true); }),
      {"'results'", "'short'", "1 values", "3"}));
  EXPECT_TRUE(files().empty());
}

TEST_F(ResultFile, AnotherFileIsRefused) {
  EXPECT_TRUE(is_line_with(message_of<DataError>([] {
                             read_results(std::string(FP8SCOPE_SOURCE) + "/tests/data/types.h5");
                           }),
                           {"types.h5", "not a result file"}));
}

TEST_F(ResultFile, AnInputIsKnownByItsNameSizeAndHash) {
  write_bytes(path("in.bin"), "abc");
  const InputFile input = identify(path("in.bin"));
  EXPECT_EQ(input.name, "in.bin");
  EXPECT_EQ(input.bytes, 3u);
  EXPECT_EQ(input.sha256, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  EXPECT_THROW(identify(path("none")), IoError);
}

TEST(PrintTable, AsCsvQuotesAndKeepsAllDigits) {
  EXPECT_EQ(print_table(every_kind(), TableStyle::csv),
            "recipe,step,n,sqnr_db,amax,hist[-2],hist[-1]\n"
            "te_current,-1,0,31.25,0.1,1,2\n"
            "\"a,\"\"b\"\"\",0,1,inf,1e-45,3,4\n"
            "caf\u00e9|x,9223372036854775807,18446744073709551615,nan,-inf,5,6\n");
}

TEST(PrintTable, AsTextAlignsNumbersToTheRight) {
  Table t("t", "");
  t.add<std::string>("name", "1", "") = {"a", "long one"};
  t.add<double>("x", "1", "") = {1.23456789, -100};
  EXPECT_EQ(print_table(t, TableStyle::text),
            "name           x\n"
            "a         1.2346\n"
            "long one    -100\n");
}

TEST(PrintTable, AsMarkdownEscapesBars) {
  Table t("t", "");
  t.add<std::string>("name", "1", "") = {"a|b"};
  t.add<double>("x", "1", "") = {0.5};
  EXPECT_EQ(print_table(t, TableStyle::md), "| name | x |\n|---|---:|\n| a\\|b | 0.5 |\n");
}

TEST(PrintTable, AsJsonIsValidAndKeepsValues) {
  const auto json = nlohmann::json::parse(print_table(every_kind(), TableStyle::json));
  EXPECT_EQ(json["name"], "results");
  EXPECT_EQ(json["columns"][3]["unit"], "dB");
  EXPECT_EQ(json["columns"][5]["axis"]["values"][0], -2);
  EXPECT_EQ(json["rows"][2]["n"], UINT64_MAX);
  EXPECT_EQ(json["rows"][0]["sqnr_db"], 31.25);
  EXPECT_EQ(json["rows"][0]["amax"], 0.1);
  EXPECT_EQ(json["rows"][1]["sqnr_db"], "inf");
  EXPECT_TRUE(json["rows"][2]["sqnr_db"].is_null());
  EXPECT_EQ(json["rows"][1]["hist"], (std::vector<int>{3, 4}));
}

TEST(PrintTable, AnEmptyTableHasItsHeading) {
  Table t("t", "");
  t.add<double>("x", "1", "");
  EXPECT_EQ(print_table(t, TableStyle::csv), "x\n");
  EXPECT_EQ(print_table(t, TableStyle::text), "x\n");
  EXPECT_EQ(nlohmann::json::parse(print_table(t, TableStyle::json))["rows"].size(), 0u);
}

TEST(Table, AnUnknownColumnOrStyleListsThoseThereAre) {
  EXPECT_TRUE(is_line_with(message_of<UnknownName>([] { every_kind().column("sqnr_bd"); }),
                           {"did you mean 'sqnr_db'"}));
  EXPECT_TRUE(is_line_with(message_of<UnknownName>([] { parse_table_style("xml"); }),
                           {"text, csv, json, md"}));
}

TEST(Table, ReferencesToColumnsStayValid) {
  Table t("t", "");
  auto& first = t.add<double>("first", "1", "");
  for (int i = 0; i < 100; ++i) t.add<double>(std::to_string(i), "1", "").push_back(i);
  first.push_back(4);
  EXPECT_EQ(std::get<std::vector<double>>(t.column("first").values)[0], 4);
}

}  // namespace
}  // namespace fp8scope
