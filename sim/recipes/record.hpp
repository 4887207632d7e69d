#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "sim/delayed_state.hpp"
#include "sim/recipe.hpp"

namespace fp8scope {

/// What an infinite quotient becomes.
enum class Big : std::uint8_t { float32, input, infinity };

/// Which of the remembered amaxes sets the next scale.
enum class AmaxAlgorithm : std::uint8_t { max, most_recent };

/// How one operand is cast, as data: everything that a recipe chooses. The keys of recipe_fields() are
/// the names of the members in files and on the command line.
struct CastRecord {
  // element
  Format format = e4m3;
  Rounding rounding = Rounding::nearest_even;
  Overflow overflow = Overflow::saturate;
  ZeroRule zero = ZeroRule::keep;
  NanRule element_nan = NanRule::all_ones;
  Codec codec = Codec::none;
  // tile
  BlockShape tile;
  bool whole_tiles = false;  ///< a contracted dimension that is no multiple of the tile is refused
  // amax
  AmaxRule nan = AmaxRule::ignore_nan;
  float floor = 0.0f;
  bool add_floor = false;
  bool flush_subnormal = false;
  // scale
  ScaleRule::Kind rule = ScaleRule::Kind::te;
  float max = 0.0f;  ///< MAX; 0: that of the element format
  Pow2 pow2 = Pow2::none;
  ScaleRule::Quotient quotient = ScaleRule::Quotient::division;
  float scale_floor = 0.0f;
  Big big = Big::float32;     ///< te
  bool zero_for_infinity = false;
  std::int64_t infinity_code = 254;
  std::int64_t exponent_bits = 8;
  bool old_reciprocal = false;
  ScaleStorage store = ScaleStorage::fp32;
  // apply
  ScaleRule::Multiplier multiplier = ScaleRule::Multiplier::inverse;
  // second
  Scope scope = Scope::none;
  float block_max = 448.0f;
  bool old_order = false;
  bool bf16_multiplier = false;
  Select select = Select::none;
  // hadamard
  Hadamard hadamard;
  // history
  HistoryKind history = HistoryKind::none;
  std::int64_t length = 1024;
  AmaxAlgorithm algorithm = AmaxAlgorithm::max;
  std::int64_t margin = 0;
  bool roll_on_zero = false;
  bool guard_tiny = true;     ///< an infinite quotient becomes the largest binary32 number
  std::int64_t interval = 500;
  float learning_rate = 0.0f;
  float mu = 1.0f;            ///< FP8-LM: multiplies the scale
  float mu_ratio = 0.0f;      ///< FP8-LM's automatic scaling: share of saturated codes above which mu is halved; 0: mu stays
  std::int64_t mu_window = 100;    ///< updates without a halving that double it
  std::int64_t mu_frequency = 10;  ///< steps from update to update
  // gemm
  ScaleOrder order = ScaleOrder::product;

  friend bool operator==(const CastRecord&, const CastRecord&) = default;
};

/// "tile.shape" = "1x128".
struct RecipeSetting {
  std::string key, value;
  friend bool operator==(const RecipeSetting&, const RecipeSetting&) = default;
};

/// Settings for the operands of one role or one product, or both; applied in order after the common ones.
struct RecipeOverride {
  std::string role, gemm;  ///< "" is any
  std::vector<RecipeSetting> settings;
  friend bool operator==(const RecipeOverride&, const RecipeOverride&) = default;
};

/// A value of an option, and the settings it stands for.
struct RecipeChoice {
  std::string value;
  std::vector<RecipeSetting> settings;
  std::string role;      ///< operands that it is for; "" is all
  std::string evidence;  ///< where it is not that of the recipe
  friend bool operator==(const RecipeChoice&, const RecipeChoice&) = default;
};

/// A short name for what users vary: NAME:option=value. Options are applied last, to every operand.
struct RecipeOption {
  std::string name;
  std::string field;                  ///< the key that takes any other value; "" if there is none
  std::vector<RecipeChoice> choices;  ///< where there is no field, the first is the default
  friend bool operator==(const RecipeOption&, const RecipeOption&) = default;
};

/// A recipe: a row of a table here, or a TOML file.
struct RecipeRecord {
  std::string name;
  std::string version;   ///< of the library whose behaviour it reproduces
  std::string evidence;  ///< a row of recipe_evidence
  std::string source;
  std::string summary;
  CastRecord cast;
  std::vector<RecipeOverride> overrides;
  std::vector<RecipeOption> options;
  friend bool operator==(const RecipeRecord&, const RecipeRecord&) = default;
};

struct NamedEvidence {
  std::string_view name, meaning;
};

inline constexpr NamedEvidence recipe_evidence[] = {
    {"golden", "reproduces arrays made by the original code"},
    {"port", "reproduces arrays made by a port of the original code"},
    {"source", "written from the original code, which was not run"},
    {"paper", "written from a paper"},
    {"user", "from a user's file"},
};

/// One key of a recipe: how it is read and written.
struct RecipeField {
  enum class Type : std::uint8_t { text, integer, real, flag };
  std::string_view key;   ///< "section.name"
  Type type;
  std::string_view help;
  std::string (*get)(const CastRecord&);
  /// Throws std::invalid_argument("wanted ...").
  void (*set)(CastRecord&, std::string_view);
};

/// Every key, in the order of files.
std::span<const RecipeField> recipe_fields();

/// The field called `key`, or UnknownName with the nearest.
const RecipeField& recipe_field(std::string_view key);

/// Sets one key. Throws UnknownName, or std::invalid_argument "KEY=VALUE: wanted ...".
void apply_setting(CastRecord& cast, const RecipeSetting& setting);

/// Two keys of a record that exclude each other.
struct RecipeConflict : std::invalid_argument {
  RecipeConflict(std::string_view first, std::string_view second, const std::string& why)
      : std::invalid_argument(std::string(first) + ": " + why), key(first), other(second) {}
  std::string key, other;
};

/// Throws RecipeConflict where the settings contradict each other.
void check_cast(const CastRecord& cast);

/// The cast of one operand: common settings, overrides that fit, then options "key=value:key=value",
/// each the name of an option or the key of a field.
///
/// Throws UnknownName, std::invalid_argument, RecipeConflict.
CastRecord resolve(const RecipeRecord& record, const TensorKind& operand, std::string_view options);

/// "scales=pow2|fp32 block=1x128": the options as the user types them.
std::string describe_options(const RecipeRecord& record);

}  // namespace fp8scope
