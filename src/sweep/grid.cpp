#include "src/sweep/grid.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <set>

#include "sim/format.hpp"
#include "sim/models.hpp"
#include "sim/names.hpp"
#include "sim/recipe.hpp"
#include "src/errors.hpp"
#include "src/options.hpp"

namespace fp8scope {
namespace {

constexpr std::string_view gemm_choices[] = {"first", "all", "fprop", "dgrad", "wgrad"};
constexpr std::string_view unit_keys[] = {"promote", "order", "output", "split_k"};

bool is_source_key(std::string_view key) {
  return key.starts_with("synthetic.") || key.starts_with("inject.") || key == "seed";
}
bool is_unit_key(std::string_view key) { return std::ranges::find(unit_keys, key) != std::end(unit_keys); }
bool is_axis_key(std::string_view key) { return find_by_name(axis_keys(), key) != nullptr; }

std::string_view fallback_of(std::string_view key) { return find_by_name(axis_keys(), key)->fallback; }

/// Index of `value` in `all`, where it is appended if new. `known` remembers.
template <class T>
std::size_t index_of(std::vector<T>& all, std::map<std::string, std::size_t>& known, const std::string& name, T value) {
  const auto [at, added] = known.try_emplace(name, all.size());
  if (added) all.push_back(std::move(value));
  return at->second;
}

/// Throws unless the model reads some pair of formats as spelt.
void check_model(const std::string& text) {
  std::string first;
  for (const std::string_view format : {"e4m3", "e5m2", "e2m1", "e2m3", "e3m2", "bf16", "fp16", "fp32", "fp64"}) try {
      parse_model(text, format, format);
      return;
    } catch (const UnknownName&) {
      throw;
    } catch (const std::invalid_argument& error) {
      if (first.empty()) first = error.what();
    }
  throw std::invalid_argument(first);
}

class Builder {
 public:
  Builder(const SweepSpec& spec, std::uint64_t most) : spec_(spec), most_(most) {
    add_axes(spec.grid);
    for (const auto& include : spec.include) add_axes(include);
    excluded_.resize(spec.exclude.size());
  }

  Grid build() {
    add_product(spec_.grid);
    for (const std::vector<GridAxis>& include : spec_.include) {
      std::vector<GridAxis> axes = spec_.grid;
      for (const GridAxis& axis : include) {
        const auto same = std::ranges::find(axes, axis.key, &GridAxis::key);
        if (same == axes.end())
          axes.push_back(axis);
        else
          *same = axis;
      }
      add_product(axes);
    }
    for (std::size_t a = 0; a < grid_.axes.size(); ++a)
      if (!applied_[a])
        throw UsageError(fmt::format("{}: '{}' is an option of none of the recipes and accumulators of this sweep",
                                     wheres_[a], grid_.axes[a]));
    for (std::size_t e = 0; e < excluded_.size(); ++e)
      if (excluded_[e] == 0) grid_.warnings.push_back(fmt::format("{}: this exclude matches no point", spec_.exclude[e].where));
    if (grid_.points.empty()) throw UsageError(fmt::format("{}: no points are left", spec_.file));
    return std::move(grid_);
  }

 private:
  void add_axes(const std::vector<GridAxis>& axes) {
    for (const GridAxis& axis : axes) {
      if (std::ranges::find(grid_.axes, axis.key) != grid_.axes.end()) continue;
      grid_.axes.push_back(axis.key);
      wheres_.push_back(axis.where);
      applied_.push_back(is_axis_key(axis.key));
    }
  }

  void add_product(const std::vector<GridAxis>& axes) {
    std::uint64_t count = 1;
    for (const GridAxis& axis : axes)
      if (__builtin_mul_overflow(count, axis.values.size(), &count) || count > most_ - std::min<std::uint64_t>(most_, grid_.points.size()))
        throw UsageError(fmt::format("{}: more than {} points; make an axis shorter, or raise --max-points", axis.where, most_));
    std::vector<std::size_t> at(axes.size(), 0);
    for (std::uint64_t n = 0; n < count; ++n) {
      std::map<std::string, std::string> values;
      for (std::size_t a = 0; a < axes.size(); ++a) values[axes[a].key] = axes[a].values[at[a]];
      add_point(values);
      for (std::size_t a = axes.size(); a-- > 0;) {
        if (++at[a] < axes[a].values.size()) break;
        at[a] = 0;
      }
    }
  }

