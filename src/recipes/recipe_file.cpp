#include "src/recipes/recipe_file.hpp"

#include <fmt/format.h>
#include <toml++/toml.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>

#include "sim/names.hpp"
#include "src/errors.hpp"

namespace fp8scope {
namespace {

constexpr std::uintmax_t most_bytes = 1u << 20;

/// A key of the file with its value as text.
struct Leaf {
  toml::source_position at;
  std::string key, value;
};

class Reader {
 public:
  explicit Reader(const std::string& name) : name_(name) {}

  RecipeRecord read(const toml::table& file) {
    RecipeRecord record;
    record.name = std::filesystem::path(name_).stem().string();
    record.evidence = "user";
    for (const auto& [key, node] : file) {
      if (key.str() == "override") {
        for (const toml::table* table : tables(node, key.source().begin, "override"))
          record.overrides.push_back(read_override(*table));
      } else if (key.str() == "option") {
        for (const toml::table* table : tables(node, key.source().begin, "option"))
          record.options.push_back(read_option(*table));
      } else if (!read_text(record, key, node)) {
        collect(node, std::string(key.str()), key.source().begin, base_);
      }
    }
    for (const RecipeSetting& setting : settings_of(base_)) set(record.cast, setting);
    check(record);
    return record;
  }

 private:
  [[noreturn]] void fail(toml::source_position at, const std::string& what) const {
    throw UsageError(fmt::format("{}:{}:{}: {}", name_, at.line, at.column, what));
  }

  std::string scalar(const toml::node& node, toml::source_position at, const std::string& key) const {
    if (const auto* text = node.as_string()) return text->get();
    if (const auto* whole = node.as_integer()) return fmt::format("{}", whole->get());
    if (const auto* flag = node.as_boolean()) return flag->get() ? "true" : "false";
    if (const auto* real = node.as_floating_point()) return fmt::format("{}", real->get());
    fail(at, fmt::format("'{}' wants a word, a number, true or false", key));
  }

  bool read_text(RecipeRecord& record, const toml::key& key, const toml::node& node) {
    const std::map<std::string_view, std::string*> texts{{"name", &record.name},
                                                         {"version", &record.version},
                                                         {"evidence", &record.evidence},
                                                         {"source", &record.source},
                                                         {"summary", &record.summary}};
    const auto found = texts.find(key.str());
    if (found == texts.end()) return false;
    const auto* text = node.as_string();
    if (!text) fail(node.source().begin, fmt::format("'{}' wants a string", key.str()));
    *found->second = text->get();
    if (key.str() == "evidence" && !find_by_name(recipe_evidence, text->get())) {
      std::vector<std::string_view> known;
      for (const NamedEvidence& row : recipe_evidence) known.push_back(row.name);
      fail(node.source().begin, unknown_name("evidence", text->get(), known));
    }
    return true;
  }

  std::vector<const toml::table*> tables(const toml::node& node, toml::source_position at, const char* what) const {
    const auto* list = node.as_array();
    std::vector<const toml::table*> all;
    if (list)
      for (const toml::node& element : *list)
        if (const auto* table = element.as_table()) all.push_back(table);
    if (!list || all.size() != list->size()) fail(at, fmt::format("'{0}' wants tables: [[{0}]]", what));
    return all;
  }

  /// Every key below `node`, "section.name".
  void collect(const toml::node& node, const std::string& key, toml::source_position at, std::vector<Leaf>& leaves) {
    if (const auto* table = node.as_table()) {
      for (const auto& [inner, value] : *table)
        collect(value, key.empty() ? std::string(inner.str()) : key + "." + std::string(inner.str()),
                inner.source().begin, leaves);
      return;
    }
    if (std::ranges::find(recipe_fields(), key, &RecipeField::key) == recipe_fields().end()) unknown_key(key, at);
    leaves.push_back({at, key, scalar(node, at, key)});
    const auto value_at = node.source().begin;
    places_[key] = value_at ? value_at : at;
  }

