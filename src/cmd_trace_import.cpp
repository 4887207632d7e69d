#include <fmt/format.h>

#include "src/cmd_trace.hpp"
#include "src/errors.hpp"
#include "src/import/import.hpp"
#include "src/options.hpp"

namespace fp8scope {

namespace {

void describe(Options& o) {
  o.add("output,o", "FILE", "the trace to write (HDF5)");
  o.add("map", "REGEX",
        "finds (?<layer>..), (?<operand>..), (?<step>..) in PATH/NAME without the file's ending "
        "(default: the usual ways, e.g. step_3/L00.down.x)");
  o.add("layer", "NAME", "the layer of every tensor");
  o.add("operand", "NAME", "the operand of every tensor: x, w, dy, ...");
  o.add("step", "N", "the step of every tensor");
  TraceSelection::describe(o);
  o.flag("stacked", "the first axis of every tensor but w counts steps");
  o.add("dtype", "TYPE",
        "what raw files and 8- or 16-bit elements without meaning hold: bf16, e4m3, float32, ...");
  o.add("shape", "RxC", "shape of raw files, e.g. 128x576");
  o.add("offset", "BYTES", "where the elements of raw files begin (default 0)");
  o.add("scales", "MODE",
        "apply: codes with a tensor NAME_scale_inv or NAME_scale beside them are multiplied by it; "
        "ignore (default apply)");
  o.add("max-inflation", "RATIO", "largest ratio of a compressed npz member above 64 MiB (default 200)");
  o.add("compress", "LEVEL", "deflate level of the trace, 0 to 9 (default 1)");
  o.add("title", "TEXT", "title of the trace");
}

bool apply_scales(const Options& o) {
  const std::string mode = o.text_or("scales", "apply");
  if (mode != "apply" && mode != "ignore")
    throw UsageError(fmt::format("--scales wants apply or ignore, got '{}'", mode));
  return mode == "apply";
}

}  // namespace

int run_trace_import(const Args& args) {
  Options o("trace import", "INPUT...");
  describe(o);
  if (!o.parse({args.begin() + 1, args.end()})) return 0;
  const std::string output = o.required("output");

  TraceName fixed;
  fixed.layer = o.text_or("layer", ""), fixed.operand = operand_name(o.text_or("operand", ""));
  if (o.has("step")) fixed.step = static_cast<std::int64_t>(o.number_or("step", 0) & ~(1ull << 63));
  ImportOptions options;
  options.source.dtype = o.text_or("dtype", "");
  if (!options.source.dtype.empty()) parse_element(options.source.dtype);
  if (const auto shape = o.text("shape")) options.source.shape = parse_shape(*shape);
  options.source.offset = o.bytes_or("offset", 0);
  options.source.most_inflation = std::max<std::uint64_t>(1, o.number_or("max-inflation", 200));
  options.stacked = o.has("stacked"), options.apply_scales = apply_scales(o);
  options.deflate = parse_deflate(o);
  options.attributes = stated_provenance(o.words());
  if (options.attributes.empty()) options.attributes = {{"source", std::string("recorded")}};
  options.attributes.insert(options.attributes.end(),
                       {{"title", o.text_or("title", "imported tensors")},
                        {"framework", fmt::format("imported from {}", fmt::join(o.words(), ", "))}});

  const ImportReport report = import_trace(o.words(), output, NameMap(o.text_or("map", ""), fixed),
                                           TraceSelection(o), options);
  for (const std::string& note : report.notes) fmt::print(stderr, "fp8scope: {}\n", note);
  fmt::print("{}", print_table(list_tensors(Trace(output)), TableStyle::text));
  return 0;
}

}  // namespace fp8scope
