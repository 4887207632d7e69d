#pragma once

#include "src/import/selection.hpp"
#include "src/trace.hpp"

namespace fp8scope {

/// Writes the selected tensors of a trace to another format, which the name's ending says:
///
///   .safetensors  every tensor and step as "LAYER/OPERAND/stepN" in its own type (types it does not know as U8),
///                 so that 'trace import' reads it back; root attributes as metadata
///   .npy          one tensor, float32 [steps, rows, cols]; exact for every type a trace holds
///   .csv          tensor,step,row,col,value, a line an element, shortest digits that read back
///
/// The file appears whole or not at all. Throws UsageError, DataError, IoError.
void export_trace(const Trace& trace, const std::string& output, const TraceSelection& selection);

}  // namespace fp8scope
