#include <fmt/format.h>

#include "src/command.hpp"
#include "src/errors.hpp"
#include "src/format_facts.hpp"
#include "src/options.hpp"

namespace fp8scope {

int run_formats(const Args& args) {
  Options options("formats", "[NAME]");
  options.flag("codes", "every code of NAME: hexadecimal, fields, exact value");
  options.flag("md", "as a Markdown table");
  if (!options.parse(args)) return 0;
  const TableStyle style = options.has("md") ? TableStyle::md : TableStyle::text;
  if (options.words().empty()) {
    if (options.has("codes"))
      throw UsageError("formats: --codes needs a format, for instance 'formats e4m3 --codes'");
    fmt::print("{}", print_table(format_list(), style));
    return 0;
  }
  const Format f = parse_format(options.words().front());
  fmt::print("{}", print_table(options.has("codes") ? code_list(f) : describe(f), style));
  return 0;
}

}  // namespace fp8scope
