#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "src/replay.hpp"
#include "src/sweep/grid.hpp"
#include "src/trace.hpp"

namespace fp8scope {

/// The tensors and steps that a sweep is planned over: enough to plan and to publish without the trace.
struct Catalog {
  std::vector<std::int64_t> steps;   ///< numbers of the recorded steps
  std::vector<TensorInfo> tensors;   ///< those selected
  std::vector<std::size_t> in_trace; ///< [tensors] index in the trace; empty if synthetic
};

/// The selected tensors of a trace.
Catalog catalog_of(const Trace& trace, const Selection& select);

/// Synthetic tensors "S00.synthetic/x" [rows, cols], "/w" [outputs, cols], "/dy" [rows, outputs].
/// Throws UsageError for sizes out of range.
Catalog synthetic_catalog(const SourceSettings& settings, const Selection& select);

/// The tensors of one source: a trace or synthetic ones, with outliers injected if so asked.
class Source {
 public:
  /// `trace` is nullptr if the tensors are synthetic. All must outlive this object.
  /// Throws UsageError for settings out of range.
  Source(const SourceSettings& settings, const Catalog& catalog, const Trace* trace);
  ~Source();

  /// Lives as long as this object.
  ReplayInput input() const;

 private:
  struct Settings;
  void read_rows(std::size_t tensor, std::size_t step, std::int64_t first, std::int64_t count, float* out) const;
  void make_rows(std::size_t tensor, std::size_t step, std::int64_t first, std::int64_t count, float* out) const;
  void inject(std::size_t tensor, std::size_t step, std::int64_t first, std::int64_t count, float* x) const;
  bool has_outliers(std::size_t tensor, std::size_t step) const;
  float amax_with_outliers(std::size_t tensor, std::size_t step) const;

  std::unique_ptr<const Settings> settings_;
  const Catalog& catalog_;
  const Trace* trace_;
  AmaxHistory no_history_;
  mutable std::vector<float> rows_;  ///< for amax_with_outliers()
};

}  // namespace fp8scope
