#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "src/gemm_error.hpp"
#include "src/sweep/spec.hpp"

namespace fp8scope {

/// Where the tensors of a point come from, beside the trace: "synthetic.rows" etc. and "inject.ratio" etc.
using SourceSettings = std::map<std::string, std::string>;

/// One combination of the axes, resolved: indices into Grid.
struct Point {
  std::vector<std::string> values;  ///< [axes]; "" where the axis does not apply
  std::size_t source, recipe;
  std::int64_t unit;                ///< -1: no products
  std::string gemms;
  bool requantise;
};

/// All points in planned order, and the distinct parts they are made of in the order they turn up.
struct Grid {
  std::vector<std::string> axes;
  std::vector<Point> points;
  std::vector<SourceSettings> sources;
  std::vector<std::string> recipes;
  std::vector<GemmRequest> units;
  std::vector<std::string> warnings;
};

/// The product of the axes, the first one slowest; then each include, whose missing axes keep the
/// values of the grid; less what is excluded and what turns up again. An option of a recipe or a model
/// applies to those that have it and is "" for the others.
///
/// Throws UsageError: more than `most` points, an axis that applies to nothing, a wrong value.
Grid make_grid(const SweepSpec& spec, std::uint64_t most);

/// "hopper_wgmma:f=13+promote=128+...": what differs from the defaults.
std::string unit_name(const GemmRequest& unit);
/// "trace", "synthetic.sigma=2,inject.ratio=100": what differs from the defaults.
std::string source_name(const SourceSettings& settings);

}  // namespace fp8scope
