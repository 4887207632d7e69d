#pragma once

#include <optional>

#include "src/import/selection.hpp"
#include "src/import/synth.hpp"
#include "src/trace.hpp"

namespace fp8scope {

/// Outliers for the tensors of a trace that a selection names.
struct Injection {
  OutlierSpec outliers;
  std::uint64_t seed = 0;
};

struct CopyOptions {
  std::optional<NumberRanges::Range> rows;  ///< of the operands whose rows are tokens: all but w, dw
  std::optional<Injection> inject;          ///< into the selected tensors; the others are copied as well
  int deflate = 1;
};

/// Copies the selected tensors and steps of a trace to another, which appears whole or not at all.
/// The history keeps every step, because delayed scaling needs the steps before a recorded one.
///
/// Without an injection what is not selected is left out. With one everything is copied, `source`
/// becomes "recorded+injected" (a synthetic trace stays "synthetic"), the places of the outliers are
/// written to /outliers, and the history of the recorded steps follows.
///
/// Throws UsageError if nothing is selected or a range is beyond the rows, DataError, IoError.
void copy_trace(const Trace& trace, const std::string& output, const TraceSelection& selection,
                const CopyOptions& options);

/// Collects the places of outliers of one tensor and writes them as columns to /outliers/LAYER/OPERAND.
class OutlierLabels {
 public:
  void add(std::int64_t step, const std::vector<OutlierPlace>& places);
  void write(TraceWriter& writer, const TensorInfo& info) const;

 private:
  std::vector<std::int64_t> step_, row_, col_;
};

/// Rounds binary32 to the elements of a float dtype of a trace, ties to even, infinity kept.
class ElementEncoder {
 public:
  /// Throws UsageError if the dtype is one of raw codes, whose scales nobody knows.
  explicit ElementEncoder(const TensorInfo& info);
  /// The stored elements of `values`, valid until the next call. `values` become what was stored.
  const void* encode(std::vector<float>& values);

 private:
  Format format_;
  bool narrow_;
  std::vector<std::uint16_t> codes_;
};

}  // namespace fp8scope
