#include "src/sweep/engine.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <limits>
#include <map>

#include "src/errors.hpp"
#include "src/gemm_replay.hpp"
#include "src/replay_plan.hpp"
#include "src/sweep/stop.hpp"

namespace fp8scope {
namespace {

bool stopping() { return stop_signal() != 0; }

/// The journal, for many threads.
class Recorder {
 public:
  Recorder(JournalWriter& journal, SweepMeter& meter, double sync_seconds)
      : journal_(journal), meter_(meter), sync_seconds_(sync_seconds) {}

  void record(std::uint64_t item, const std::string& payload, double cost) {
    const std::lock_guard lock(mutex_);
    journal_.append(item, payload);
    const auto now = std::chrono::steady_clock::now();
    if (std::chrono::duration<double>(now - synced_).count() >= sync_seconds_) journal_.sync(), synced_ = now;
    meter_.finished(item, cost);
  }

 private:
  JournalWriter& journal_;
  SweepMeter& meter_;
  double sync_seconds_;
  std::chrono::steady_clock::time_point synced_ = std::chrono::steady_clock::now();
  std::mutex mutex_;
};

MeasuredCast unmeasured(std::size_t recipe, const std::string& gemm) {
  return {0, 0, static_cast<std::int64_t>(recipe), gemm_id(gemm),
          std::vector<double>(statistics().size(), std::numeric_limits<double>::quiet_NaN()),
          std::vector<std::uint64_t>(counts().size(), 0)};
}

/// The casts of one group.
class CastRun {
 public:
  CastRun(const SweepPlan& plan, const Work& work, const CastGroup& group, const ReplayInput& input,
          const EngineOptions& options, Recorder& recorder, SweepMeter& meter)
      : plan_(plan), work_(work), group_(group), input_(input), recorder_(recorder), meter_(meter) {
    for (const std::size_t recipe : group.recipes) options_.recipes.push_back(plan.grid().recipes[recipe]);
    options_.gemms = group.gemms;
    options_.threads = options.threads;
    options_.max_memory = options.max_memory;
  }

  void run() {
    ReplayControl control;
    control.recipes_per_batch = SweepPlan::recipes_per_batch;
    control.stop = stopping;
    control.wanted = [this](std::size_t tensor, std::size_t step, std::size_t batch) {
      const bool wanted = is_wanted(tensor, step, batch);
      if (wanted) meter_.at(name_of(tensor, step));
      return wanted;
    };
    control.measured = [this](const ReplayItem& item, std::size_t batch) { take(item, batch); };
    control.refused = [this](std::size_t tensor, std::size_t recipe, const std::string& gemm, const std::string& why) {
      const std::lock_guard lock(mutex_);
      refused_[tensor].push_back({recipe, gemm, why});
    };
    control.unreadable = [this](std::size_t tensor, std::size_t step, const std::string& why) { fail(tensor, step, why); };
    replay_batches(input_, options_, control);
  }

 private:
  struct Refusal {
    std::size_t recipe;
    std::string gemm, why;
  };

  std::string name_of(std::size_t tensor, std::size_t step) const {
    return fmt::format("{} step {}", input_.tensors[tensor].name(), input_.steps[step]);
  }

  bool is_wanted(std::size_t tensor, std::size_t step, std::size_t batch) const {
    const auto item = plan_.cast_item(group_, tensor, step, batch);
    if (!item) return false;
    const Layout& layout = plan_.layout(group_.source);
    const auto place = static_cast<std::uint64_t>(layout.place_of(tensor, step));
    return work_.is_wanted(*item, layout.tensor_first[tensor] + place);
  }

  void take(const ReplayItem& item, std::size_t batch) {
    CastRecord record;
    const bool finite = item.facts->moments().finite > 0;
    for (std::size_t c = 0; c < item.casts.size(); ++c) {
      MeasuredCast cast = cast_row(item, c, 0, 0);
      cast.recipe = static_cast<std::int64_t>(group_.recipes[item.casts[c].recipe]);
      record.rows.push_back({std::move(cast), finite ? RowStatus::ok : RowStatus::failed});
    }
    if (!finite) record.why = fmt::format("{} holds no finite number", name_of(item.tensor, item.step));
    {
      const std::lock_guard lock(mutex_);
      for (const Refusal& refusal : refused_[item.tensor]) {
        if (refusal.recipe / SweepPlan::recipes_per_batch != batch) continue;
        record.rows.push_back({unmeasured(group_.recipes[refusal.recipe], refusal.gemm), RowStatus::skipped});
        if (record.why.empty()) record.why = refusal.why;
      }
    }
    if (batch == 0) record.exponents.assign(item.facts->exponents().begin(), item.facts->exponents().end());
    write(item.tensor, item.step, batch, record);
  }

