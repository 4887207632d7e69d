#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace fp8scope {

/// One key of a configuration with its values, all kept as text: an axis becomes words of a recipe.
struct ConfigEntry {
  std::string path;  ///< "grid.recipe", "include[0].margin"
  std::vector<std::string> values;
  bool is_list = false;  ///< written as an array
  bool quoted = false;   ///< written as strings
  std::string where;     ///< "spec.toml:7:1", or the origin where there is no line
  std::string origin;    ///< "spec.toml", "FP8SCOPE_THREADS", "--set", "built in"

  /// The only value. Throws UsageError if it is a list.
  const std::string& value() const;
};

/// Keys in the order of the file, as several layers have set them.
class Config {
 public:
  /// A file in TOML. Throws UsageError with line and column; IoError.
  void add_file(const std::string& path);
  void add_text(std::string_view toml, const std::string& name);
  /// "key=value", the value as in TOML or a bare word. Replaces what an earlier layer says.
  void set(std::string_view assignment, const std::string& origin);

  const std::vector<ConfigEntry>& entries() const { return entries_; }
  const ConfigEntry* find(std::string_view path) const;
  /// How many tables an array such as "include" has.
  std::size_t count(std::string_view array) const;

  /// TOML that add_text() reads as the same entries; with a comment on the origin of each if asked for.
  /// Paths that begin with `without` are left out, where it is not empty.
  std::string text(std::string_view without, bool with_origins) const;

 private:
  void merge(ConfigEntry entry);
  std::vector<ConfigEntry> entries_;
};

/// The last part of a path: "recipe" of "grid.recipe"; for deeper ones all behind the first: "synthetic.sigma".
std::string_view key_of(std::string_view path);

}  // namespace fp8scope