  [[noreturn]] void unknown_key(const std::string& key, toml::source_position at) const {
    std::vector<std::string_view> known{"name", "version", "evidence", "source", "summary", "override", "option"};
    for (const RecipeField& field : recipe_fields()) known.push_back(field.key);
    const auto nearest = *std::ranges::min_element(
        known, {}, [&](std::string_view candidate) { return edit_distance(key, candidate); });
    fail(at, fmt::format("unknown key '{}'; did you mean '{}'? 'fp8scope recipes --keys' lists all", key, nearest));
  }

  /// toml++ keeps tables by name; overrides count in the order of the file.
  static std::vector<RecipeSetting> settings_of(std::vector<Leaf>& leaves) {
    std::ranges::stable_sort(leaves, [](const Leaf& a, const Leaf& b) { return a.at < b.at; });
    std::vector<RecipeSetting> settings;
    for (const Leaf& leaf : leaves) settings.push_back({leaf.key, leaf.value});
    return settings;
  }

  void set(CastRecord& cast, const RecipeSetting& setting) const {
    try {
      apply_setting(cast, setting);
    } catch (const std::invalid_argument& error) {
      fail(places_.at(setting.key), error.what());
    }
  }

  /// The settings of a table, without the keys named; each is tried.
  std::vector<RecipeSetting> read_settings(const toml::table& table, std::initializer_list<std::string_view> without) {
    std::vector<Leaf> leaves;
    for (const auto& [key, node] : table)
      if (std::ranges::find(without, key.str()) == without.end())
        collect(node, std::string(key.str()), key.source().begin, leaves);
    const std::vector<RecipeSetting> settings = settings_of(leaves);
    CastRecord scratch;
    for (const RecipeSetting& setting : settings) set(scratch, setting);
    return settings;
  }

  std::string word(const toml::table& table, const char* key) const {
    const toml::node* node = table.get(key);
    return node ? scalar(*node, node->source().begin, key) : "";
  }

  RecipeOverride read_override(const toml::table& table) {
    RecipeOverride o{word(table, "role"), word(table, "gemm"), {}};
    const auto known = [&](const auto& rows, const char* key, const std::string& name) {
      std::vector<std::string_view> names;
      for (const auto& row : rows)
        if (!row.name.empty()) names.push_back(row.name);
      if (!name.empty() && std::ranges::find(names, name) == names.end())
        fail(table.get(key)->source().begin, unknown_name(key, name, names));
    };
    known(roles, "role", o.role);
    known(gemm_uses, "gemm", o.gemm);
    if (o.role.empty() && o.gemm.empty()) fail(table.source().begin, "an override needs a role, a gemm, or both");
    o.settings = read_settings(table, {"role", "gemm"});
    return o;
  }

  RecipeOption read_option(const toml::table& table) {
    RecipeOption option{word(table, "name"), word(table, "field"), {}};
    if (option.name.empty()) fail(table.source().begin, "an option needs a name");
    for (const auto& [key, node] : table)
      if (key.str() != "name" && key.str() != "field" && key.str() != "choice")
        fail(key.source().begin, unknown_name("key of an option", key.str(), std::vector<std::string_view>{"name", "field", "choice"}));
    if (!option.field.empty() &&
        std::ranges::find(recipe_fields(), option.field, &RecipeField::key) == recipe_fields().end())
      unknown_key(option.field, table.get("field")->source().begin);
    if (const toml::node* choices = table.get("choice"))
      for (const toml::table* choice : tables(*choices, choices->source().begin, "choice"))
        option.choices.push_back({word(*choice, "value"), read_settings(*choice, {"value", "role", "evidence"}),
                                  word(*choice, "role"), word(*choice, "evidence")});
    if (option.choices.empty() && option.field.empty())
      fail(table.source().begin, fmt::format("option '{}' needs a field or choices", option.name));
    return option;
  }