  void fail(std::size_t tensor, std::size_t step, const std::string& why) {
    for (std::size_t batch = 0; batch < SweepPlan::batches(group_); ++batch) {
      if (!is_wanted(tensor, step, batch)) continue;
      CastRecord record;
      const std::size_t first = batch * SweepPlan::recipes_per_batch;
      const std::size_t last = std::min(first + SweepPlan::recipes_per_batch, group_.recipes.size());
      for (const GemmUse& use : uses_of(input_.tensors[tensor], group_.gemms))
        for (std::size_t r = first; r < last; ++r)
          record.rows.push_back({unmeasured(group_.recipes[r], use.gemm), RowStatus::failed});
      record.why = why;
      write(tensor, step, batch, record);
    }
  }

  void write(std::size_t tensor, std::size_t step, std::size_t batch, const CastRecord& record) {
    recorder_.record(*plan_.cast_item(group_, tensor, step, batch), encode_record(record), work_.cast_cost(group_, tensor, batch));
  }

  const SweepPlan& plan_;
  const Work& work_;
  const CastGroup& group_;
  const ReplayInput& input_;
  Recorder& recorder_;
  SweepMeter& meter_;
  ReplayOptions options_;
  std::mutex mutex_;
  std::map<std::size_t, std::vector<Refusal>> refused_;  ///< by tensor
};

/// The products of one group.
void run_products(const SweepPlan& plan, const Work& work, const GemmGroup& group, const ReplayInput& input,
                  const EngineOptions& options, Recorder& recorder, SweepMeter& meter) {
  const Layout& layout = plan.layout(group.source);
  ReplayOptions replay;
  for (const std::size_t recipe : group.recipes) replay.recipes.push_back(plan.grid().recipes[recipe]);
  replay.requantise = group.requantise;
  replay.threads = options.threads;
  replay.max_memory = options.max_memory;
  ProductRecord record;
  GemmControl control;
  control.stop = stopping;
  control.wanted = [&](std::size_t pair, std::size_t step, std::size_t recipe) -> std::vector<std::size_t> {
    const auto item = plan.gemm_item(group, pair, step, recipe);
    if (!item) return {};
    const auto place = static_cast<std::uint64_t>(layout.place_of(layout.pairs[pair].a, step));
    if (!work.is_wanted(*item, layout.pair_first[pair] + place)) return {};
    meter.at(fmt::format("{} {} step {}", layout.pairs[pair].gemm, input.tensors[layout.pairs[pair].a].layer, input.steps[step]));
    return group.units[recipe];
  };
  const auto take = [&](const GemmRecord& product) {
    record.rows.push_back({static_cast<std::int64_t>(product.request), product.m, product.n, product.k, product.promote,
                           RowStatus::ok, product.error});
  };
  control.finished = [&](std::size_t pair, std::size_t step, std::size_t recipe, const std::string& why) {
    for (const std::size_t unit : group.units[recipe]) {
      if (std::ranges::find(record.rows, static_cast<std::int64_t>(unit), &ProductRecord::Row::unit) != record.rows.end()) continue;
      ProductRecord::Row row{static_cast<std::int64_t>(unit), 0, 0, 0, 0, RowStatus::skipped, {}};
      GemmError& e = row.error;
      for (double* value : {&e.total, &e.from_a, &e.from_b, &e.from_accumulator, &e.from_output, &e.max, &e.p50, &e.p99, &e.p999, &e.bias})
        *value = std::numeric_limits<double>::quiet_NaN();
      record.rows.push_back(row);
    }
    record.why = why;
    recorder.record(*plan.gemm_item(group, pair, step, recipe), encode_record(record), work.gemm_cost(group, pair, recipe));
    record = {};
  };
  replay_gemm_parts(input, replay, plan.grid().units, take, control);
}

}  // namespace

Work::Work(const SweepPlan& plan, const Shard& shard) : plan_(plan), shard_(shard), done_(plan.items(), 0) {
  std::uint64_t tensor_steps = ~std::uint64_t{0};
  for (const CastGroup& group : plan.casts()) tensor_steps = std::min(tensor_steps, plan.layout(group.source).tensor_first.back());
  by_tensor_ = tensor_steps >= 8 * shard.count;
}

double Work::cast_cost(const CastGroup& group, std::size_t tensor, std::size_t batch) const {
  const TensorInfo& info = plan_.layout(group.source).catalog.tensors[tensor];
  const std::size_t first = batch * SweepPlan::recipes_per_batch;
  const std::size_t count = std::min(SweepPlan::recipes_per_batch, group.recipes.size() - first);
  return static_cast<double>(info.rows) * static_cast<double>(info.cols) * static_cast<double>(count);
}

double Work::gemm_cost(const GemmGroup& group, std::size_t pair, std::size_t recipe) const {
  const Layout& layout = plan_.layout(group.source);
  const GemmPair& p = layout.pairs[pair];
  const TensorInfo &a = layout.catalog.tensors[p.a], &b = layout.catalog.tensors[p.b];
  const double shared = p.gemm == "fprop" ? static_cast<double>(a.cols) : p.gemm == "dgrad" ? static_cast<double>(a.cols) : static_cast<double>(a.rows);
  return 16.0 * static_cast<double>(a.rows) * static_cast<double>(a.cols) / shared * static_cast<double>(b.rows) *
         static_cast<double>(b.cols) * static_cast<double>(group.units[recipe].size());
}

Work::Total Work::total() const {
  Total total;
  const auto add = [&](std::uint64_t item, std::uint64_t tensor_step, double cost) {
    if ((by_tensor_ ? tensor_step : item) % shard_.count != shard_.index) return;
    ++total.items, total.cost += cost;
    if (done_[item]) ++total.done, total.cost_done += cost;
  };
  for (const CastGroup& group : plan_.casts()) {
    const Layout& layout = plan_.layout(group.source);
    for (std::size_t t = 0; t < layout.catalog.tensors.size(); ++t)
      for (std::uint64_t unit = layout.tensor_first[t]; unit < layout.tensor_first[t + 1]; ++unit)
        for (std::size_t b = 0; b < SweepPlan::batches(group); ++b)
          add(group.first + unit * SweepPlan::batches(group) + b, unit, cast_cost(group, t, b));
  }
  for (const GemmGroup& group : plan_.gemms()) {
    const Layout& layout = plan_.layout(group.source);
    for (std::size_t p = 0; p < layout.pairs.size(); ++p)
      for (std::uint64_t unit = layout.pair_first[p]; unit < layout.pair_first[p + 1]; ++unit)
        for (std::size_t r = 0; r < group.recipes.size(); ++r)
          add(group.first + unit * group.recipes.size() + r, unit, gemm_cost(group, p, r));
  }
  return total;
}

std::uint64_t largest_product_bytes(const SweepPlan& plan) {
  std::uint64_t largest = 0;
  for (const GemmGroup& group : plan.gemms()) {
    const Layout& layout = plan.layout(group.source);
    for (const GemmPair& pair : layout.pairs) {
      const TensorInfo &a = layout.catalog.tensors[pair.a], &b = layout.catalog.tensors[pair.b];
      const auto operands = static_cast<std::uint64_t>(a.rows * a.cols + b.rows * b.cols);
      const std::uint64_t result = pair.gemm == "wgrad"   ? static_cast<std::uint64_t>(a.cols * b.cols)
                                   : pair.gemm == "dgrad" ? static_cast<std::uint64_t>(a.rows * b.cols)
                                                          : static_cast<std::uint64_t>(a.rows * b.rows);
      // binary32, codes and decoded values of the operands; D, P and their differences
      largest = std::max(largest, operands * 18 + result * 24);
    }
  }
  return largest;
}

void run_items(const SweepPlan& plan, const Work& work, const Trace* trace, const EngineOptions& options,
               JournalWriter& journal, SweepMeter& meter) {
  if (const std::uint64_t need = largest_product_bytes(plan); need > options.max_memory)
    throw UsageError(fmt::format("the largest product needs {} MiB: raise --max-mem, or select fewer tensors", (need >> 20) + 1));
  Recorder recorder(journal, meter, options.sync_seconds);
  for (const CastGroup& group : plan.casts()) {
    if (stopping()) break;
    const Source source(plan.grid().sources[group.source], plan.layout(group.source).catalog, trace);
    const ReplayInput input = source.input();
    CastRun(plan, work, group, input, options, recorder, meter).run();
  }
  for (const GemmGroup& group : plan.gemms()) {
    if (stopping()) break;
    const Source source(plan.grid().sources[group.source], plan.layout(group.source).catalog, trace);
    const ReplayInput input = source.input();
    run_products(plan, work, group, input, options, recorder, meter);
  }
  journal.sync();
}

}  // namespace fp8scope