  std::string value_or_default(const std::map<std::string, std::string>& values, const std::string& key) const {
    if (const auto found = values.find(key); found != values.end()) return found->second;
    if (const auto found = spec_.fixed.find(key); found != spec_.fixed.end()) return found->second;
    return std::string(fallback_of(key));
  }

  void add_point(const std::map<std::string, std::string>& values) {
    Point point{std::vector<std::string>(grid_.axes.size()), 0, 0, -1, value_or_default(values, "gemms"), false};
    std::string recipe = value_or_default(values, "recipe");
    if (recipe.empty()) throw UsageError(fmt::format("{}: [grid] has no recipe", spec_.file));
    const std::string base_recipe = recipe, base_unit = value_or_default(values, "accumulator");
    std::string accumulator = base_unit;
    const bool products = accumulator != "none";
    for (std::size_t a = 0; a < grid_.axes.size(); ++a) {
      const std::string& key = grid_.axes[a];
      const auto value = values.find(key);
      if (value == values.end()) {
        point.values[a] = is_axis_key(key) && (products || !is_unit_key(key)) ? value_or_default(values, key) : "";
        continue;
      }
      if (is_axis_key(key)) {
        if (products || !is_unit_key(key)) point.values[a] = value->second;
        continue;
      }
      const std::string option = ":" + key + "=";
      if (takes(base_recipe, key) && base_recipe.find(option) == std::string::npos)
        recipe += option + value->second;
      else if (products && model_takes(key) && base_unit.find(option) == std::string::npos)
        accumulator += option + value->second;
      else
        continue;
      point.values[a] = value->second;
      applied_[a] = true;
    }
    if (is_excluded(point)) return;
    resolve(point, recipe, accumulator, values);
  }

  bool takes(const std::string& recipe, const std::string& key) {
    const auto [at, added] = takes_.try_emplace({recipe, key}, false);
    if (added) at->second = recipe_takes(recipe, key);
    return at->second;
  }
  static bool model_takes(std::string_view key) { return find_by_name(model_options(), key) != nullptr; }

  bool is_excluded(const Point& point) {
    bool excluded = false;
    for (std::size_t e = 0; e < spec_.exclude.size(); ++e) {
      const bool all = std::ranges::all_of(spec_.exclude[e].conditions, [&](const GridAxis& c) { return matches(c, point); });
      excluded_[e] += all;
      excluded = excluded || all;
    }
    return excluded;
  }

  bool matches(const GridAxis& condition, const Point& point) {
    const auto axis = std::ranges::find(grid_.axes, condition.key);
    if (axis == grid_.axes.end())
      throw UsageError(fmt::format("{}: '{}' is no axis of this sweep", condition.where, condition.key));
    const std::string& value = point.values[axis - grid_.axes.begin()];
    return std::ranges::any_of(condition.values, [&](const std::string& wanted) {
      if (wanted.size() < 2 || wanted.front() != '/' || wanted.back() != '/') return wanted == value;
      auto expression = expressions_.find(wanted);
      if (expression == expressions_.end()) try {
          expression = expressions_.emplace(wanted, std::regex(wanted.substr(1, wanted.size() - 2))).first;
        } catch (const std::regex_error& error) {
          throw UsageError(fmt::format("{}: '{}' is no regular expression: {}", condition.where, wanted, error.what()));
        }
      return std::regex_match(value, expression->second);
    });
  }

  void resolve(Point& point, const std::string& recipe, const std::string& accumulator,
               const std::map<std::string, std::string>& values) {
    point.recipe = recipe_index(recipe);
    if (accumulator != "none") point.unit = static_cast<std::int64_t>(unit_index(accumulator, values));
    if (std::ranges::find(gemm_choices, point.gemms) == std::end(gemm_choices))
      throw UsageError(fmt::format("{}: gemms '{}': wanted first, all, fprop, dgrad or wgrad", spec_.file, point.gemms));
    point.requantise = flag(value_or_default(values, "requantise"), "requantise");
    SourceSettings settings;
    for (const AxisKey& key : axis_keys())
      if (is_source_key(key.name) && (spec_.synthetic || !key.name.starts_with("synthetic.")))
        settings[std::string(key.name)] = value_or_default(values, std::string(key.name));
    normalise(settings);
    std::string name;
    for (const auto& [key, value] : settings) name += fmt::format("{}={};", key, value);
    point.source = index_of(grid_.sources, source_known_, name, settings);
    const std::string identity = fmt::format("{} {} {} {} {}", point.source, point.recipe, point.unit, point.gemms, point.requantise);
    if (points_known_.insert(identity).second) grid_.points.push_back(std::move(point));
  }

