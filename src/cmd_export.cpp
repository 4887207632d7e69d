#include <fmt/format.h>

#include "sim/names.hpp"
#include "src/command.hpp"
#include "src/errors.hpp"
#include "src/options.hpp"
#include "src/output_file.hpp"
#include "src/result_file.hpp"
#include "src/table.hpp"

namespace fp8scope {

int run_export(const Args& args) {
  Options options("export", "RESULTS");
  options.add("format,f", "FORMAT", "csv, json, md or text");
  options.add("table,t", "NAME", "which table (default: the first)");
  options.add("output,o", "FILE", "where it goes (default: standard output)");
  options.flag("list", "print the names of the tables and stop");
  if (!options.parse(args)) return 0;
  const std::string& path = options.words()[0];
  const TableStyle style =
      parse_table_style(options.has("list") ? "text" : options.required("format"));
  const auto output = options.text("output");
  if (output) require_other_file(*output, path);

  const Results results = read_results(path);
  if (results.tables.empty()) throw DataError(fmt::format("'{}': holds no table", path));
  std::string text;
  if (options.has("list")) {
    for (const Table& table : results.tables)
      text += fmt::format("{:16} {:>8} rows  {}\n", table.name, table.rows(), table.long_name);
  } else {
    const auto name = options.text("table");
    text =
        print_table(name ? by_name(results.tables, *name, "table") : results.tables.front(), style);
  }
  if (!output) return fmt::print("{}", text), 0;
  OutputFile file(*output);
  file.write(text);
  file.commit();
  return 0;
}

}  // namespace fp8scope
