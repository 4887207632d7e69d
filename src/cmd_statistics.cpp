#include <fmt/format.h>

#include "src/cast_stats.hpp"
#include "src/command.hpp"
#include "src/options.hpp"
#include "src/table.hpp"
#include "src/tiles/tile_tables.hpp"

namespace fp8scope {
namespace {

/// Statistics that Transformer Engine's inspector (nvdlfw_inspect, LogFp8TensorStats) logs under the same name and with
/// the same formula, and how its numbers may still differ.
constexpr struct {
  std::string_view name, difference;
} inspector[] = {
    {"underflows%", "none"},
    {"overflows%", "none; the inspector has it for delayed scaling only"},
    {"mse", "the inspector subtracts in the tensor's own type and sums in binary32: two or three digits of a bfloat16 "
            "tensor; here e is binary32 and the sum binary64"},
    {"scale_inv_min", "of MXFP8 the inspector takes the E8M0 bytes, biased exponents, and drops a byte of 0; here it is "
                      "the factor that they stand for"},
    {"scale_inv_max", "as scale_inv_min"},
};

Table definitions() {
  Table table("statistics", "one number per cast of a tensor");
  auto& name = table.add<std::string>("name", "1", "");
  auto& unit = table.add<std::string>("unit", "1", "");
  auto& meaning = table.add<std::string>("definition", "1", "");
  for (const Count& c : counts()) name.emplace_back(c.name), unit.emplace_back("1"), meaning.emplace_back(c.long_name);
  for (const Statistic& s : statistics()) name.emplace_back(s.name), unit.emplace_back(s.unit), meaning.emplace_back(s.long_name);
  return table;
}

Table inspector_table() {
  Table table("inspector", "Transformer Engine's inspector");
  auto& name = table.add<std::string>("name", "1", "");
  auto& difference = table.add<std::string>("difference from Transformer Engine's inspector", "1", "");
  for (const auto& row : inspector) name.emplace_back(row.name), difference.emplace_back(row.difference);
  return table;
}

}  // namespace

int run_statistics(const Args& args) {
  Options options("statistics", "");
  options.flag("md", "as Markdown");
  if (!options.parse(args)) return 0;
  const bool md = options.has("md");
  const auto section = [&](const char* title, const char* text, const Table& table) {
    fmt::print("{}{}\n\n{}\n{}", md ? "## " : "", title, *text ? std::string(text) + "\n\n" : "", print_table(table, md ? TableStyle::md : TableStyle::text));
    fmt::print("\n");
  };
  if (md) fmt::print("# Statistics\n\nMade by `fp8scope statistics --md`.\n\n");
  section("Of every cast: table results",
          "x is the tensor, y = decode(code) * scale_inv in binary32, e = fl(x - y); sums run over the elements whose x and y are finite.",
          definitions());
  section("Of every tile: table tiles, replay --tiles", "", TileTables::definitions());
  section("By Transformer Engine's names", "", inspector_table());
  return 0;
}

}  // namespace fp8scope
