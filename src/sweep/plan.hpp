#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "src/gemm_replay.hpp"
#include "src/result_file.hpp"
#include "src/sweep/grid.hpp"
#include "src/sweep/source.hpp"

namespace fp8scope {

/// Recipes that are cast together: those of all points of one source and one choice of `gemms`.
struct CastGroup {
  std::size_t source;
  std::string gemms;
  std::vector<std::size_t> recipes;  ///< rows of Grid::recipes
  std::uint64_t first = 0;           ///< item of the first batch
};

/// Products that are computed together.
struct GemmGroup {
  std::size_t source;
  bool requantise;
  std::vector<std::size_t> recipes;             ///< rows of Grid::recipes
  std::vector<std::vector<std::size_t>> units;  ///< [recipes] rows of Grid::units
  std::uint64_t first = 0;                      ///< item of the first product
};

/// Tensors and steps of a source, and where they stand in the order of the plan.
struct Layout {
  Catalog catalog;
  std::vector<std::size_t> steps;          ///< selected, as indices into catalog.steps
  std::vector<std::int64_t> step_place;    ///< [catalog.steps] place in `steps`, -1 if not selected
  std::vector<std::uint64_t> tensor_first; ///< [tensors + 1] tensor-steps before
  std::vector<GemmPair> pairs;
  std::vector<std::uint64_t> pair_first;   ///< [pairs + 1] pair-steps before

  /// Selected steps of a tensor: only the first of a constant one.
  std::size_t steps_of(std::size_t tensor) const { return catalog.tensors[tensor].constant ? std::min<std::size_t>(1, steps.size()) : steps.size(); }
  std::size_t step_at(std::size_t tensor, std::size_t place) const { return catalog.tensors[tensor].constant ? 0 : steps[place]; }
  /// -1 if the step is not selected.
  std::int64_t place_of(std::size_t tensor, std::size_t step) const { return catalog.tensors[tensor].constant ? (steps.empty() ? -1 : 0) : step_place[step]; }
};

/// Everything a sweep will do, numbered. An item is what one record of a journal holds: a batch of
/// recipes for one tensor of one step, or one product, step and recipe on all its units. Items depend
/// on nothing but the specification and the trace.
class SweepPlan {
 public:
  static constexpr std::size_t recipes_per_batch = 16;

  /// catalog  of the trace; empty if the tensors are synthetic
  /// Throws UsageError.
  SweepPlan(SweepSpec spec, std::uint64_t most_points, Catalog catalog, InputFile trace);

  const SweepSpec& spec() const { return spec_; }
  const Grid& grid() const { return grid_; }
  const InputFile& trace() const { return trace_; }
  const std::vector<CastGroup>& casts() const { return casts_; }
  const std::vector<GemmGroup>& gemms() const { return gemms_; }
  /// Of Grid::sources.
  const Layout& layout(std::size_t source) const { return layouts_[spec_.synthetic ? source : 0]; }
  /// Row of lookup/tensor.
  std::size_t tensor_id(std::size_t source, std::size_t tensor) const { return tensor_first_[source] + tensor; }

  static std::size_t batches(const CastGroup& group) { return (group.recipes.size() + recipes_per_batch - 1) / recipes_per_batch; }
  std::uint64_t items() const { return items_; }
  /// Nothing if the step is not selected.
  std::optional<std::uint64_t> cast_item(const CastGroup& group, std::size_t tensor, std::size_t step, std::size_t batch) const;
  std::optional<std::uint64_t> gemm_item(const GemmGroup& group, std::size_t pair, std::size_t step, std::size_t recipe) const;

  /// SHA-256 of all that decides on items and their results but the program itself.
  const std::string& hash() const { return hash_; }
  /// Steps and tensors as JSON, for plan.json.
  std::string catalog_json() const;

 private:
  void make_groups();
  void make_layouts(Catalog catalog);
  void number_items();

  SweepSpec spec_;
  Grid grid_;
  InputFile trace_;
  std::vector<Layout> layouts_;
  std::vector<std::size_t> tensor_first_;  ///< [sources]
  std::vector<CastGroup> casts_;
  std::vector<GemmGroup> gemms_;
  std::uint64_t items_ = 0;
  std::string hash_;
};

/// What catalog_json() wrote. Throws DataError beginning with `where`.
Catalog parse_catalog(const std::string& json, const std::string& where);

}  // namespace fp8scope
