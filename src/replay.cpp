#include "src/replay.hpp"

#include <fmt/format.h>
#include <tbb/global_control.h>
#include <tbb/parallel_pipeline.h>
#include <tbb/task_arena.h>

#include <algorithm>
#include <mutex>

#include "src/device_pass.hpp"
#include "src/errors.hpp"
#include "src/replay_plan.hpp"

namespace fp8scope {
namespace {

/// One tensor of one step on its way through the pipeline.
struct Job {
  std::size_t tensor, step;
  std::vector<float> x;  ///< the whole tensor, or empty if it is to be streamed
  std::unique_ptr<TensorFacts> facts;
  std::vector<CastResult> results;
  std::vector<CastTiles> tiles;
};

class Replay {
 public:
  Replay(const ReplayInput& input, const ReplayOptions& options) : input_(input), engine_(options.engine), tiles_(options.tiles) {
    for (std::size_t t = 0; t < input.tensors.size(); ++t) {
      plans_.push_back(plan_tensor(input, options, t));
      if (plans_[t].casts.empty()) continue;
      for (std::int64_t s = 0; s < input.tensors[t].steps; ++s)
        items_.push_back({t, static_cast<std::size_t>(s)});
    }
    std::uint64_t largest = 1;
    for (const TensorInfo& info : input.tensors) largest = std::max(largest, bytes_of(info));
    const auto threads = static_cast<std::uint64_t>(options.threads);
    in_flight_ = std::clamp<std::uint64_t>(options.max_memory / largest, 2, threads + 1);
    whole_limit_ = options.max_memory / in_flight_;
  }

  void run(const std::function<void(const ReplayItem&)>& take) {
    std::size_t next = 0;
    const auto read = [&](tbb::flow_control& control) -> Job* {
      if (next == items_.size()) {
        control.stop();
        return nullptr;
      }
      return start(items_[next++]);
    };
    const auto measure = [&](Job* job) {
      measure_job(*job);
      return job;
    };
    const auto finish = [&](Job* pointer) {
      const std::unique_ptr<Job> job(pointer);
      take({job->tensor, job->step, job->facts.get(), plans_[job->tensor].casts, job->results,
            job->tiles});
    };
    using Mode = tbb::filter_mode;
    tbb::parallel_pipeline(in_flight_, tbb::make_filter<void, Job*>(Mode::serial_in_order, read) &
                                           tbb::make_filter<Job*, Job*>(Mode::parallel, measure) &
                                           tbb::make_filter<Job*, void>(Mode::serial_in_order, finish));
  }

 private:
  struct Item {
    std::size_t tensor, step;
  };

  static std::uint64_t bytes_of(const TensorInfo& info) {
    return static_cast<std::uint64_t>(info.rows) * static_cast<std::uint64_t>(info.cols) * 4;
  }

  Job* start(const Item& item) {
    auto job = std::make_unique<Job>(Job{item.tensor, item.step, {}, nullptr, {}, {}});
    const TensorInfo& info = input_.tensors[item.tensor];
    if (bytes_of(info) <= whole_limit_) {
      job->x.resize(static_cast<std::size_t>(info.rows * info.cols));
      read(*job, 0, info.rows, job->x.data());
    }
    return job.release();
  }

  void read(const Job& job, std::int64_t first, std::int64_t count, float* out) {
    const std::lock_guard lock(reading_);
    input_.read_rows(job.tensor, job.step, first, count, out);
  }

  /// Calls visit(first, count, x) for every panel of the tensor, in order.
  void for_each_panel(const Job& job, std::int64_t step, const auto& visit) {
    const TensorInfo& info = input_.tensors[job.tensor];
    if (!job.x.empty()) return visit(std::int64_t{0}, info.rows, job.x.data());
    const auto budget = static_cast<std::int64_t>(whole_limit_) / std::max<std::int64_t>(4, info.cols * 4);
    if (budget < step)
      throw UsageError(fmt::format("{}: {} needs panels of {} rows, {} MiB: raise --max-mem", input_.where,
                                   info.name(), step, (step * info.cols * 8 >> 20) + 1));
    const std::int64_t rows = budget / step * step;
    std::vector<float> x(static_cast<std::size_t>(std::min(rows, info.rows) * info.cols));
    for (std::int64_t first = 0; first < info.rows; first += rows) {
      const std::int64_t count = std::min(rows, info.rows - first);
      read(job, first, count, x.data());
      visit(first, count, x.data());
    }
  }

