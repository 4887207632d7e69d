#include <fmt/format.h>

#include "src/cmd_trace.hpp"
#include "src/errors.hpp"
#include "src/import/trace_copy.hpp"
#include "src/options.hpp"

namespace fp8scope {

int run_trace_slice(const Args& args) {
  Options o("trace slice", "TRACE");
  o.add("output,o", "FILE", "the trace to write");
  TraceSelection::describe(o);
  o.add("rows", "RANGE", "only these rows of x, dy and others whose rows are tokens, e.g. 0-127 or 0-1000+8");
  o.add("compress", "LEVEL", "deflate level, 0 to 9 (default 1)");
  if (!o.parse({args.begin() + 1, args.end()})) return 0;
  const std::string output = o.required("output");
  CopyOptions options;
  if (const auto rows = o.text("rows")) {
    const NumberRanges ranges(*rows, "--rows");
    if (ranges.ranges().size() != 1) throw UsageError("--rows wants one range, such as 0-127");
    options.rows = ranges.ranges()[0];
  }
  options.deflate = parse_deflate(o);
  copy_trace(Trace(o.words()[0]), output, TraceSelection(o), options);
  fmt::print("{}", print_table(list_tensors(Trace(output)), TableStyle::text));
  return 0;
}

}  // namespace fp8scope
