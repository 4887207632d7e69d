#include "src/sweep/config.hpp"

#include <fmt/format.h>
#include <toml++/toml.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>
#include <set>

#include "src/errors.hpp"

namespace fp8scope {
namespace {

constexpr std::uintmax_t most_bytes = 1u << 20;

std::string place(const std::string& name, const toml::source_region& source) {
  return fmt::format("{}:{}:{}", name, source.begin.line, source.begin.column);
}

/// A scalar as the text that a recipe, a model or an option would be given.
std::string scalar(const toml::node& node, const std::string& where, const std::string& path) {
  if (const auto* text = node.as_string()) return text->get();
  if (const auto* whole = node.as_integer()) return fmt::format("{}", whole->get());
  if (const auto* flag = node.as_boolean()) return flag->get() ? "true" : "false";
  if (const auto* real = node.as_floating_point(); real && std::isfinite(real->get()))
    return fmt::format("{}", real->get());
  throw UsageError(fmt::format("{}: '{}' wants a string, a whole number, a finite number, true or false", where, path));
}

struct Placed {
  toml::source_position position;
  ConfigEntry entry;
};

class Flattener {
 public:
  explicit Flattener(std::string name) : name_(std::move(name)) {}

  void table(const toml::table& table, const std::string& prefix, int depth) {
    if (depth > 4) throw UsageError(fmt::format("{}: tables are nested too deep", place(name_, table.source())));
    for (const auto& [key, node] : table) {
      const std::string path = prefix.empty() ? std::string(key.str()) : prefix + "." + std::string(key.str());
      const std::string where = place(name_, key.source());
      if (const auto* inner = node.as_table())
        this->table(*inner, path, depth + 1);
      else if (const auto* list = node.as_array(); list && !list->empty() && list->is_homogeneous<toml::table>())
        for (std::size_t i = 0; i < list->size(); ++i) this->table(*list->get(i)->as_table(), fmt::format("{}[{}]", path, i), depth + 1);
      else
        leaf(node, key.source().begin, path, where);
    }
  }

  /// In the order of the file: toml++ keeps tables by name.
  std::vector<ConfigEntry> entries() {
    std::ranges::stable_sort(found_, [](const Placed& a, const Placed& b) { return a.position < b.position; });
    std::vector<ConfigEntry> all;
    for (Placed& placed : found_) all.push_back(std::move(placed.entry));
    return all;
  }

 private:
  void leaf(const toml::node& node, toml::source_position position, const std::string& path, const std::string& where) {
    ConfigEntry entry{path, {}, false, node.is_string(), where, name_};
    if (const auto* list = node.as_array()) {
      entry.is_list = true;
      for (const toml::node& element : *list) {
        entry.values.push_back(scalar(element, where, path));
        entry.quoted = entry.quoted || element.is_string();
      }
      if (entry.values.empty()) throw UsageError(fmt::format("{}: '{}' is an empty list", where, path));
    } else {
      entry.values.push_back(scalar(node, where, path));
    }
    found_.push_back({position, std::move(entry)});
  }

  std::string name_;
  std::vector<Placed> found_;
};

std::vector<ConfigEntry> parse(std::string_view text, const std::string& name) {
  try {
    const toml::table table = toml::parse(text, std::string_view(name));
    Flattener flattener(name);
    flattener.table(table, "", 0);
    return flattener.entries();
  } catch (const toml::parse_error& error) {
    std::string what(error.description());
    std::ranges::replace(what, '\n', ' ');
    throw UsageError(fmt::format("{}: {}", place(name, error.source()), what));
  }
}

std::string quoted(const std::string& text) {
  return nlohmann::json(text).dump(-1, ' ', true, nlohmann::json::error_handler_t::replace);
}

std::string value_text(const ConfigEntry& entry) {
  std::vector<std::string> words;
  for (const std::string& value : entry.values) words.push_back(entry.quoted ? quoted(value) : value);
  return entry.is_list ? fmt::format("[{}]", fmt::join(words, ", ")) : words.at(0);
}

/// "include[0]" of "include[0].recipe"; "" where the path is in no array of tables.
std::string_view array_table(std::string_view path) {
  const std::size_t end = path.find(']');
  return end == std::string_view::npos ? "" : path.substr(0, end + 1);
}

}  // namespace

const std::string& ConfigEntry::value() const {
  if (is_list) throw UsageError(fmt::format("{}: '{}' wants one value, not a list", where, path));
  return values.at(0);
}

std::string_view key_of(std::string_view path) {
  const std::size_t dot = path.find('.');
  return dot == std::string_view::npos ? path : path.substr(dot + 1);
}

void Config::add_file(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) throw IoError(fmt::format("'{}': cannot open: {}", path, std::strerror(errno)));
  std::error_code error;
  const std::uintmax_t bytes = std::filesystem::file_size(path, error);
  if (error) throw IoError(fmt::format("'{}': cannot open: not a regular file", path));
  if (bytes > most_bytes) throw UsageError(fmt::format("'{}': {} bytes; a specification has at most 1 MiB", path, bytes));
  const std::string text{std::istreambuf_iterator<char>(file), {}};
  add_text(text, path);
}

