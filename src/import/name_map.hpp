#pragma once

#include <optional>
#include <regex>
#include <string>
#include <string_view>
#include <vector>

namespace fp8scope {

/// A regular expression (ECMAScript) with named groups: (?<layer>...), also written (?P<layer>...).
class NamedRegex {
 public:
  /// Throws UsageError naming `option` if the pattern is wrong or a group has a name not in `known`.
  NamedRegex(std::string_view pattern, const std::vector<std::string_view>& known,
             std::string_view option);

  bool has(std::string_view group) const;
  /// Text of each known group, "" where it took no part; nothing if the pattern is not found.
  std::optional<std::vector<std::string>> search(const std::string& text) const;

 private:
  std::vector<std::string_view> known_;
  std::vector<int> index_;  ///< [known] number of the group; 0: none
  std::regex regex_;
};

/// Where a foreign tensor belongs in a trace.
struct TraceName {
  std::string layer, operand;
  std::optional<std::int64_t> step;
  std::string framework;  ///< the layer as the file called it
};

/// Finds layer, operand and step in the name of a foreign tensor.
class NameMap {
 public:
  /// pattern  searched in "path/of/file/NAME" (without the file's ending) with the groups layer,
  ///          operand, step; "": the usual ways to write them, such as "L00.down/x",
  ///          "layers.0.mlp.down_proj.weight", "step_10/L00.down.x", "L00.down.x.step10"
  /// fixed    what every tensor has, whatever its name; empty members say nothing
  NameMap(std::string_view pattern, TraceName fixed);

  /// Nothing if the pattern does not fit. Throws DataError if the step is no number or the layer's
  /// name cannot be one.
  std::optional<TraceName> find(const std::string& full_name) const;

 private:
  std::vector<NamedRegex> patterns_;
  TraceName fixed_;
};

/// "x" for "activation" or "input", "w" for "weight", "dy" for "gradient" ...; other words unchanged.
std::string operand_name(const std::string& word);

}  // namespace fp8scope
