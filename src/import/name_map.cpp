#include "src/import/name_map.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

#include "sim/names.hpp"
#include "src/errors.hpp"
#include "src/import/bytes.hpp"

namespace fp8scope {

namespace {

const std::vector<std::string_view> groups{"layer", "operand", "step"};

struct OperandName {
  std::string_view name, operand;
};

/// The words of recorders: ours, nvidia-dlframework-inspect, PyTorch hooks.
constexpr OperandName operand_names[] = {
    {"x", "x"},           {"activation", "x"}, {"input", "x"},        {"w", "w"},
    {"weight", "w"},      {"dy", "dy"},        {"gradient", "dy"},    {"grad_output", "dy"},
    {"y", "y"},           {"output", "y"},     {"dx", "dx"},          {"dgrad", "dx"},
    {"grad_input", "dx"}, {"dw", "dw"},        {"wgrad", "dw"},       {"grad_weight", "dw"},
};

/// Each begins where a part of the name does, so that a search takes time in proportion to its length.
std::vector<std::string> usual_patterns() {
  std::string words;
  for (const OperandName& row : operand_names) words += (words.empty() ? "" : "|") + std::string(row.name);
  return {
      // step_10/L00.down.x, iter_000010/L00.down_activation, dump_step10/L00.down/x
      "(?:^|[/._-])(?:step|iter)[_.-]?(?<step>\\d+)/(?<layer>[^/]+)[/._](?<operand>" + words + ")$",
      // L00.down/x, L00.down.x.step10, model.layers.0.mlp.down_proj.weight
      "(?:^|/)(?<layer>[^/]+)[/._](?<operand>" + words + ")(?:[/._-]?(?:step|iter)[_.-]?(?<step>\\d+))?$",
  };
}

/// Rewrites named groups as plain ones. `names` receives the name of every capturing group, in order.
std::string without_names(std::string_view pattern, std::vector<std::string>& names) {
  std::string plain;
  bool in_class = false;
  for (std::size_t i = 0; i < pattern.size(); ++i) {
    const char c = pattern[i];
    plain += c;
    if (c == '\\' && i + 1 < pattern.size()) plain += pattern[++i];
    if (c == '[') in_class = true;
    if (c == ']') in_class = false;
    if (c != '(' || in_class) continue;
    const std::string_view rest = pattern.substr(i + 1);
    const std::size_t open = rest.starts_with("?P<") ? 3 : rest.starts_with("?<") ? 2 : 0;
    const std::size_t close = rest.find('>');
    if (open > 0 && close != std::string_view::npos) {
      names.emplace_back(rest.substr(open, close - open));
      i += close + 1;
    } else if (!rest.starts_with('?')) {
      names.emplace_back();
    }
  }
  return plain;
}

/// Names of layers become names of HDF5 groups: no '/', nothing that is no text.
std::string layer_name(std::string name, const std::string& full_name) {
  std::ranges::replace(name, '/', '.');
  const bool control = std::ranges::any_of(name, [](char c) {
    return static_cast<unsigned char>(c) < 0x20 || c == '\x7f';
  });
  if (name.empty() || name == "." || name == ".." || name.size() > 1024 || control || !is_utf8(name))
    throw DataError(fmt::format("'{}': '{}' cannot be the name of a layer; choose another --map or "
                                "--layer",
                                printable(full_name), printable(name)));
  return name;
}

std::int64_t step_number(const std::string& digits, const std::string& full_name) {
  std::int64_t step = -1;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), step);
  if (error != std::errc{} || end != digits.data() + digits.size() || step < 0)
    throw DataError(fmt::format("'{}': '{}' is not the number of a step; choose another --map",
                                printable(full_name), printable(digits)));
  return step;
}

}  // namespace

NamedRegex::NamedRegex(std::string_view pattern, const std::vector<std::string_view>& known,
                       std::string_view option)
    : known_(known), index_(known.size(), 0) {
  std::vector<std::string> names;
  const std::string plain = without_names(pattern, names);
  for (std::size_t i = 0; i < names.size(); ++i) {
    if (names[i].empty()) continue;
    const auto at = std::ranges::find(known_, names[i]);
    if (at == known_.end())
      throw UsageError(fmt::format("{}: {}", option, unknown_name("group", names[i], known_)));
    index_[static_cast<std::size_t>(at - known_.begin())] = static_cast<int>(i) + 1;
  }
  try {
    regex_ = std::regex(plain);
  } catch (const std::regex_error& error) {
    throw UsageError(fmt::format("{}: '{}' is not a regular expression: {}", option, pattern, error.what()));
  }
}

bool NamedRegex::has(std::string_view group) const {
  const auto at = std::ranges::find(known_, group);
  return at != known_.end() && index_[static_cast<std::size_t>(at - known_.begin())] > 0;
}

std::optional<std::vector<std::string>> NamedRegex::search(const std::string& text) const {
  std::smatch match;
  if (!std::regex_search(text, match, regex_)) return {};
  std::vector<std::string> texts;
  for (const int index : index_)
    texts.push_back(index > 0 ? match[static_cast<std::size_t>(index)].str() : std::string());
  return texts;
}

NameMap::NameMap(std::string_view pattern, TraceName fixed) : fixed_(std::move(fixed)) {
  if (pattern.empty())
    for (const std::string& usual : usual_patterns()) patterns_.emplace_back(usual, groups, "--map");
  else
    patterns_.emplace_back(pattern, groups, "--map");
  if (pattern.empty()) return;
  if (fixed_.layer.empty() && !patterns_[0].has("layer"))
    throw UsageError("--map has no group (?<layer>...); add one, or state --layer");
  if (fixed_.operand.empty() && !patterns_[0].has("operand"))
    throw UsageError("--map has no group (?<operand>...); add one, or state --operand");
}

std::optional<TraceName> NameMap::find(const std::string& full_name) const {
  std::vector<std::string> found(groups.size());
  bool matched = false;
  for (const NamedRegex& pattern : patterns_)
    if (const auto texts = pattern.search(full_name)) {
      found = *texts, matched = true;
      break;
    }
  // With both stated the name need not say anything.
  if (!matched && (fixed_.layer.empty() || fixed_.operand.empty())) return {};
  TraceName name = fixed_;
  if (name.layer.empty()) name.layer = found[0];
  if (name.operand.empty()) name.operand = operand_name(found[1]);
  if (!name.step && !found[2].empty()) name.step = step_number(found[2], full_name);
  name.framework = name.layer;
  name.layer = layer_name(name.layer, full_name);
  name.operand = layer_name(name.operand, full_name);
  return name;
}

std::string operand_name(const std::string& word) {
  const OperandName* row = find_by_name(operand_names, word);
  return row ? std::string(row->operand) : word;
}

}  // namespace fp8scope
