#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "sim/recipes/record.hpp"
#include "src/coded/code_diff.hpp"
#include "src/coded/coded_tensor.hpp"

namespace fp8scope {

/// A cast that may have made a dump: a recipe with options, or one of its keys changed as well.
struct Suspect {
  std::string spec;                  ///< as make_recipe() takes it
  std::string version, evidence;
  Role role = Role::activation;      ///< whose tiles and format it has
  TensorKind kind;
  CastRecord cast;
  std::vector<RecipeSetting> edits;  ///< keys that differ from the recipe
  std::vector<std::string> aliases;  ///< other recipes that are the same cast
};

/// How a suspect's scales and codes differ from the dump's.
struct Match {
  Suspect suspect;
  CodeDiff scales, codes;
  /// All numbers, NaNs and signs of zeros agree.
  bool exact() const { return scales.differ == 0 && codes.differ == 0 && codes.zero_signs == 0; }
  /// Share of codes and of scales that differ, added; a zero of the other sign counts a thousandth.
  double off() const {
    const double zeros = codes.compared > 0 ? static_cast<double>(codes.zero_signs) / static_cast<double>(codes.compared) : 0.0;
    return scales.share() + codes.share() + 1e-3 * zeros;
  }
};

struct IdentifyOptions {
  std::size_t nearest = 5;          ///< inexact matches to report
  std::int64_t search_elements = 1 << 17;  ///< of the tensor that the search looks at; matches are then checked on all
};

struct Identity {
  bool multipliers = false;         ///< the dump stores quantise multipliers, not dequantise factors
  std::vector<Match> exact;         ///< recipes; then, if there is none, changed recipes
  std::vector<Match> nearest;       ///< recipes, best first, each of another name
  std::vector<Match> changed;       ///< the same with up to two keys changed, where that is nearer
  double delayed_ratio = 0.0;       ///< one factor, and no recipe makes it from this tensor: it is that of an amax
                                    ///< this many times as large
};

/// Which recipes made the codes and scales of `dump`, which has x: every row of recipes() with every choice of its
/// options whose tile and element format fit, and the nearest of them with one or two keys changed.
/// Throws DataError if there is no x.
Identity identify(const CodedTensor& dump, const IdentifyOptions& options);

/// What the dump does and what the recipe does, from the keys in which a changed recipe differs:
/// "you divide by the stored factor; dsv3 multiplies by fl(1/factor)".
std::vector<std::string> explain(const Suspect& changed);

/// Values of the keys that identify() tries. To try another, add a row.
struct Knob {
  std::string_view key;
  std::vector<std::string_view> values;
};
const std::vector<Knob>& knobs();

}  // namespace fp8scope
