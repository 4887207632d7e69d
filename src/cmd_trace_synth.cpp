#include <fmt/format.h>

#include "sim/names.hpp"
#include "src/cmd_trace.hpp"
#include "src/errors.hpp"
#include "src/import/name_map.hpp"
#include "src/import/source.hpp"
#include "src/import/trace_copy.hpp"
#include "src/import/trace_synth.hpp"
#include "src/options.hpp"

namespace fp8scope {

namespace {

void describe(Options& o) {
  o.add("output,o", "FILE", "the trace to write");
  o.add("outliers", "SPEC", "none, or channel, token or random with :share=F (0.01) and :ratio=F (100): "
                            "that share of the columns, rows or elements times ratio (default none)");
  o.add("outlier-operands", "LIST", "which operands made have them (default all made)");
  o.add("inject", "TRACE", "put the outliers into a copy of this trace instead of making tensors");
  o.add("seed", "N", "of the random numbers (default 0)");
  TraceSelection::describe(o);
  o.add("count", "N", "layers to make (default 1)");
  o.add("rows", "N", "tokens (default 1024)");
  o.add("cols", "N", "input features (default 1024)");
  o.add("out", "N", "output features, the rows of w and columns of dy (default as --cols)");
  o.add("record", "N", "steps to make (default 1)");
  o.add("distribution", "NAME", "normal, uniform or laplace (default normal)");
  o.add("sigma", "LIST", "standard deviations (default x=1,w=0.02,dy=0.001)");
  o.add("dtype", "TYPE", "bf16, fp16 or float32 (default bf16)");
  o.add("compress", "LEVEL", "deflate level, 0 to 9 (default 1)");
}

std::int64_t extent(const Options& o, const char* name, std::uint64_t fallback) {
  const std::uint64_t value = o.number_or(name, fallback);
  if (value == 0 || value > (1u << 24))
    throw UsageError(fmt::format("--{} wants a number from 1 to 16777216, got {}", name, value));
  return static_cast<std::int64_t>(value);
}

/// "x=1,w=0.02" over the defaults.
std::vector<SynthOperand> operands_of(const Options& o) {
  std::vector<SynthOperand> all{{"x", 1.0}, {"w", 0.02}, {"dy", 0.001}};
  for (const std::string& part : o.list("sigma")) {
    const std::size_t equal = std::min(part.find('='), part.size());
    const std::string name = operand_name(part.substr(0, equal));
    const auto at = std::ranges::find(all, name, &SynthOperand::name);
    if (at == all.end() || equal == part.size())
      throw UsageError(fmt::format("--sigma wants x=F, w=F or dy=F, got '{}'", part));
    at->sigma = parse_positive(part.substr(equal + 1), "--sigma");
  }
  return all;
}

SynthOptions synth_options(const Options& o, const TraceSelection& selection) {
  SynthOptions s;
  s.layers = extent(o, "count", 1), s.steps = extent(o, "record", 1);
  s.rows = extent(o, "rows", 1024), s.cols = extent(o, "cols", 1024);
  s.out = extent(o, "out", static_cast<std::uint64_t>(s.cols));
  s.distribution =
      by_name(distributions, o.text_or("distribution", "normal"), "distribution").distribution;
  for (SynthOperand& operand : operands_of(o))
    if (selection.operand(operand.name)) s.operands.push_back(std::move(operand));
  for (const std::string& word : o.list("outlier-operands"))
    s.outlier_operands.push_back(operand_name(word));
  if (s.outlier_operands.empty())
    for (const SynthOperand& operand : s.operands) s.outlier_operands.push_back(operand.name);
  const Element element = parse_element(o.text_or("dtype", "bf16"));
  s.dtype = std::string(h5::type_name(element.type));
  if (!element.encoding.empty() || element.type == h5::Type::f64)
    throw UsageError(fmt::format("--dtype wants bf16, fp16 or float32, got '{}'", element.name));
  s.injection = {parse_outliers(o.text_or("outliers", "none")), o.number_or("seed", 0)};
  s.deflate = parse_deflate(o);
  return s;
}

}  // namespace

int run_trace_synth(const Args& args) {
  Options o("trace synth", "");
  describe(o);
  if (!o.parse({args.begin() + 1, args.end()})) return 0;
  const std::string output = o.required("output");
  const TraceSelection selection(o);
  if (const auto trace = o.text("inject")) {
    for (const char* name : {"count", "rows", "cols", "out", "record", "distribution", "sigma", "dtype", "outlier-operands"})
      if (o.has(name)) throw UsageError(fmt::format("--{} does not go with --inject, which copies a trace", name));
    CopyOptions options;
    options.inject = Injection{parse_outliers(o.required("outliers")), o.number_or("seed", 0)};
    options.deflate = parse_deflate(o);
    copy_trace(Trace(*trace), output, selection, options);
  } else {
    synthesise_trace(output, selection, synth_options(o, selection));
  }
  fmt::print("{}", print_table(list_tensors(Trace(output)), TableStyle::text));
  return 0;
}

}  // namespace fp8scope