  /// Settings that change nothing take their defaults, so that such sources are one.
  static void normalise(SourceSettings& settings) {
    if (settings["inject.kind"] == "none" || settings["inject.ratio"] == "1")
      for (auto& [key, value] : settings)
        if (key.starts_with("inject.")) value = std::string(fallback_of(key));
    if (settings.contains("synthetic.distribution") && settings["synthetic.distribution"] != "student")
      settings["synthetic.dof"] = std::string(fallback_of("synthetic.dof"));
    if (settings["inject.kind"] == "none" && !settings.contains("synthetic.rows")) settings["seed"] = "0";
  }

  std::size_t recipe_index(const std::string& recipe) {
    if (!recipe_known_.contains(recipe)) try {
        for (const NamedRole& role : roles) make_recipe(recipe, {role.role});
      } catch (const std::invalid_argument& error) {
        throw UsageError(fmt::format("{}: {}", where("recipe"), error.what()));
      }
    return index_of(grid_.recipes, recipe_known_, recipe, recipe);
  }

  std::size_t unit_index(const std::string& accumulator, const std::map<std::string, std::string>& values) {
    GemmRequest unit{accumulator, value_or_default(values, "promote"), value_or_default(values, "order"), false, 1};
    const std::string output = value_or_default(values, "output");
    if (output != "float32" && output != "bfloat16")
      throw UsageError(fmt::format("{}: output '{}': wanted float32 or bfloat16", where("output"), output));
    unit.bf16_output = output == "bfloat16";
    unit.split_k = static_cast<std::int64_t>(parse_number(value_or_default(values, "split_k"), where("split_k") + ": split_k"));
    if (unit.split_k < 1 || unit.split_k > 1 << 20) throw UsageError(fmt::format("{}: split_k: wanted 1 to 1048576", where("split_k")));
    if (unit.promote != "auto" && unit.promote != "none") parse_number(unit.promote, where("promote") + ": promote");
    const std::string name = unit_name(unit);
    if (!unit_known_.contains(name)) try {
        check_model(accumulator);
        if (unit.order != "auto") by_name(scale_orders, unit.order, "order");
      } catch (const std::invalid_argument& error) {
        throw UsageError(fmt::format("{}: {}", where("accumulator"), error.what()));
      }
    return index_of(grid_.units, unit_known_, name, unit);
  }

  std::string where(std::string_view key) const {
    for (std::size_t a = 0; a < grid_.axes.size(); ++a)
      if (grid_.axes[a] == key) return wheres_[a];
    return spec_.file;
  }

  static bool flag(const std::string& text, const char* key) {
    if (text != "true" && text != "false") throw UsageError(fmt::format("{} '{}': wanted true or false", key, text));
    return text == "true";
  }

  const SweepSpec& spec_;
  std::uint64_t most_;
  Grid grid_;
  std::vector<std::string> wheres_;  ///< [axes]
  std::vector<char> applied_;        ///< [axes]
  std::vector<std::uint64_t> excluded_;
  std::map<std::string, std::size_t> recipe_known_, unit_known_, source_known_;
  std::map<std::pair<std::string, std::string>, bool> takes_;
  std::map<std::string, std::regex> expressions_;
  std::set<std::string> points_known_;
};

}  // namespace

Grid make_grid(const SweepSpec& spec, std::uint64_t most) { return Builder(spec, most).build(); }

std::string unit_name(const GemmRequest& unit) {
  std::string name = unit.accumulator;
  if (unit.promote != "auto") name += "+promote=" + unit.promote;
  if (unit.order != "auto") name += "+order=" + unit.order;
  if (unit.bf16_output) name += "+output=bfloat16";
  if (unit.split_k != 1) name += fmt::format("+split_k={}", unit.split_k);
  return name;
}

std::string source_name(const SourceSettings& settings) {
  std::string name;
  for (const auto& [key, value] : settings)
    if (value != fallback_of(key)) name += fmt::format("{}{}={}", name.empty() ? "" : ",", key, value);
  if (settings.contains("synthetic.rows")) return name.empty() ? "synthetic" : name;
  return name.empty() ? "trace" : name;
}

}  // namespace fp8scope
