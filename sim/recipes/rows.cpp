#include "sim/recipes/rows.hpp"

#include <stdexcept>

#include "sim/names.hpp"

namespace fp8scope {
namespace {

std::string_view trimmed(std::string_view text) {
  const std::size_t first = text.find_first_not_of(' ');
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(' ') - first + 1);
}

/// Cuts what comes before `mark` off `text`, and the mark; everything where there is none.
std::string_view take_until(std::string_view& text, std::string_view mark) {
  const std::size_t at = text.find(mark);
  const std::string_view part = text.substr(0, at);
  text.remove_prefix(at == std::string_view::npos ? text.size() : at + mark.size());
  return trimmed(part);
}

std::vector<RecipeSetting> read_settings(std::string_view text) {
  std::vector<RecipeSetting> settings;
  text = trimmed(text);
  while (!text.empty()) {
    std::string_view word = take_until(text, " ");
    text = trimmed(text);
    const std::string_view key = take_until(word, "=");
    settings.push_back({std::string(key), std::string(word)});
  }
  return settings;
}

RecipeOverride read_override(std::string_view text) {
  std::string_view who = take_until(text, ":");
  RecipeOverride o;
  while (!who.empty()) {
    const std::string word(take_until(who, " "));
    if (find_by_name(roles, word)) o.role = word;
    else o.gemm = std::string(by_name(gemm_uses, word, "role or product").name);
  }
  o.settings = read_settings(text);
  return o;
}

RecipeOption read_option(std::string_view text) {
  std::string_view head = take_until(text, ":");
  RecipeOption option;
  option.name = std::string(take_until(head, "->"));
  option.field = std::string(trimmed(head));
  for (text = trimmed(text); !text.empty(); text = trimmed(text)) {
    const std::string value(take_until(text, "=("));
    std::string_view inside = take_until(text, ")");
    const std::string role(inside.find(':') == std::string_view::npos ? "" : take_until(inside, ":"));
    option.choices.push_back({value, read_settings(inside), role, ""});
    if (!text.starts_with('[')) continue;
    text.remove_prefix(1);
    option.choices.back().evidence = std::string(take_until(text, "]"));
  }
  return option;
}

}  // namespace

RecipeRecord record_of(const RecipeRow& row) {
  RecipeRecord record{std::string(row.name), std::string(row.version), std::string(row.evidence),
                      std::string(row.source), std::string(row.summary), {}, {}, {}};
  for (const RecipeSetting& setting : read_settings(row.settings)) apply_setting(record.cast, setting);
  for (std::string_view rest = row.overrides; !trimmed(rest).empty();)
    record.overrides.push_back(read_override(take_until(rest, ";")));
  for (std::string_view rest = row.options; !trimmed(rest).empty();)
    record.options.push_back(read_option(take_until(rest, ";")));
  return record;
}

}  // namespace fp8scope
