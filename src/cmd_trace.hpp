#pragma once

#include "src/command.hpp"
#include "src/table.hpp"
#include "src/trace.hpp"

namespace fp8scope {

/// One row per recorded tensor.
Table list_tensors(const Trace& trace);

// The actions of 'trace' that write files; the first word is the action's name.
int run_trace_import(const Args&);
int run_trace_slice(const Args&);
int run_trace_synth(const Args&);
int run_trace_export(const Args&);

}  // namespace fp8scope
