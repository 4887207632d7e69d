#include "src/sweep/plan.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>

#include "src/cast_stats.hpp"
#include "src/errors.hpp"
#include "src/sha256.hpp"

namespace fp8scope {
namespace {

using Json = nlohmann::ordered_json;

Json json_of(const TensorInfo& info) {
  Json uses = Json::array();
  for (const GemmUse& use : info.gemms) uses.push_back({use.gemm, use.axis});
  return {{"layer", info.layer}, {"operand", info.operand}, {"index", info.layer_index}, {"framework", info.name_in_framework},
          {"dtype", info.dtype}, {"steps", info.steps},     {"rows", info.rows},         {"cols", info.cols},
          {"constant", info.constant}, {"gemms", uses},     {"sampling", info.row_sampling}, {"rows_total", info.rows_total}};
}

TensorInfo tensor_of(const Json& json) {
  TensorInfo info;
  info.layer = json.at("layer"), info.operand = json.at("operand"), info.layer_index = json.at("index");
  info.name_in_framework = json.at("framework"), info.dtype = json.at("dtype"), info.steps = json.at("steps");
  info.rows = json.at("rows"), info.cols = json.at("cols"), info.constant = json.at("constant");
  for (const Json& use : json.at("gemms")) info.gemms.push_back({use.at(0), use.at(1)});
  info.row_sampling = json.at("sampling"), info.rows_total = json.at("rows_total");
  return info;
}

std::string catalog_text(const Catalog& catalog) {
  Json tensors = Json::array();
  for (const TensorInfo& info : catalog.tensors) tensors.push_back(json_of(info));
  return Json{{"steps", catalog.steps}, {"tensors", tensors}}.dump(-1, ' ', true, Json::error_handler_t::replace);
}

Layout layout_of(Catalog catalog, const Selection& select) {
  Layout layout;
  layout.catalog = std::move(catalog);
  const Catalog& all = layout.catalog;
  layout.step_place.assign(all.steps.size(), -1);
  for (std::size_t s = 0; s < all.steps.size(); ++s)
    if (select.has_step(all.steps[s])) layout.step_place[s] = std::ssize(layout.steps), layout.steps.push_back(s);
  layout.tensor_first.push_back(0);
  for (std::size_t t = 0; t < all.tensors.size(); ++t)
    layout.tensor_first.push_back(layout.tensor_first.back() + layout.steps_of(t));
  layout.pairs = gemm_pairs(all.tensors);
  layout.pair_first.push_back(0);
  for (const GemmPair& pair : layout.pairs) layout.pair_first.push_back(layout.pair_first.back() + layout.steps_of(pair.a));
  return layout;
}

template <class Value>
void add_once(std::vector<Value>& all, const Value& value) {
  if (std::ranges::find(all, value) == all.end()) all.push_back(value);
}

}  // namespace

SweepPlan::SweepPlan(SweepSpec spec, std::uint64_t most_points, Catalog catalog, InputFile trace)
    : spec_(std::move(spec)), grid_(make_grid(spec_, most_points)), trace_(std::move(trace)) {
  make_layouts(std::move(catalog));
  make_groups();
  number_items();
  Sha256 hash;
  // A record holds as many numbers as there are statistics.
  const std::string text = fmt::format("{}\n{}\n{} {} {}\n", spec_.text, trace_.sha256, statistics().size(), counts().size(),
                                       recipes_per_batch);
  hash.add(text.data(), text.size());
  for (const Layout& layout : layouts_) {
    const std::string tensors = catalog_text(layout.catalog);
    hash.add(tensors.data(), tensors.size());
  }
  hash_ = hash.hex();
}

void SweepPlan::make_layouts(Catalog catalog) {
  if (spec_.synthetic)
    for (const SourceSettings& settings : grid_.sources)
      layouts_.push_back(layout_of(synthetic_catalog(settings, spec_.select), spec_.select));
  else
    layouts_.push_back(layout_of(std::move(catalog), spec_.select));
  std::size_t tensors = 0;
  for (std::size_t s = 0; s < grid_.sources.size(); ++s) {
    if (layout(s).catalog.tensors.empty() || layout(s).steps.empty())
      throw UsageError(fmt::format("{}: [select] leaves {} of {}", spec_.file,
                                   layout(s).catalog.tensors.empty() ? "no tensor" : "no step",
                                   spec_.trace.empty() ? "the synthetic tensors" : spec_.trace));
    tensor_first_.push_back(tensors);
    tensors += layout(s).catalog.tensors.size();
  }
}

void SweepPlan::make_groups() {
  std::map<std::pair<std::size_t, std::string>, std::size_t> cast_known;
  std::map<std::pair<std::size_t, bool>, std::size_t> gemm_known;
  std::map<std::pair<std::size_t, std::size_t>, std::size_t> cast_recipe, gemm_recipe;
  for (const Point& point : grid_.points) {
    const auto [cast, new_cast] = cast_known.try_emplace({point.source, point.gemms}, casts_.size());
    if (new_cast) casts_.push_back({point.source, point.gemms, {}});
    CastGroup& casts = casts_[cast->second];
    if (cast_recipe.try_emplace({cast->second, point.recipe}, casts.recipes.size()).second) casts.recipes.push_back(point.recipe);
    if (point.unit < 0) continue;
    const auto [gemm, new_gemm] = gemm_known.try_emplace({point.source, point.requantise}, gemms_.size());
    if (new_gemm) gemms_.push_back({point.source, point.requantise, {}, {}});
    GemmGroup& products = gemms_[gemm->second];
    const auto [recipe, new_recipe] = gemm_recipe.try_emplace({gemm->second, point.recipe}, products.recipes.size());
    if (new_recipe) products.recipes.push_back(point.recipe), products.units.emplace_back();
    add_once(products.units[recipe->second], static_cast<std::size_t>(point.unit));
  }
}

void SweepPlan::number_items() {
  for (CastGroup& group : casts_) {
    group.first = items_;
    items_ += layout(group.source).tensor_first.back() * batches(group);
  }
  for (GemmGroup& group : gemms_) {
    group.first = items_;
    items_ += layout(group.source).pair_first.back() * group.recipes.size();
  }
}

std::optional<std::uint64_t> SweepPlan::cast_item(const CastGroup& group, std::size_t tensor, std::size_t step, std::size_t batch) const {
  const Layout& where = layout(group.source);
  const std::int64_t place = where.place_of(tensor, step);
  if (place < 0) return {};
  return group.first + (where.tensor_first[tensor] + static_cast<std::uint64_t>(place)) * batches(group) + batch;
}

std::optional<std::uint64_t> SweepPlan::gemm_item(const GemmGroup& group, std::size_t pair, std::size_t step, std::size_t recipe) const {
  const Layout& where = layout(group.source);
  const std::int64_t place = where.place_of(where.pairs[pair].a, step);
  if (place < 0) return {};
  return group.first + (where.pair_first[pair] + static_cast<std::uint64_t>(place)) * group.recipes.size() + recipe;
}

std::string SweepPlan::catalog_json() const { return spec_.synthetic ? "" : catalog_text(layouts_[0].catalog); }

Catalog parse_catalog(const std::string& json, const std::string& where) {
  try {
    const Json parsed = Json::parse(json);
    Catalog catalog{parsed.at("steps").get<std::vector<std::int64_t>>(), {}, {}};
    for (const Json& tensor : parsed.at("tensors")) catalog.tensors.push_back(tensor_of(tensor));
    return catalog;
  } catch (const Json::exception& error) {
    throw DataError(fmt::format("{}: is damaged: {}", where, error.what()));
  }
}

}  // namespace fp8scope
