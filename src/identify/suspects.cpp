#include "src/identify/suspects.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "sim/names.hpp"
#include "src/requested_cast.hpp"

namespace fp8scope {
namespace {

constexpr std::size_t most_choices = 1024;  // of one recipe

/// Types that hold every element of x: they decide what an infinite quotient becomes.
std::vector<Format> input_types(const CodedTensor& dump) {
  if (dump.x_dtype == "bfloat16" || dump.x_dtype == "float16") return {input_format(dump.x_dtype)};
  std::vector<Format> types{TensorKind{}.input};
  for (const Format& f : {bf16, fp16})
    if (std::ranges::all_of(dump.x, [&](float v) { return is_nan(v) || decode(f, encode(f, v, {.overflow = Overflow::special})) == v; }))
      types.push_back(f);
  return types;
}

/// Every combination of the choices of a record's options, as "key=value:key=value".
std::vector<std::string> option_texts(const RecipeRecord& record) {
  std::vector<std::string> texts{""};
  for (const RecipeOption& option : record.options) {
    if (option.choices.size() < (option.field.empty() ? 2u : 1u)) continue;
    std::vector<std::string> longer;
    for (const std::string& text : texts)
      for (std::size_t c = 0; c < option.choices.size(); ++c) {
        const bool is_default = c == 0;  // not written, so that specs stay short
        longer.push_back(is_default ? text : text + (text.empty() ? "" : ":") + option.name + "=" + option.choices[c].value);
      }
    if (longer.size() > most_choices) break;
    texts = std::move(longer);
  }
  return texts;
}

/// Whether a user may set this key by an option of the record.
const RecipeOption* option_for(const RecipeRecord& record, std::string_view field) {
  const auto found = std::ranges::find(record.options, field, &RecipeOption::field);
  return found == record.options.end() ? nullptr : &*found;
}

/// Blocks that cut this tensor alike; NVFP4 repeats the factor of a 16x16 block for each of its rows.
bool same_cut(const CodedTensor& dump, const BlockShape& tile) {
  const BlockGrid a = dump.grid(), b(dump.rows, dump.cols, tile);
  if (a.across() != b.across() || (a.across() > 1 && a.block_cols != b.block_cols)) return false;
  if (a.down() == b.down()) return a.down() == 1 || a.block_rows == b.block_rows;
  return dump.scale_codes && dump.scale_codes != e8m0 && b.block_rows == 16 && a.block_rows == 1;
}

/// Casts that need earlier steps or random bits.
bool out_of_reach(const CastRecord& cast) {
  return cast.history != HistoryKind::none || draws_bits(cast.rounding);
}

void add(std::vector<Suspect>& suspects, Suspect suspect) {
  const bool by_input = suspect.cast.big == Big::input;
  for (Suspect& known : suspects)
    if (known.cast == suspect.cast && (!by_input || known.kind.input == suspect.kind.input)) {
      if (recipe_name(known.spec) == recipe_name(suspect.spec) && suspect.spec.size() < known.spec.size())
        known.spec = suspect.spec, known.kind = suspect.kind, known.role = suspect.role;  // as its own role: fewer options
      const auto same_name = [&](const std::string& spec) { return recipe_name(spec) == recipe_name(suspect.spec); };
      if (!same_name(known.spec) && std::ranges::none_of(known.aliases, same_name)) known.aliases.push_back(suspect.spec);
      return;
    }
  suspects.push_back(std::move(suspect));
}

/// The record resolved for a role, with the dump's tile and format where the record takes them.
bool fit(const CodedTensor& dump, const RecipeRecord& record, Suspect& s, std::string options) {
  const auto also = [&](const RecipeOption* option, const std::string& value) {
    if (!option) return false;
    options += (options.empty() ? "" : ":") + option->name + "=" + value;
    return true;
  };
  CastRecord cast = resolve(record, s.kind, options);
  if (cast.format != dump.format && !also(option_for(record, "element.format"), format_name(dump.format))) return false;
  if (!same_cut(dump, cast.tile) && !also(option_for(record, "tile.shape"), block_name(dump.block))) return false;
  s.cast = resolve(record, s.kind, options);
  check_cast(s.cast);
  s.spec = record.name + (options.empty() ? "" : ":" + options);
  return same_cut(dump, s.cast.tile) && s.cast.format == dump.format && !out_of_reach(s.cast);
}

/// Whether some operand of a recipe, with at most one choice of its options, fits at all: there may be hundreds of them.
bool may_fit(const CodedTensor& dump, const RecipeRecord& record, const Format& input) {
  std::vector<std::string> texts{""};
  for (const RecipeOption& option : record.options)
    for (const RecipeChoice& choice : option.choices) texts.push_back(option.name + "=" + choice.value);
  for (const std::string& text : texts)
    for (const NamedRole& role : roles)
      for (const NamedGemm& gemm : gemm_uses) {
        Suspect s;
        s.kind = {role.role, input, gemm.gemm};
        try {
          if (fit(dump, record, s, text)) return true;
        } catch (const std::invalid_argument&) {
        }
      }
  return false;
}

}  // namespace

std::vector<Suspect> named_suspects(const CodedTensor& dump) {
  std::vector<Suspect> suspects;
  const std::vector<Format> inputs = input_types(dump);
  for (const NamedRecipe& row : recipes()) {
    if (!may_fit(dump, *row.record, inputs[0])) continue;
    for (const std::string& options : option_texts(*row.record))
      for (const NamedRole& role : roles)
        for (const NamedGemm& gemm : gemm_uses)
          try {
            Suspect s;
            s.version = row.version, s.evidence = row.evidence, s.role = role.role;
            s.kind = {role.role, inputs[0], gemm.gemm};
            if (!fit(dump, *row.record, s, options)) continue;
            const std::size_t types = s.cast.big == Big::input ? inputs.size() : 1;
            for (std::size_t i = 0; i < types; ++i) {
              s.kind.input = inputs[i];
              add(suspects, s);
            }
          } catch (const std::invalid_argument&) {  // choices that exclude each other
          }
  }
  return suspects;
}

const std::vector<Knob>& knobs() {
  static const std::vector<Knob> table{
      {"scale.apply", {"inverse", "max-over-amax", "max-over-amax-always", "reciprocal-max", "divide"}},
      {"scale.quotient", {"division", "reciprocal"}},
      {"scale.rule", {"te", "quotient", "torchao", "msamp", "e8m0-rceil", "e8m0-floor", "e8m0-ceil", "e8m0-even"}},
      {"scale.pow2", {"none", "down", "up", "log2"}},
      {"scale.max", {"0", "240", "448", "57344", "6", "7.5", "28", "127"}},
      {"scale.floor", {"0", "1e-10"}},
      {"scale.big", {"float32", "input"}},
      {"scale.infinity", {"one", "zero"}},
      {"scale.infinity_code", {"254", "255"}},
      {"scale.reciprocal", {"exact", "te-2.12"}},
      {"scale.store", {"fp32", "bf16", "e8m0"}},
      {"amax.floor", {"0", "1e-4", "1e-5", "1e-8", "1e-10", "1e-12"}},
      {"amax.floor_mode", {"max", "add"}},
      {"amax.nan", {"ignore", "propagate"}},
      {"amax.flush_subnormal", {"false", "true"}},
      {"element.rounding", {"nearest-even", "nearest-away", "nearest-zero", "toward-zero"}},
      {"element.overflow", {"saturate", "special"}},
      {"element.zero", {"keep", "drop", "drop-exact"}},
      {"second.order", {"2.15", "2.14"}},
      {"second.bf16_multiplier", {"false", "true"}},
      {"second.block_max", {"448", "256"}},
  };
  return table;
}

std::vector<Suspect> changed_suspects(const Suspect& from, const std::vector<std::string>& floors) {
  std::vector<Suspect> suspects;
  const auto attempt = [&](std::string_view key, std::string_view value) {
    if (std::ranges::find(from.edits, key, &RecipeSetting::key) != from.edits.end()) return;
    Suspect s = from;
    s.aliases.clear();
    const RecipeSetting setting{std::string(key), std::string(value)};
    try {
      apply_setting(s.cast, setting);
      check_cast(s.cast);
    } catch (const std::invalid_argument&) {
      return;
    }
    if (s.cast == from.cast || out_of_reach(s.cast)) return;
    s.edits.push_back(setting);
    s.spec += fmt::format(":{}={}", key, value);
    suspects.push_back(std::move(s));
  };
  for (const Knob& knob : knobs())
    for (const std::string_view value : knob.values) attempt(knob.key, value);
  for (const std::string& floor : floors) attempt("amax.floor", floor);
  return suspects;
}

namespace {

struct Phrase {
  std::string_view key, value, words;
};
/// What a cast with this value does, to be read after "you" or the name of a recipe.
constexpr Phrase phrases[] = {
    {"scale.apply", "inverse", "multiply x by the reciprocal fl(1/factor)"},
    {"scale.apply", "max-over-amax", "multiply x by fl(MAX/amax)"},
    {"scale.apply", "max-over-amax-always", "multiply x by fl(MAX/amax), not by the inverse of the rounded factor that is stored"},
    {"scale.apply", "reciprocal-max", "multiply x by fl(fl(1/amax) * MAX)"},
    {"scale.apply", "divide", "divide x by the factor"},
    {"scale.quotient", "division", "store fl(amax / MAX)"},
    {"scale.quotient", "reciprocal", "store fl(amax * fl(1/MAX))"},
    {"scale.rule", "te", "store fl(1 / fl(MAX/amax))"},
    {"scale.rule", "quotient", "store amax / MAX"},
    {"scale.rule", "torchao", "store the reciprocal of MAX/amax computed in binary64"},
    {"scale.rule", "e8m0-rceil", "round the power of two of amax/MAX up"},
    {"scale.rule", "e8m0-floor", "take the exponent of the amax (floor) less EMAX"},
    {"scale.rule", "e8m0-ceil", "take the exponent of the amax rounded up, less EMAX"},
    {"scale.rule", "e8m0-even", "round the amax to a power of two as its mantissa rounds, then take the exponent"},
    {"scale.pow2", "none", "keep the scale in binary32"},
    {"scale.pow2", "down", "round the multiplier down to a power of two"},
    {"scale.pow2", "up", "round the factor up to a power of two"},
    {"scale.pow2", "log2", "round to a power of two through a binary32 logarithm"},
    {"amax.nan", "ignore", "ignore NaN in the amax"},
    {"amax.nan", "propagate", "let a NaN make the amax NaN"},
    {"amax.floor_mode", "max", "replace amaxes below the floor"},
    {"amax.floor_mode", "add", "add the floor to every amax"},
    {"element.rounding", "nearest-even", "round ties to even"},
    {"element.rounding", "nearest-away", "round ties away from zero"},
    {"element.rounding", "nearest-zero", "round ties toward zero"},
    {"element.rounding", "toward-zero", "truncate"},
    {"element.overflow", "saturate", "saturate to MAX"},
    {"element.overflow", "special", "turn overflow into infinity or NaN"},
    {"element.zero", "keep", "keep the sign of zero"},
    {"element.zero", "drop", "drop the sign of zero"},
    {"element.zero", "drop-exact", "drop the sign of an exact zero only"},
    {"scale.infinity", "one", "take scale 1 for an infinite amax"},
    {"scale.infinity", "zero", "take scale 0 for an infinite amax"},
};

std::string words(std::string_view key, const std::string& value) {
  for (const Phrase& p : phrases)
    if (p.key == key && p.value == value) return std::string(p.words);
  if (key == "amax.floor") return value == "0" ? "have no floor under the amax" : "raise amaxes below " + value + " to it";
  if (key == "scale.max") return value == "0" ? "aim at MAX of the element format" : "aim at " + value;
  return fmt::format("have {} = {}", key, value);
}

}  // namespace

std::vector<std::string> explain(const Suspect& changed) {
  std::vector<std::string> lines;
  const std::string name(recipe_name(changed.spec));
  std::string options = changed.spec.substr(std::min(name.size() + 1, changed.spec.size()));
  for (const RecipeSetting& edit : changed.edits) {
    const std::string tail = fmt::format("{}={}", edit.key, edit.value);
    if (const std::size_t at = options.find(tail); at != std::string::npos) options.erase(at > 0 ? at - 1 : 0, tail.size() + (at > 0));
  }
  const CastRecord original = resolve(find_recipe(name), changed.kind, options);
  for (const RecipeSetting& edit : changed.edits)
    lines.push_back(fmt::format("you {}; {} would {}", words(edit.key, edit.value), name,
                                words(edit.key, recipe_field(edit.key).get(original))));
  return lines;
}

}  // namespace fp8scope
