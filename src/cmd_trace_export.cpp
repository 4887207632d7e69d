#include "src/cmd_trace.hpp"
#include "src/import/trace_export.hpp"
#include "src/options.hpp"

namespace fp8scope {

int run_trace_export(const Args& args) {
  Options o("trace export", "TRACE");
  o.add("output,o", "FILE", "the file to write: .safetensors, .npy (one tensor, float32) or .csv");
  TraceSelection::describe(o);
  if (!o.parse({args.begin() + 1, args.end()})) return 0;
  const std::string output = o.required("output");
  export_trace(Trace(o.words()[0]), output, TraceSelection(o));
  return 0;
}

}  // namespace fp8scope
