// From a record and options to the cast of one operand.
#include <algorithm>
#include <stdexcept>

#include "sim/names.hpp"
#include "sim/recipes/record.hpp"

namespace fp8scope {
namespace {

bool fits(const RecipeOverride& o, const TensorKind& operand) {
  const auto role = [&](const NamedRole& row) { return row.role == operand.role && row.name == o.role; };
  const auto gemm = [&](const NamedGemm& row) { return row.gemm == operand.gemm && row.name == o.gemm; };
  return (o.role.empty() || std::ranges::any_of(roles, role)) &&
         (o.gemm.empty() || std::ranges::any_of(gemm_uses, gemm));
}

/// Parts of "key=value:key=value".
std::vector<RecipeSetting> split_options(std::string_view text) {
  std::vector<RecipeSetting> parts;
  while (!text.empty()) {
    const std::size_t end = std::min(text.find(':'), text.size());
    const std::string_view part = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    const std::size_t equals = part.find('=');
    if (equals == std::string_view::npos)
      throw std::invalid_argument("recipe option '" + std::string(part) + "' is not key=value");
    const std::string key(part.substr(0, equals));
    if (std::ranges::any_of(parts, [&](const RecipeSetting& s) { return s.key == key; }))
      throw std::invalid_argument("recipe option '" + key + "' is given twice");
    parts.push_back({key, std::string(part.substr(equals + 1))});
  }
  return parts;
}

/// The nearest of the options' names and the fields' keys; only the options are listed.
[[noreturn]] void unknown_option(const RecipeRecord& record, const std::string& key) {
  std::vector<std::string_view> known, options;
  for (const RecipeOption& option : record.options) options.push_back(option.name);
  known = options;
  for (const RecipeField& field : recipe_fields()) known.push_back(field.key);
  const auto nearest = *std::ranges::min_element(
      known, {}, [&](std::string_view candidate) { return edit_distance(key, candidate); });
  std::string message = "unknown recipe option '" + key + "'";
  if (edit_distance(key, nearest) <= std::max<std::size_t>(2, key.size() / 3))
    message += "; did you mean '" + std::string(nearest) + "'?";
  else message += ";";
  message += " known: ";
  for (const std::string_view option : options) message += std::string(option) + ", ";
  throw UnknownName(message + "and the keys that 'recipes --keys' prints");
}

void apply_option(const RecipeOption& option, CastRecord& cast, const RecipeSetting& given,
                  const TensorKind& operand) {
  const auto chosen = std::ranges::find(option.choices, given.value, &RecipeChoice::value);
  if (chosen != option.choices.end()) {
    if (!fits({chosen->role, "", {}}, operand)) return;
    for (const RecipeSetting& setting : chosen->settings) apply_setting(cast, setting);
    return;
  }
  const std::string text = "recipe option " + given.key + "=" + given.value + ": ";
  if (option.field.empty()) {
    std::string words;
    for (const RecipeChoice& c : option.choices) words += (words.empty() ? "" : " or ") + c.value;
    throw std::invalid_argument(text + "wanted " + words);
  }
  try {
    recipe_field(option.field).set(cast, given.value);
  } catch (const UnknownName&) {
    throw;
  } catch (const std::invalid_argument& error) {
    throw std::invalid_argument(text + error.what());
  }
}

}  // namespace

void check_cast(const CastRecord& cast) {
  using Kind = ScaleRule::Kind;
  const bool e8m0_rule = cast.rule == Kind::e8m0_ceil || cast.rule == Kind::e8m0_floor ||
                         cast.rule == Kind::e8m0_ceil_of_amax || cast.rule == Kind::e8m0_even;
  const bool nvfp4 = cast.rule == Kind::nvfp4 || cast.rule == Kind::nvfp4_torchao;
  const auto refuse = [](bool wrong, const char* first, const char* second, const std::string& why) {
    if (wrong) throw RecipeConflict(first, second, why);
  };
  const bool powers = e8m0_rule || cast.rule == Kind::moss || cast.rule == Kind::msamp || cast.rule == Kind::fixed ||
                      cast.pow2 != Pow2::none;
  refuse(cast.store == ScaleStorage::e8m0 && !powers, "scale.store", "scale.pow2",
         "e8m0 stores powers of two, and scale.pow2 is none");
  refuse(e8m0_rule && cast.store != ScaleStorage::e8m0 && cast.store != ScaleStorage::fp32, "scale.store", "scale.rule",
         "this rule makes e8m0 scales");
  refuse(cast.store == ScaleStorage::e4m3 && !nvfp4, "scale.store", "scale.rule",
         "e4m3 tile factors need scale.rule = nvfp4 or nvfp4-torchao");
  refuse(nvfp4 && cast.store != ScaleStorage::e4m3, "scale.store", "scale.rule", "nvfp4 stores its tile factors as e4m3");
  const bool two_levels = cast.rule == Kind::nvfp4 || cast.rule == Kind::moss;
  refuse(two_levels && cast.scope == Scope::none, "second.scope", "scale.rule",
         "this rule needs a factor above the tiles': tensor or row");
  refuse(!two_levels && cast.rule != Kind::nvfp4_torchao && cast.scope != Scope::none, "second.scope", "scale.rule",
         "only the rules nvfp4, nvfp4-torchao and moss have a factor above the tiles'");
  refuse(cast.scope != Scope::none && cast.tile == BlockShape{}, "tile.shape", "second.scope",
         "two levels of scales need tiles smaller than the tensor");
  refuse(cast.select != Select::none && cast.rule != Kind::nvfp4, "second.select", "scale.rule",
         "4over6 chooses between nvfp4 tile factors");
  refuse(cast.codec != Codec::none && cast.rule != Kind::fixed, "element.codec", "scale.rule",
         "a codec has no scales: scale.rule must be fixed");
  refuse(cast.codec != Codec::none && (cast.tile.rows == 0 || cast.tile.cols == 0 || cast.hadamard.size > 0),
         "element.codec", "tile.shape", "a codec needs tiles of a fixed size, and no Hadamard transform");
  refuse(cast.scope == Scope::row && cast.tile.rows != 1, "second.scope", "tile.shape",
         "a factor of rows needs tiles of one row");
  refuse(cast.rounding == Rounding::te_e2m1 && cast.format != Format{2, 1, 1, Specials::finite}, "element.rounding",
         "element.format", "te-e2m1 rounds to e2m1");
  refuse(cast.rounding == Rounding::deepseek_e5m6 && cast.format != Format{5, 6, 15, Specials::ieee},
         "element.rounding", "element.format", "deepseek-e5m6 rounds to e5m6");
  refuse(cast.history != HistoryKind::none && cast.tile != BlockShape{}, "tile.shape", "history.kind",
         "a scale from earlier steps is one per tensor");
  refuse(cast.pow2 == Pow2::up && cast.rule == Kind::te, "scale.pow2", "scale.rule",
         "the te rule rounds its multiplier down");
  refuse(cast.multiplier != ScaleRule::Multiplier::inverse && cast.rule != Kind::quotient, "scale.apply", "scale.rule",
         "only scale.rule = quotient has a choice of multipliers");
  refuse(cast.store == ScaleStorage::bf16 && cast.rule != Kind::quotient, "scale.store", "scale.rule",
         "bf16 factors need scale.rule = quotient");
}

CastRecord resolve(const RecipeRecord& record, const TensorKind& operand, std::string_view options) {
  CastRecord cast = record.cast;
  for (const RecipeOverride& o : record.overrides)
    if (fits(o, operand))
      for (const RecipeSetting& setting : o.settings) apply_setting(cast, setting);
  const std::vector<RecipeSetting> given = split_options(options);
  // In the order of the record, so that the order on the command line does not matter.
  for (const RecipeOption& option : record.options)
    for (const RecipeSetting& setting : given)
      if (setting.key == option.name) apply_option(option, cast, setting, operand);
  for (const RecipeSetting& setting : given)
    if (std::ranges::find(record.options, setting.key, &RecipeOption::name) == record.options.end()) {
      if (std::ranges::find(recipe_fields(), setting.key, &RecipeField::key) == recipe_fields().end())
        unknown_option(record, setting.key);
      apply_setting(cast, setting);
    }
  check_cast(cast);
  return cast;
}

std::string describe_options(const RecipeRecord& record) {
  std::string text;
  for (const RecipeOption& option : record.options) {
    std::string values;
    for (const RecipeChoice& c : option.choices) values += (values.empty() ? "" : "|") + c.value;
    if (!option.field.empty()) values += (values.empty() ? "" : "|...");
    if (!option.field.empty() && option.choices.empty()) values = recipe_field(option.field).get(record.cast);
    text += (text.empty() ? "" : " ") + option.name + "=" + values;
  }
  return text;
}

}  // namespace fp8scope
