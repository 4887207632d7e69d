#include "src/replay_plan.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "sim/names.hpp"
#include "sim/quantize.hpp"
#include "sim/recipes/history.hpp"
#include "src/errors.hpp"

namespace fp8scope {
namespace {

Role role_of(const ReplayInput& input, const TensorInfo& info) {
  for (const NamedRole& row : roles)
    if (row.operand == info.operand) return row.role;
  throw DataError(fmt::format("{}: tensor {}: operand '{}' has no role; known: x, w, dy", input.where,
                              info.name(), info.operand));
}

/// One amax for each step that a delayed recipe has to live through, and which of them are recorded.
struct Past {
  std::vector<float> amax;
  std::vector<std::int64_t> recorded;  ///< [recorded steps] index into amax
};

Past past_from_history(const ReplayInput& input, std::size_t tensor, std::int64_t slot) {
  const TensorInfo& info = input.tensors[tensor];
  const AmaxHistory& history = *input.history;
  Past past;
  for (std::size_t t = 0; t < history.step.size(); ++t)
    past.amax.push_back(history.at(t, static_cast<std::size_t>(slot)));
  for (std::int64_t s = 0; s < info.steps; ++s) {
    const std::int64_t t = history.find_step(input.steps[s]);
    if (t < 0)
      throw DataError(fmt::format("{}: step {} is recorded but missing in /history/step; record the "
                                  "amax of every step",
                                  input.where, input.steps[s]));
    past.recorded.push_back(t);
    if (input.recorded_amax) past.amax[t] = input.recorded_amax(tensor, s);
  }
  return past;
}

Past past_from_tensors(const ReplayInput& input, const ReplayOptions& options, std::size_t tensor) {
  const TensorInfo& info = input.tensors[tensor];
  const std::int64_t row_bytes = std::max<std::int64_t>(1, info.cols * 4);
  const std::int64_t rows =
      std::clamp<std::int64_t>(static_cast<std::int64_t>(options.max_memory / 4) / row_bytes, 1,
                               std::max<std::int64_t>(1, info.rows));
  std::vector<float> x(rows * info.cols);
  Past past;
  for (std::int64_t s = 0; s < info.steps; ++s) {
    float largest = 0.0f;
    for (std::int64_t r = 0; r < info.rows; r += rows) {
      const std::int64_t count = std::min(rows, info.rows - r);
      input.read_rows(tensor, s, r, count, x.data());
      const std::span panel(x.data(), count * info.cols);
      largest = std::max(largest, amax(AmaxRule::ignore_nan, panel));
    }
    past.amax.push_back(largest);
    past.recorded.push_back(s);
  }
  return past;
}

/// Share of the codes of a recorded step whose magnitude is that of MAX, under one scale.
float saturated_share(const ReplayInput& input, std::size_t tensor, std::size_t step, const Plan& plan, float scale) {
  const TensorInfo& info = input.tensors[tensor];
  const std::int64_t rows = std::clamp<std::int64_t>((std::int64_t{1} << 22) / info.cols, 1, info.rows);
  std::vector<float> x(static_cast<std::size_t>(rows * info.cols));
  std::uint64_t saturated = 0;
  for (std::int64_t first = 0; first < info.rows; first += rows) {
    const std::int64_t count = std::min(rows, info.rows - first);
    input.read_rows(tensor, step, first, count, x.data());
    for (std::int64_t i = 0; i < count * info.cols; ++i)
      saturated += (quantize_element(plan.format, x[static_cast<std::size_t>(i)], scale, plan.cast) &
                    plan.format.magnitude_mask()) == plan.format.max_code();
  }
  return static_cast<float>(static_cast<double>(saturated) / (static_cast<double>(info.rows) * static_cast<double>(info.cols)));
}

/// Steps a recipe with a memory through the past and notes what it would do at the recorded steps. FP8-LM's automatic
/// scaling needs the codes themselves: it sees those of recorded steps, and mu stays over the others.
void run_through(Recipe& recipe, const Past& past, std::size_t cast, const ReplayInput& input, std::size_t tensor,
                 std::vector<std::vector<TensorCast>>& casts) {
  auto* history = dynamic_cast<HistoryRecipe*>(&recipe);
  if (history && !history->wants_saturated_share()) history = nullptr;
  std::size_t next = 0;
  for (std::size_t t = 0; t < past.amax.size() && next < past.recorded.size(); ++t) {
    const std::int64_t age = recipe.amax_age();
    const float in_use = recipe.amax_in_use();
    const std::int64_t frozen = recipe.frozen_steps();
    Scales scales;
    recipe.step({&past.amax[t], 1}, {&scales, 1});
    if (past.recorded[next] != static_cast<std::int64_t>(t)) continue;
    if (history) history->take_saturated_share(saturated_share(input, tensor, next, recipe.plan(), scales.scale));
    TensorCast& step = casts[next++][cast];
    step.given = true;
    step.scales = scales;
    step.age = age;
    step.frozen = frozen;
    step.amax_in_use = in_use;
  }
}

}  // namespace

std::vector<GemmUse> uses_of(const TensorInfo& info, const std::string& which) {
  if (info.gemms.empty()) return {{"", 2}};
  if (which == "all") return info.gemms;
  if (which == "first") return {info.gemms.front()};
  std::vector<GemmUse> uses;
  std::ranges::copy_if(info.gemms, std::back_inserter(uses),
                       [&](const GemmUse& use) { return use.gemm == which; });
  return uses;
}

TensorPlan plan_tensor(const ReplayInput& input, const ReplayOptions& options, std::size_t tensor,
                       const TakeRefusal& refused) {
  const TensorInfo& info = input.tensors[tensor];
  if (info.rows == 0 || info.cols == 0)
    throw DataError(fmt::format("{}: tensor {} is empty", input.where, info.name()));
  TensorKind operand{role_of(input, info), info.format, Gemm::unknown};
  TensorPlan plan;
  std::vector<TensorCast> casts;
  for (const GemmUse& use : uses_of(info, options.gemms))
    for (std::size_t r = 0; r < options.recipes.size(); ++r) {
      const NamedGemm* gemm = find_by_name(gemm_uses, use.gemm);
      operand.gemm = gemm ? gemm->gemm : Gemm::unknown;
      auto recipe = make_recipe(options.recipes[r], operand);
      BlockShape block = recipe->plan().block;
      if (use.axis == 1) std::swap(block.rows, block.cols);
      try {
        CastPass::require_whole_blocks(
            recipe->plan(), block, info.rows, info.cols,
            fmt::format("{}: {}: recipe {}", input.where, info.name(), options.recipes[r]));
      } catch (const DataError& error) {
        if (!refused) throw;
        refused(tensor, r, use.gemm, error.what());
        continue;
      }
      const bool turned = use.axis == 1;
      plan.casts.push_back({r, use.gemm, recipe->plan(), block});
      casts.push_back({recipe->plan(), block, recipe->block_rule(), false, {}, 0, 0, 0.0f, 0, turned});
      plan.recipes.push_back(std::move(recipe));
    }
  plan.tensor_casts.assign(info.steps, casts);
  plan.whole_amax.assign(info.steps, -1.0f);

  const std::int64_t slot = input.history ? input.history->find_slot(info.name()) : -1;
  const bool sampled = info.row_sampling != "all";
  const bool has_memory =
      std::ranges::any_of(plan.recipes, [](const auto& recipe) { return !recipe->block_rule(); });
  if (!has_memory && !(sampled && slot >= 0)) return plan;
  const Past past = slot >= 0 ? past_from_history(input, tensor, slot)
                              : past_from_tensors(input, options, tensor);
  // Where only some rows were recorded, the history knows the amax of the whole operand.
  for (std::int64_t s = 0; sampled && slot >= 0 && s < info.steps; ++s)
    plan.whole_amax[s] = past.amax[past.recorded[s]];
  for (std::size_t c = 0; c < plan.recipes.size(); ++c)
    if (!plan.recipes[c]->block_rule()) run_through(*plan.recipes[c], past, c, input, tensor, plan.tensor_casts);
  return plan;
}

}  // namespace fp8scope
