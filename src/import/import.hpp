#pragma once

#include <string>
#include <vector>

#include "src/import/name_map.hpp"
#include "src/import/selection.hpp"
#include "src/import/source.hpp"
#include "src/trace.hpp"

namespace fp8scope {

/// How the tensors of foreign files become a trace.
struct ImportOptions {
  SourceOptions source;
  bool stacked = false;       ///< the first axis of every tensor but weights counts steps
  bool apply_scales = true;   ///< codes with a tensor NAME_scale_inv beside them are multiplied by it
  int deflate = 1;
  std::vector<h5::Attribute> attributes;
};

struct ImportReport {
  std::vector<std::string> notes;  ///< what was left out or changed, a line each
};

/// Reads foreign files and writes a trace, which appears whole or not at all. Nothing is held in
/// memory but a panel of rows.
///
/// Values are kept as stored, except: binary64 is rounded to binary32 (nearest even), formats of 9 to
/// 15 bits become binary32 exactly, and codes with scales become code * scale_inv in binary32.
///
/// Throws UsageError, DataError naming file and tensor, IoError.
ImportReport import_trace(const std::vector<std::string>& files, const std::string& output,
                          const NameMap& names, const TraceSelection& selection,
                          const ImportOptions& options);

/// Where the tensors of a file come from, as a trace that was exported to .safetensors says of itself:
/// `source` and, if outliers were injected, which. Of other files nothing.
std::vector<h5::Attribute> stated_provenance(const std::vector<std::string>& files);

/// The products that read an operand, with their contraction axes; none for "y", "dx", "dw".
std::vector<GemmUse> usual_gemms(const std::string& operand);

}  // namespace fp8scope