void Config::add_text(std::string_view toml, const std::string& name) {
  std::vector<ConfigEntry> added = parse(toml, name);
  // A layer that has [[include]] replaces those of the layers before it.
  std::set<std::string, std::less<>> arrays;
  for (const ConfigEntry& entry : added)
    if (const std::string_view array = array_table(entry.path); !array.empty())
      arrays.emplace(array.substr(0, array.find('[')));
  std::erase_if(entries_, [&](const ConfigEntry& entry) {
    const std::string_view array = array_table(entry.path);
    return !array.empty() && arrays.contains(array.substr(0, array.find('[')));
  });
  for (ConfigEntry& entry : added) merge(std::move(entry));
}

void Config::set(std::string_view assignment, const std::string& origin) {
  const std::size_t equals = assignment.find('=');
  if (equals == std::string_view::npos || equals == 0)
    throw UsageError(fmt::format("{} {}: wanted KEY=VALUE, such as grid.margin=[0,1]", origin, assignment));
  const std::string path(assignment.substr(0, equals));
  const std::string value(assignment.substr(equals + 1));
  if (value.empty()) throw UsageError(fmt::format("{} {}: the value is empty", origin, assignment));
  std::vector<ConfigEntry> parsed;
  try {
    parsed = parse("value = " + value, origin);
    if (parsed.size() != 1 || parsed[0].path != "value") parsed.clear();
  } catch (const UsageError&) {  // a bare word
    if (value.find_first_of("[{\"'") == 0) throw UsageError(fmt::format("{} {}: the value is no TOML", origin, assignment));
  }
  if (parsed.empty()) parsed = {{"", {value}, false, true, origin, origin}};
  parsed[0].path = path, parsed[0].where = parsed[0].origin = origin;
  merge(std::move(parsed[0]));
}

void Config::merge(ConfigEntry entry) {
  const auto known = std::ranges::find(entries_, entry.path, &ConfigEntry::path);
  if (known == entries_.end())
    entries_.push_back(std::move(entry));
  else
    *known = std::move(entry);
}

const ConfigEntry* Config::find(std::string_view path) const {
  const auto found = std::ranges::find(entries_, path, &ConfigEntry::path);
  return found == entries_.end() ? nullptr : &*found;
}

std::size_t Config::count(std::string_view array) const {
  std::set<std::string_view> tables;
  for (const ConfigEntry& entry : entries_)
    if (const std::string_view table = array_table(entry.path); table.substr(0, table.find('[')) == array) tables.insert(table);
  return tables.size() - (tables.contains("") ? 1 : 0);
}

std::string Config::text(std::string_view without, bool with_origins) const {
  std::string text, tables;
  std::string_view open;
  for (const ConfigEntry& entry : entries_) {
    if (!without.empty() && entry.path.starts_with(without)) continue;
    const std::string_view table = array_table(entry.path);
    std::string& out = table.empty() ? text : tables;
    if (!table.empty() && table != open) {
      open = table;
      tables += fmt::format("\n[[{}]]\n", table.substr(0, table.find('[')));
    }
    const std::string line = fmt::format("{} = {}", table.empty() ? entry.path : std::string(key_of(entry.path)), value_text(entry));
    out += with_origins ? fmt::format("{:60} # {}\n", line, entry.where) : line + "\n";
  }
  return text + tables;
}

}  // namespace fp8scope
