#include "src/sweep/estimate.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <nlohmann/json.hpp>

#include "src/gemm_replay.hpp"
#include "src/replay_plan.hpp"
#include "src/sweep/meter.hpp"

namespace fp8scope {
namespace {

constexpr std::int64_t most_elements = 1 << 20;  ///< of a tensor that the rate is measured on
constexpr std::int64_t most_rows = 64;           ///< of operands that the rate of products is measured on
constexpr std::size_t shown_points = 3;

/// The first rows of some tensors of a source at its first selected step.
struct Sample {
  std::vector<TensorInfo> tensors;
  std::vector<std::int64_t> steps;
  ReplayInput input;

  Sample(const ReplayInput& whole, std::vector<std::size_t> which, std::size_t step, std::int64_t rows_of_each) {
    steps = {whole.steps[step]};
    for (const std::size_t t : which) {
      tensors.push_back(whole.tensors[t]);
      TensorInfo& info = tensors.back();
      info.rows = std::min(info.rows, rows_of_each), info.steps = 1;
    }
    input = {whole.where, tensors, steps, nullptr,
             [&whole, which, step](std::size_t t, std::size_t, std::int64_t first, std::int64_t count, float* out) {
               whole.read_rows(which[t], whole.tensors[which[t]].constant ? 0 : step, first, count, out);
             },
             {}};
  }
};

double seconds_of(const auto& work) {
  const auto begin = std::chrono::steady_clock::now();
  work();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

/// Element-casts a second under the first batch of recipes.
double measure_casts(const SweepPlan& plan, const ReplayInput& input, const EngineOptions& options) {
  const CastGroup& group = plan.casts().front();
  const TensorInfo& info = input.tensors[0];
  const Sample sample(input, {0}, plan.layout(group.source).step_at(0, 0), std::max<std::int64_t>(1, most_elements / info.cols));
  ReplayOptions replay;
  for (std::size_t r = 0; r < std::min(group.recipes.size(), SweepPlan::recipes_per_batch); ++r)
    replay.recipes.push_back(plan.grid().recipes[group.recipes[r]]);
  replay.gemms = "first", replay.threads = options.threads, replay.max_memory = options.max_memory;
  ReplayControl control;
  std::uint64_t casts = 0;
  control.wanted = [](std::size_t, std::size_t, std::size_t) { return true; };
  control.measured = [&](const ReplayItem& item, std::size_t) { casts += item.casts.size(); };
  control.refused = [](std::size_t, std::size_t, const std::string&, const std::string&) {};
  control.unreadable = [](std::size_t, std::size_t, const std::string&) {};
  replay_batches(sample.input, replay, control);  // fills tables and caches
  double seconds = 1e9;
  for (int round = 0; round < 3; ++round) {
    casts = 0;
    seconds = std::min(seconds, seconds_of([&] { replay_batches(sample.input, replay, control); }));
  }
  return static_cast<double>(casts) * static_cast<double>(sample.tensors[0].rows * sample.tensors[0].cols) / seconds;
}

/// Products a second on the first recipe and its units; 0 if there is no product to be shortened.
double measure_products(const SweepPlan& plan, const ReplayInput& input, const EngineOptions& options) {
  const GemmGroup& group = plan.gemms().front();
  const Layout& layout = plan.layout(group.source);
  const auto pair = std::ranges::find(layout.pairs, "fprop", &GemmPair::gemm);
  if (pair == layout.pairs.end()) return 0.0;
  const Sample sample(input, {pair->a, pair->b}, layout.steps.front(), most_rows);
  ReplayOptions replay;
  replay.recipes = {plan.grid().recipes[group.recipes.front()]};
  replay.threads = options.threads;
  GemmControl control;
  control.finished = [](std::size_t, std::size_t, std::size_t, const std::string&) {};
  control.wanted = [&](std::size_t, std::size_t, std::size_t) { return group.units.front(); };
  double products = 0.0;
  const auto take = [&](const GemmRecord& r) { products += static_cast<double>(r.m) * static_cast<double>(r.n) * static_cast<double>(r.k); };
  const double seconds = seconds_of([&] { replay_gemm_parts(sample.input, replay, plan.grid().units, take, control); });
  return products / seconds;
}

std::string bytes_text(std::uint64_t bytes) {
  const char* units[] = {"B", "KiB", "MiB", "GiB", "TiB"};
  double value = static_cast<double>(bytes);
  std::size_t unit = 0;
  while (value >= 1024.0 && unit + 1 < std::size(units)) value /= 1024.0, ++unit;
  return fmt::format("{:.{}f} {}", value, unit == 0 ? 0 : 1, units[unit]);
}

std::string point_text(const Grid& grid, std::size_t number) {
  std::string text;
  for (std::size_t a = 0; a < grid.axes.size(); ++a)
    if (!grid.points[number].values[a].empty()) text += fmt::format(" {}={}", grid.axes[a], grid.points[number].values[a]);
  return text;
}

}  // namespace

Estimate estimate(const SweepPlan& plan, const Trace* trace, const EngineOptions& options) {
  Estimate e;
  e.points = plan.grid().points.size();
  e.items = plan.items();
  std::uint64_t largest = 0, cast_rows = 0, gemm_rows = 0;
  double casts = 0.0, products = 0.0;
  const Work work(plan, {});
  for (const CastGroup& group : plan.casts()) {
    const Layout& layout = plan.layout(group.source);
    e.tensors = std::max<std::uint64_t>(e.tensors, layout.catalog.tensors.size());
    e.tensor_steps += layout.tensor_first.back();
    for (std::size_t t = 0; t < layout.catalog.tensors.size(); ++t) {
      const TensorInfo& info = layout.catalog.tensors[t];
      const auto elements = static_cast<std::uint64_t>(info.rows * info.cols), steps = static_cast<std::uint64_t>(layout.steps_of(t));
      const std::uint64_t uses = uses_of(info, group.gemms).size();
      largest = std::max(largest, elements * 4);
      if (trace) e.bytes_read += elements * steps * (info.dtype == "float32" ? 4 : info.dtype.starts_with("float8") ? 1 : 2);
      cast_rows += uses * group.recipes.size() * steps;
      casts += static_cast<double>(elements) * static_cast<double>(uses * group.recipes.size() * steps);
    }
  }
  for (const GemmGroup& group : plan.gemms()) {
    const Layout& layout = plan.layout(group.source);
    for (std::size_t p = 0; p < layout.pairs.size(); ++p)
      for (std::size_t r = 0; r < group.recipes.size(); ++r) {
        const auto steps = static_cast<double>(layout.steps_of(layout.pairs[p].a));
        gemm_rows += group.units[r].size() * layout.steps_of(layout.pairs[p].a);
        products += steps * work.gemm_cost(group, p, r) / 16.0;
      }
  }
  e.rows = cast_rows + gemm_rows;
  const std::uint64_t cast_bytes = 8 * (statistics().size() + counts().size());
  e.journal_bytes = e.items * 32 + cast_rows * (cast_bytes + 6) + e.tensor_steps * exponent_bins * 8 + gemm_rows * 125;
  e.result_bytes = cast_rows * (cast_bytes + 56) + e.tensor_steps * (exponent_bins + 2) * 8 + gemm_rows * 200;
  const auto threads = static_cast<std::uint64_t>(options.threads);
  e.memory = std::min(options.max_memory, std::max(largest * std::min<std::uint64_t>(threads + 1, 2 + e.tensor_steps), largest_product_bytes(plan))) +
             e.items * 33 + (std::uint64_t{64} << 20);
  const Source source(plan.grid().sources.front(), plan.layout(0).catalog, trace);
  const ReplayInput input = source.input();
  e.casts_per_second = measure_casts(plan, input, options);
  e.seconds = casts / e.casts_per_second;
  if (products > 0.0) {
    e.products_per_second = measure_products(plan, input, options);
    e.seconds += products / e.products_per_second;
    if (e.products_per_second == 0.0) e.seconds = NAN;
  }
  return e;
}

std::string estimate_text(const SweepPlan& plan, const Estimate& e, bool json) {
  const Grid& grid = plan.grid();
  if (json)
    return nlohmann::ordered_json{{"schema", "fp8scope-dry-run-1"}, {"points", e.points}, {"tensors", e.tensors},
                                  {"tensor_steps", e.tensor_steps}, {"items", e.items}, {"rows", e.rows},
                                  {"bytes_read", e.bytes_read}, {"journal_bytes", e.journal_bytes},
                                  {"result_bytes", e.result_bytes}, {"memory", e.memory},
                                  {"casts_per_second", e.casts_per_second}, {"products_per_second", e.products_per_second},
                                  {"seconds", std::isfinite(e.seconds) ? nlohmann::ordered_json(e.seconds) : nlohmann::ordered_json()}}
               .dump() + "\n";
  std::string text;
  const auto line = [&](const char* name, const std::string& value) { text += fmt::format("{:14} {}\n", name, value); };
  line("points", fmt::format("{} ({} recipes, {} units, {} sources)", e.points, grid.recipes.size(), grid.units.size(), grid.sources.size()));
  line("tensors", fmt::format("{}, {} with their steps and sources", e.tensors, e.tensor_steps));
  line("items", fmt::format("{} records of a journal, {} rows of results", e.items, e.rows));
  line("reads", bytes_text(e.bytes_read));
  line("writes", fmt::format("{} of journals, at most {} of results", bytes_text(e.journal_bytes), bytes_text(e.result_bytes)));
  line("memory", fmt::format("about {}", bytes_text(e.memory)));
  line("time", fmt::format("{} (at {:.3g} G element-casts/s{}, measured just now on a part of the first tensors)",
                           clock_text(e.seconds), e.casts_per_second / 1e9,
                           e.products_per_second > 0.0 ? fmt::format(" and {:.3g} G products/s", e.products_per_second / 1e9) : ""));
  const std::size_t count = grid.points.size(), head = std::min(count, shown_points);
  for (std::size_t p = 0; p < head; ++p) line(fmt::format("point {}", p).c_str(), point_text(grid, p));
  if (count > 2 * shown_points) text += "...\n";
  for (std::size_t p = std::max(head, count > shown_points ? count - shown_points : 0); p < count; ++p)
    line(fmt::format("point {}", p).c_str(), point_text(grid, p));
  return text;
}

}  // namespace fp8scope
