#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "sim/amax.hpp"
#include "sim/block.hpp"
#include "sim/convert.hpp"
#include "sim/format.hpp"
#include "sim/hadamard.hpp"
#include "sim/scale.hpp"
#include "sim/scale_order.hpp"

namespace fp8scope {

/// What a tensor is to the GEMMs of a layer.
enum class Role : std::uint8_t { activation, weight, gradient };

struct NamedRole {
  std::string_view name;
  Role role;
  std::string_view operand;  ///< name of the operand in traces
};

inline constexpr NamedRole roles[] = {
    {"activation", Role::activation, "x"},
    {"weight", Role::weight, "w"},
    {"gradient", Role::gradient, "dy"},
};

/// The product of a layer that an operand is cast for. Some recipes treat them differently.
enum class Gemm : std::uint8_t { unknown, fprop, dgrad, wgrad };

struct NamedGemm {
  std::string_view name;
  Gemm gemm;
};

inline constexpr NamedGemm gemm_uses[] = {
    {"", Gemm::unknown}, {"fprop", Gemm::fprop}, {"dgrad", Gemm::dgrad}, {"wgrad", Gemm::wgrad}};

/// The tensor that a recipe is asked to scale.
struct TensorKind {
  Role role = Role::activation;
  Format input{8, 23, 127, Specials::ieee};  ///< type the tensor is kept in before the cast
  Gemm gemm = Gemm::unknown;                 ///< what it is cast for
};

/// Elements that are no scaled floating-point format: see sim/recipes/codec.hpp.
enum class Codec : std::uint8_t { none, logfmt8, logfmt10, coat_expand };

/// What the tensor factor of a two-level recipe belongs to.
enum class Scope : std::uint8_t { none, tensor, row };

/// Which of two candidate block factors a 4-over-6 recipe takes: the smaller error of the block.
enum class Select : std::uint8_t { none, mae, mse };


/// Everything about the cast of one tensor that does not change from step to step.
struct Plan {
  Format format = e4m3;                        ///< element format
  CastRule cast;                               ///< saturating, nearest even unless a recipe says otherwise
  BlockShape block;                            ///< along the contracted dimension = along the columns
  AmaxRule amax_rule = AmaxRule::ignore_nan;
  ScaleStorage storage = ScaleStorage::fp32;
  ScaleOrder order = ScaleOrder::product;  ///< where the library's GEMM applies block scales
  bool whole_blocks = false;  ///< the library refuses a contracted dimension that is no multiple of the block
  bool delayed = false;  ///< scales of a step come from earlier steps: no pass over x before the cast
  Apply apply = Apply::multiply;
  Scope scope = Scope::none;       ///< of the factor above the blocks' own, if there is one
  Select select = Select::none;    ///< 4over6: every block is cast twice
  Hadamard hadamard;
  Codec codec = Codec::none;       ///< tiles become codec_values(); there are no scales
};

/// Chooses the scales of one tensor, step after step. One object follows one tensor.
class Recipe {
 public:
  virtual ~Recipe() = default;
  explicit Recipe(Plan plan) : plan_(plan) {}
  Recipe(const Recipe&) = delete;
  Recipe& operator=(const Recipe&) = delete;

  const Plan& plan() const { return plan_; }

  /// Writes the scales of every block for this step, then remembers the step.
  ///
  /// amax    [blocks], largest |x| in each block at this step, by plan().amax_rule
  /// scales  [blocks], written
  virtual void step(std::span<const float> amax, std::span<Scales> scales) = 0;

  /// The rule that step() applies to each amax on its own, where there is one (online recipes);
  /// nullptr where the scales depend on more than this step's amax of the block.
  virtual const ScaleRule* block_rule() const { return nullptr; }

  /// Age of the amax behind the scale of the coming step, in steps: 0 is this step's own. -1 where no
  /// amax has been seen yet.
  virtual std::int64_t amax_age() const { return 0; }

  /// The amax behind the scale of the coming step; requires amax_age() > 0.
  virtual float amax_in_use() const { return 0.0f; }

  /// Steps in a row, up to the last, that left the scale as it was because the amax it would have come
  /// from was zero, infinite or NaN.
  virtual std::int64_t frozen_steps() const { return 0; }

 private:
  Plan plan_;
};

struct RecipeRecord;

/// A row of recipes(): the parts of a RecipeRecord (sim/recipes/record.hpp) that people read.
struct NamedRecipe {
  std::string_view name;
  std::string_view version;  ///< of the library whose behaviour it reproduces
  std::string_view summary;
  std::string_view options;  ///< "key=default ..." as typed by the user
  std::string_view evidence; ///< "golden", "source", "paper" or "open"
  const RecipeRecord* record;
};

/// Every recipe the program offers.
std::span<const NamedRecipe> recipes();

/// The record that `name` names: that of a row of recipes(), or of a file whose name ends in ".toml".
/// Throws UnknownName, and what the reader of files throws.
const RecipeRecord& find_recipe(std::string_view name);

/// Lets find_recipe() read files. Without a reader it knows the rows only.
void read_recipe_files_with(RecipeRecord (*reader)(const std::string& path));

/// The recipe that `spec` = "name[:key=value...]" describes, new, for one tensor. The name is a row of
/// recipes() or a file.
///
/// Throws UnknownName for an unknown name or key, std::invalid_argument for a bad value; the message
/// quotes `spec`.
std::unique_ptr<Recipe> make_recipe(std::string_view spec, const TensorKind& operand);

/// "NAME" of "NAME:key=value...".
std::string_view recipe_name(std::string_view spec);

}  // namespace fp8scope
