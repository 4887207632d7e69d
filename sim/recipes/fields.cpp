// The keys of a recipe. To add one: a member of CastRecord and a row here; files, options, printing and
// documentation follow.
#include <charconv>
#include <cmath>
#include <limits>
#include <stdexcept>

#include "sim/names.hpp"
#include "sim/recipes/record.hpp"

namespace fp8scope {
namespace {

template <class T>
struct Choice {
  std::string_view name;
  T value;
};

constexpr Choice<Rounding> rounding_names[] = {
    {"nearest-even", Rounding::nearest_even}, {"nearest-away", Rounding::nearest_away},
    {"nearest-zero", Rounding::nearest_zero}, {"toward-zero", Rounding::toward_zero},
    {"stochastic", Rounding::stochastic},     {"te-e2m1", Rounding::te_e2m1},
    {"deepseek-e5m6", Rounding::deepseek_e5m6}};
constexpr Choice<Overflow> overflow_names[] = {{"saturate", Overflow::saturate}, {"special", Overflow::special}};
constexpr Choice<ZeroRule> zero_names[] = {
    {"keep", ZeroRule::keep}, {"drop", ZeroRule::drop}, {"drop-exact", ZeroRule::drop_exact}};
constexpr Choice<NanRule> element_nan_names[] = {
    {"nan", NanRule::all_ones}, {"max", NanRule::max}, {"lowest", NanRule::lowest}};
constexpr Choice<Codec> codec_names[] = {{"none", Codec::none},
                                        {"logfmt8", Codec::logfmt8},
                                        {"logfmt10", Codec::logfmt10},
                                        {"coat-expand", Codec::coat_expand}};
constexpr Choice<bool> ragged_names[] = {{"pad", false}, {"refuse", true}};
constexpr Choice<AmaxRule> nan_names[] = {{"ignore", AmaxRule::ignore_nan}, {"propagate", AmaxRule::propagate_nan}};
constexpr Choice<bool> floor_names[] = {{"max", false}, {"add", true}};
using Kind = ScaleRule::Kind;
constexpr Choice<Kind> rule_names[] = {{"te", Kind::te},
                                       {"quotient", Kind::quotient},
                                       {"torchao", Kind::torchao},
                                       {"msamp", Kind::msamp},
                                       {"e8m0-rceil", Kind::e8m0_ceil},
                                       {"e8m0-floor", Kind::e8m0_floor},
                                       {"e8m0-ceil", Kind::e8m0_ceil_of_amax},
                                       {"e8m0-even", Kind::e8m0_even},
                                       {"nvfp4", Kind::nvfp4},
                                       {"nvfp4-torchao", Kind::nvfp4_torchao},
                                       {"moss", Kind::moss},
                                       {"fixed", Kind::fixed}};
constexpr Choice<Pow2> pow2_names[] = {
    {"none", Pow2::none}, {"down", Pow2::down}, {"up", Pow2::up}, {"log2", Pow2::log2}};
constexpr Choice<ScaleRule::Quotient> quotient_names[] = {{"division", ScaleRule::Quotient::division},
                                                          {"reciprocal", ScaleRule::Quotient::reciprocal}};
constexpr Choice<Big> big_names[] = {{"float32", Big::float32}, {"input", Big::input}, {"infinity", Big::infinity}};
constexpr Choice<bool> infinity_names[] = {{"one", false}, {"zero", true}};
constexpr Choice<bool> reciprocal_names[] = {{"exact", false}, {"te-2.12", true}};
constexpr Choice<ScaleStorage> store_names[] = {{"fp32", ScaleStorage::fp32},
                                                {"bf16", ScaleStorage::bf16},
                                                {"e8m0", ScaleStorage::e8m0},
                                                {"e4m3", ScaleStorage::e4m3}};
using Multiplier = ScaleRule::Multiplier;
constexpr Choice<Multiplier> multiplier_names[] = {{"inverse", Multiplier::inverse},
                                                   {"max-over-amax", Multiplier::max_over_amax},
                                                   {"max-over-amax-always", Multiplier::max_over_amax_always},
                                                   {"reciprocal-max", Multiplier::reciprocal_max},
                                                   {"divide", Multiplier::divisor}};
constexpr Choice<Scope> scope_names[] = {{"none", Scope::none}, {"tensor", Scope::tensor}, {"row", Scope::row}};
constexpr Choice<Select> select_names[] = {{"none", Select::none}, {"mae", Select::mae}, {"mse", Select::mse}};
constexpr Choice<bool> order_names[] = {{"2.15", false}, {"2.14", true}};
constexpr Choice<HistoryKind> history_names[] = {
    {"none", HistoryKind::none},       {"te-fused", HistoryKind::te_fused}, {"te-unfused", HistoryKind::te_unfused},
    {"te-jax", HistoryKind::te_jax},   {"torchao", HistoryKind::torchao},   {"msamp", HistoryKind::msamp},
    {"predicted", HistoryKind::predicted}};
constexpr Choice<AmaxAlgorithm> algorithm_names[] = {{"max", AmaxAlgorithm::max},
                                                     {"most_recent", AmaxAlgorithm::most_recent}};
constexpr Choice<bool> zero_step_names[] = {{"skip", false}, {"roll", true}};
constexpr Choice<ScaleOrder> gemm_order_names[] = {{"plain", ScaleOrder::plain},
                                                   {"product", ScaleOrder::product},
                                                   {"first_a", ScaleOrder::first_a},
                                                   {"first_b", ScaleOrder::first_b}};

[[noreturn]] void wanted(const std::string& what) { throw std::invalid_argument("wanted " + what); }

template <class T>
bool parse_number(std::string_view text, T& value) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc() && end == text.data() + text.size();
}

template <class T>
std::string number_text(T value) {
  char text[64];
  return {text, std::to_chars(text, text + sizeof text, value).ptr};
}

/// A key that takes one of a few words.
template <auto Member, const auto& Names>
constexpr RecipeField choice(std::string_view key, std::string_view help) {
  return {key, RecipeField::Type::text, help,
          [](const CastRecord& cast) -> std::string {
            for (const auto& row : Names)
              if (row.value == cast.*Member) return std::string(row.name);
            return "?";
          },
          [](CastRecord& cast, std::string_view text) {
            for (const auto& row : Names)
              if (row.name == text) {
                cast.*Member = row.value;
                return;
              }
            std::string words;
            for (const auto& row : Names) words += (words.empty() ? "" : " or ") + std::string(row.name);
            wanted(words);
          }};
}

template <auto Member, std::int64_t kLow, std::int64_t kHigh>
constexpr RecipeField integer(std::string_view key, std::string_view help) {
  return {key, RecipeField::Type::integer, help,
          [](const CastRecord& cast) { return number_text(cast.*Member); },
          [](CastRecord& cast, std::string_view text) {
            std::int64_t value = 0;
            if (!parse_number(text, value) || value < kLow || value > kHigh)
              wanted("an integer from " + std::to_string(kLow) + " to " + std::to_string(kHigh));
            cast.*Member = value;
          }};
}

/// A finite number that is not negative.
template <auto Member>
constexpr RecipeField real(std::string_view key, std::string_view help) {
  return {key, RecipeField::Type::real, help,
          [](const CastRecord& cast) { return number_text(cast.*Member); },
          [](CastRecord& cast, std::string_view text) {
            float value = 0.0f;
            if (!parse_number(text, value) || !std::isfinite(value) || value < 0.0f)
              wanted("a finite number that is not negative");
            cast.*Member = value;
          }};
}

template <auto Member>
constexpr RecipeField flag(std::string_view key, std::string_view help) {
  return {key, RecipeField::Type::flag, help,
          [](const CastRecord& cast) -> std::string { return cast.*Member ? "true" : "false"; },
          [](CastRecord& cast, std::string_view text) {
            if (text != "true" && text != "false" && text != "0" && text != "1") wanted("true or false");
            cast.*Member = text == "true" || text == "1";
          }};
}

std::string format_text(const CastRecord& cast) { return format_name(cast.format); }
void set_format(CastRecord& cast, std::string_view text) {
  const Format format = parse_format(text);
  if (!format.is_signed()) wanted("a signed element format");
  cast.format = format;
}

/// "1x128", "128x1", "tensor", "1xall"; "32" is 1x32.
std::string tile_text(const CastRecord& cast) { return block_name(cast.tile); }
void set_tile(CastRecord& cast, std::string_view text) {
  cast.tile = {};
  if (text == "tensor") return;
  const std::size_t x = text.find('x');
  const auto side = [](std::string_view part, std::int64_t& n) {
    if (part == "all") return n = 0, true;
    return parse_number(part, n) && n >= 1 && n <= 1 << 20;
  };
  const bool good = x == std::string_view::npos ? (cast.tile.rows = 1, side(text, cast.tile.cols) && cast.tile.cols > 0)
                                                : side(text.substr(0, x), cast.tile.rows) &&
                                                      side(text.substr(x + 1), cast.tile.cols);
  if (!good) wanted("ROWSxCOLUMNS such as 1x128, or tensor");
}

std::string hadamard_text(const CastRecord& cast) { return std::to_string(cast.hadamard.size); }
void set_hadamard(CastRecord& cast, std::string_view text) {
  if (text != "0" && text != "16") wanted("0 or 16");
  cast.hadamard.size = text == "16" ? 16 : 0;
}

std::string signs_text(const CastRecord& cast) {
  std::string text;
  for (int i = 0; i < 16; ++i) text += (cast.hadamard.signs >> i & 1u) != 0 ? '-' : '+';
  return text;
}
void set_signs(CastRecord& cast, std::string_view text) {
  std::uint32_t signs = 0;
  if (text.size() != 16 || text.find_first_not_of("+-") != std::string_view::npos) wanted("16 signs + or -");
  for (int i = 0; i < 16; ++i) signs |= text[static_cast<std::size_t>(i)] == '-' ? 1u << i : 0u;
  cast.hadamard.signs = signs;
}

std::string hadamard_round_text(const CastRecord& cast) { return cast.hadamard.round_to_bf16 ? "bf16" : "none"; }
void set_hadamard_round(CastRecord& cast, std::string_view text) {
  if (text != "bf16" && text != "none") wanted("bf16 or none");
  cast.hadamard.round_to_bf16 = text == "bf16";
}

using C = CastRecord;
using T = RecipeField::Type;
constexpr RecipeField table[] = {
    {"element.format", T::text, "element format, by name or as e<X>m<Y>...", format_text, set_format},
    choice<&C::rounding, rounding_names>("element.rounding", "what a value between two codes becomes"),
    choice<&C::overflow, overflow_names>("element.overflow", "values beyond MAX: MAX, or infinity and NaN"),
    choice<&C::zero, zero_names>("element.zero", "sign of zero results: that of the input, none, or none for an exact zero"),
    choice<&C::element_nan, element_nan_names>("element.nan", "what a NaN becomes: NaN, or MAX or -MAX where the kernel clamps with fmin or fmax first"),
    choice<&C::codec, codec_names>("element.codec", "elements that are no scaled floating-point format; with scale.rule = fixed"),
    {"tile.shape", T::text, "ROWSxCOLUMNS that share a scale, columns along the contracted dimension; tensor", tile_text, set_tile},
    choice<&C::whole_tiles, ragged_names>("tile.ragged", "a dimension that the tile does not divide: pad with zeros, or refuse"),
    choice<&C::nan, nan_names>("amax.nan", "what a NaN does to the amax"),
    real<&C::floor>("amax.floor", "smallest amax that counts; 0 is none"),
    choice<&C::add_floor, floor_names>("amax.floor_mode", "the floor replaces a smaller amax, or is added to every one"),
    flag<&C::flush_subnormal>("amax.flush_subnormal", "tiles whose amax is below 2^-126 become zeros"),
    choice<&C::rule, rule_names>("scale.rule", "how an amax becomes a scale"),
    real<&C::max>("scale.max", "largest value aimed at; 0 is MAX of the element format"),
    choice<&C::pow2, pow2_names>("scale.pow2", "te, torchao: the multiplier; quotient: the factor becomes a power of two"),
    choice<&C::quotient, quotient_names>("scale.quotient", "quotient: fl(amax / MAX), or fl(amax * fl(1/MAX))"),
    real<&C::scale_floor>("scale.floor", "quotient: smallest dequantise factor"),
    choice<&C::big, big_names>("scale.big", "te: an infinite quotient becomes the largest number of this type, or stays"),
    choice<&C::zero_for_infinity, infinity_names>("scale.infinity", "te: multiplier of an infinite amax"),
    integer<&C::infinity_code, 254, 255>("scale.infinity_code", "e8m0-rceil: code of an infinite amax"),
    integer<&C::exponent_bits, 2, 8>("scale.exponent_bits", "e8m0: fewer bits clamp at the bottom and give NaN at the top"),
    choice<&C::old_reciprocal, reciprocal_names>("scale.reciprocal", "e8m0: multipliers of codes 0, 254 and 255"),
    choice<&C::store, store_names>("scale.store", "how the dequantise factor is stored"),
    choice<&C::multiplier, multiplier_names>("scale.apply", "quotient: elements times fl(1/s), fl(MAX/amax), fl(fl(1/amax) * MAX), or divided by s"),
    choice<&C::scope, scope_names>("second.scope", "what the factor above the tiles' own belongs to"),
    real<&C::block_max>("second.block_max", "nvfp4: largest tile factor aimed at"),
    choice<&C::old_order, order_names>("second.order", "nvfp4: amax * fl(S_enc/6), or before 2.15 fl(amax/6) * S_enc"),
    flag<&C::bf16_multiplier>("second.bf16_multiplier", "nvfp4: multipliers are rounded to bfloat16 (fast math)"),
    choice<&C::select, select_names>("second.select", "nvfp4, 4over6: the tile's amax maps to 4 where that loses less"),
    {"hadamard.size", T::integer, "elements along the contracted dimension that are transformed together; 0 is none", hadamard_text, set_hadamard},
    {"hadamard.signs", T::text, "which of them are negated first", signs_text, set_signs},
    {"hadamard.round", T::text, "type that the transformed elements are rounded to", hadamard_round_text, set_hadamard_round},
    choice<&C::history, history_names>("history.kind", "whose state machine remembers earlier steps"),
    integer<&C::length, 1, 1 << 20>("history.length", "steps that are remembered"),
    choice<&C::algorithm, algorithm_names>("history.algorithm", "which remembered amax sets the scale"),
    integer<&C::margin, 0, 100>("history.margin", "the scale is divided by 2^margin"),
    choice<&C::roll_on_zero, zero_step_names>("history.zero_step", "te-fused: a step whose amax is 0"),
    flag<&C::guard_tiny>("history.guard_tiny", "an infinite quotient becomes the largest binary32 number"),
    integer<&C::interval, 1, 1 << 20>("history.interval", "predicted: steps between measurements"),
    real<&C::learning_rate>("history.learning_rate", "predicted: the amax grows by it every step"),
    real<&C::mu>("history.mu", "msamp: multiplies the scale (FP8-LM)"),
    real<&C::mu_ratio>("history.mu_ratio", "msamp: share of saturated codes above which mu is halved, else it grows; 0: mu stays"),
    integer<&C::mu_window, 1, 1 << 20>("history.mu_window", "msamp: updates without a halving that double mu"),
    integer<&C::mu_frequency, 1, 1 << 20>("history.mu_frequency", "msamp: steps between updates of mu"),
    choice<&C::order, gemm_order_names>("gemm.order", "where a product applies tile scales"),
};

}  // namespace

std::span<const RecipeField> recipe_fields() { return table; }

const RecipeField& recipe_field(std::string_view key) {
  for (const RecipeField& field : table)
    if (field.key == key) return field;
  std::vector<std::string_view> known;
  for (const RecipeField& field : table) known.push_back(field.key);
  throw UnknownName(unknown_name("key", key, known));
}

void apply_setting(CastRecord& cast, const RecipeSetting& setting) {
  const RecipeField& field = recipe_field(setting.key);
  try {
    field.set(cast, setting.value);
  } catch (const UnknownName&) {
    throw;  // an unknown format lists the formats
  } catch (const std::invalid_argument& error) {
    throw std::invalid_argument(setting.key + "=" + setting.value + ": " + error.what());
  }
}

}  // namespace fp8scope