  /// Contradictions, for every operand.
  void check(const RecipeRecord& record) const {
    for (const NamedRole& role : roles)
      for (const NamedGemm& gemm : gemm_uses) try {
          resolve(record, {role.role, {8, 23, 127, Specials::ieee}, gemm.gemm}, "");
        } catch (const RecipeConflict& conflict) {
          const auto first = places_.find(conflict.key), other = places_.find(conflict.other);
          const auto at = first != places_.end()   ? first->second
                          : other != places_.end() ? other->second
                                                   : toml::source_position{1, 1};
          fail(at, conflict.what());
        }
  }

  std::string name_;
  std::vector<Leaf> base_;
  std::map<std::string, toml::source_position> places_;
};

std::string toml_string(std::string_view text) {
  std::string out = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') out += '\\';
    if (c == '\n') out += "\\n";
    else out += c;
  }
  return out + "\"";
}

std::string value_text(const RecipeField& field, const std::string& value) {
  if (field.type == RecipeField::Type::text) return toml_string(value);
  // TOML wants digits on both sides of a point, and takes an exponent without one.
  return value;
}

void append_settings(std::string& out, const std::vector<RecipeSetting>& settings) {
  for (const RecipeSetting& s : settings) {
    CastRecord scratch;
    apply_setting(scratch, s);
    const RecipeField& field = recipe_field(s.key);
    out += fmt::format("{} = {}\n", s.key, value_text(field, s.value));
  }
}

}  // namespace

RecipeRecord parse_recipe(std::string_view toml, const std::string& name) {
  try {
    const toml::table table = toml::parse(toml, std::string_view(name));
    return Reader(name).read(table);
  } catch (const toml::parse_error& error) {
    const auto at = error.source().begin;
    throw UsageError(fmt::format("{}:{}:{}: {}", name, at.line, at.column, error.description()));
  }
}

RecipeRecord read_recipe_file(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::error_code error;
  const std::uintmax_t size = std::filesystem::file_size(path, error);
  if (!file || error) throw IoError(fmt::format("{}: cannot be read as a recipe: no such file, or no permission", path));
  if (size > most_bytes) throw UsageError(fmt::format("{}: {} bytes are no recipe", path, size));
  const std::string text{std::istreambuf_iterator<char>(file), {}};
  return parse_recipe(text, path);
}

std::string recipe_toml(const RecipeRecord& record) {
  std::string out;
  for (const auto& [key, value] : {std::pair{"name", &record.name}, {"version", &record.version},
                                   {"evidence", &record.evidence}, {"source", &record.source},
                                   {"summary", &record.summary}})
    out += fmt::format("{} = {}\n", key, toml_string(*value));
  const CastRecord defaults;
  std::string_view section;
  for (const RecipeField& field : recipe_fields()) {
    const std::string value = field.get(record.cast);
    if (value == field.get(defaults)) continue;
    const std::string_view of = field.key.substr(0, field.key.find('.'));
    if (of != section) out += fmt::format("\n[{}]\n", of);
    section = of;
    out += fmt::format("{} = {}\n", field.key.substr(of.size() + 1), value_text(field, value));
  }
  for (const RecipeOverride& o : record.overrides) {
    out += "\n[[override]]\n";
    if (!o.role.empty()) out += fmt::format("role = {}\n", toml_string(o.role));
    if (!o.gemm.empty()) out += fmt::format("gemm = {}\n", toml_string(o.gemm));
    append_settings(out, o.settings);
  }
  for (const RecipeOption& option : record.options) {
    out += fmt::format("\n[[option]]\nname = {}\n", toml_string(option.name));
    if (!option.field.empty()) out += fmt::format("field = {}\n", toml_string(option.field));
    for (const RecipeChoice& choice : option.choices) {
      out += fmt::format("[[option.choice]]\nvalue = {}\n", toml_string(choice.value));
      if (!choice.role.empty()) out += fmt::format("role = {}\n", toml_string(choice.role));
      if (!choice.evidence.empty()) out += fmt::format("evidence = {}\n", toml_string(choice.evidence));
      append_settings(out, choice.settings);
    }
  }
  return out;
}

}  // namespace fp8scope
