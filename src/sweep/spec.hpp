#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <regex>
#include <string>
#include <vector>

#include "src/sweep/config.hpp"
#include "src/trace.hpp"

namespace fp8scope {

/// An axis of a grid: a key and the values it takes, as text.
struct GridAxis {
  std::string key;
  std::vector<std::string> values;
  std::string where;
};

/// Points whose values all match are left out. A value is compared as text; "/.../" is a regular
/// expression for the whole value.
struct Exclusion {
  std::vector<GridAxis> conditions;
  std::string where;
};

/// Which tensors and steps of the input take part.
class Selection {
 public:
  /// `layers` is a regular expression to be found in the layer's name or its name in the framework;
  /// `tensors` are operands ("x"), classes ("activation") or empty for all; `steps` as parse_ranges().
  void set_layers(const ConfigEntry& entry);
  void set_tensors(const ConfigEntry& entry);
  void set_steps(const ConfigEntry& entry);

  bool has_tensor(const TensorInfo& info) const;
  bool has_step(std::int64_t step) const;

 private:
  std::optional<std::regex> layers_;
  std::vector<std::string> operands_;
  std::vector<std::vector<std::int64_t>> steps_;  ///< {first, last, distance}
};

/// What a sweep is to do.
struct SweepSpec {
  std::string trace;  ///< path; "" if the tensors are synthetic
  std::string title;
  bool synthetic = false;
  Selection select;
  std::vector<GridAxis> grid;
  std::vector<std::vector<GridAxis>> include;
  std::vector<Exclusion> exclude;
  std::map<std::string, std::string> fixed;  ///< "synthetic.rows", "inject.kind", "seed", ...: not in the grid
  std::string text;  ///< TOML of all this, without [run]: the same for the same sweep
  std::string file;  ///< where it was read, for paths relative to it
};

/// Reads the keys of `config`. Throws UsageError with file, line and column: unknown keys, wrong values.
SweepSpec read_spec(const Config& config, const std::string& file);

/// A key that a grid can have beside the options of recipes and models, with its default.
struct AxisKey {
  std::string_view name, fallback, meaning;
};
std::span<const AxisKey> axis_keys();

/// "0-100+10" is 0, 10, ..., 100; "1-1024*4" is 1, 4, 16, ..., 1024; "7" is 7.  Empty if it is no range.
std::vector<std::int64_t> expand_range(const std::string& text, std::size_t most);

/// Whether the recipe `spec` has an option `key`.
bool recipe_takes(const std::string& spec, const std::string& key);

}  // namespace fp8scope