  /// What the device knows it measures, the rest this CPU: the results are the same.
  void measure_job(Job& job) {
    const std::vector<TensorCast>& casts = plans_[job.tensor].tensor_casts[job.step];
    const auto on_device = [&](const TensorCast& cast) { return engine_ && !tiles_ && DevicePass::knows(cast); };
    std::vector<TensorCast> theirs, ours;
    for (const TensorCast& cast : casts) (on_device(cast) ? theirs : ours).push_back(cast);
    std::vector<CastResult> their_results, our_results;
    if (!theirs.empty()) their_results = measure_on_device(job, theirs);
    if (!ours.empty()) our_results = measure_here(job, ours);
    std::size_t their = 0, our = 0;
    for (const TensorCast& cast : casts)
      job.results.push_back(on_device(cast) ? their_results[their++] : our_results[our++]);
    job.x = {};
  }

  std::vector<CastResult> measure_here(Job& job, const std::vector<TensorCast>& casts) {
    const TensorInfo& info = input_.tensors[job.tensor];
    const TensorPlan& plan = plans_[job.tensor];
    const std::int64_t step = CastPass::panel_rows(casts);
    job.facts = std::make_unique<TensorFacts>(info.rows, info.cols, plan.by_column);
    for_each_panel(job, step, [&](std::int64_t first, std::int64_t count, const float* x) {
      job.facts->add(first, count, x);
    });
    job.facts->finish();
    CastPass pass(*job.facts, casts, plan.whole_amax[job.step], tiles_);
    if (pass.needs_preparation())
      for_each_panel(job, step, [&](std::int64_t first, std::int64_t count, const float* x) {
        pass.prepare(first, count, x);
      });
    for_each_panel(job, step, [&](std::int64_t first, std::int64_t count, const float* x) {
      pass.add(first, count, x);
    });
    std::vector<CastResult> results = pass.finish();
    job.tiles = pass.finish_tiles();
    return results;
  }

  std::vector<CastResult> measure_on_device(Job& job, const std::vector<TensorCast>& casts) {
    const TensorInfo& info = input_.tensors[job.tensor];
    DevicePass pass(*engine_, info.rows, info.cols);
    for_each_panel(job, 1, [&](std::int64_t first, std::int64_t count, const float* x) { pass.upload(first, count, x); });
    job.facts = std::make_unique<TensorFacts>(pass.facts());
    return pass.measure(*job.facts, casts, plans_[job.tensor].whole_amax[job.step]);
  }

  const ReplayInput& input_;
  cuda::Engine* engine_;
  std::optional<TileRequest> tiles_;
  std::vector<TensorPlan> plans_;
  std::vector<Item> items_;
  std::uint64_t in_flight_ = 2, whole_limit_ = 0;
  std::mutex reading_;
};

}  // namespace

ReplayInput replay_input(const Trace& trace) {
  return {trace.path(), trace.tensors(), trace.steps(), &trace.history(),
          [&trace](std::size_t tensor, std::size_t step, std::int64_t first, std::int64_t count,
                   float* out) { trace.read_rows(tensor, step, first, count, out); }};
}

void replay(const ReplayInput& input, const ReplayOptions& options,
            const std::function<void(const ReplayItem&)>& take) {
  Replay work(input, options);
  // The limit must cover the arena too: TBB would else lend a small machine's only worker.
  const tbb::global_control limit(tbb::global_control::max_allowed_parallelism,
                                  static_cast<std::size_t>(options.threads));
  tbb::task_arena arena(options.threads);
  arena.execute([&] { work.run(take); });
}

}  // namespace fp8scope
