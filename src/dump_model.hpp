#pragma once

#include <span>
#include <string>
#include <vector>

#include "sim/accumulator.hpp"
#include "sim/scale_order.hpp"
#include "src/dump.hpp"

namespace fp8scope {

/// A way to compute a dump's results.
struct DumpModel {
  std::string name;            ///< of the model
  Model model;
  std::size_t promote = 0;     ///< N_C; 0: never
  ScaleOrder order = ScaleOrder::plain;  ///< where factors enter
  std::string recipe = {};     ///< casts a and b first; "": they are multiplied as they are
  /// "hopper_wgmma", or "dsv3, hopper_wgmma promoted every 128, deepgemm".
  std::string text() const;
};

/// The longest name of a model that `group` begins with; "" if there is none.
std::string model_named_by(const std::string& group);

/// How results are computed unless somebody says otherwise: factors of blocks are applied every block,
/// DeepGEMM's way.  Throws as parse_model().
DumpModel default_model(const Dump& dump, const std::string& name);

/// d as the model computes it. Without promotion and factors C is the unit's own; else the sum starts
/// from zero, D is rounded to its format, then C is added and the sum rounded again, as scaled_gemm().
/// model.recipe is not looked at: the dump must be cast already.
/// Throws std::invalid_argument, DataError if scales do not fit the model.
///
/// returns  [rows] words
std::vector<std::uint32_t> recompute(const Dump& dump, const DumpModel& model);

/// Whether the operands are in a format that a recipe casts from: binary32, binary16, bfloat16.
bool has_sources(const Dump& dump);

/// The dump with a as an activation and b as a weight cast by the recipe (b as an activation where the
/// recipe's weights have blocks of several rows, which a list of dot products does not show). A scale
/// of a whole tensor is that of the dump's rows.
/// Throws what make_recipe() throws; std::invalid_argument if the recipe needs earlier steps.
Dump cast_by(const Dump& dump, const std::string& recipe);

/// Every way by which the whole dump comes out: the models of the table that multiply these formats,
/// alone, with every promotion interval that is a power of two of at least 32 and with every order
/// that applies the factors; and if a recipe can cast the operands, all that for each of `recipes`.
std::vector<DumpModel> models_that_fit(const Dump& dump, std::span<const std::string> recipes, bool nan_bits);

}  // namespace fp8scope
