#include "src/replay.hpp"

#include <fmt/format.h>
#include <tbb/global_control.h>
#include <tbb/parallel_for.h>
#include <tbb/parallel_pipeline.h>
#include <tbb/task_arena.h>

#include <algorithm>
#include <atomic>
#include <deque>
#include <exception>
#include <mutex>
#include <numeric>

#include "src/device_pass.hpp"
#include "src/errors.hpp"
#include "src/large_array.hpp"
#include "src/replay_plan.hpp"

namespace fp8scope {
namespace {

/// Some casts of a tensor that are measured together.
struct Batch {
  std::size_t number;
  std::vector<ReplayCast> casts;
  std::vector<TensorCast> tensor_casts;  ///< those that this CPU measures
  std::vector<std::size_t> places;       ///< of them in results
  std::vector<CastResult> results;       ///< [casts]
  std::vector<CastTiles> tiles;
};

/// One tensor of one step on its way through the pipeline.
struct Job {
  std::size_t tensor, step;
  LargeArray<float> x;  ///< the whole tensor, or empty if it is to be streamed
  std::unique_ptr<TensorFacts> facts;
  std::shared_ptr<const TensorPlan> plan;
  std::vector<Batch> batches;
  std::string unreadable;  ///< why, if so
};

class Replay {
 public:
  Replay(const ReplayInput& input, const ReplayOptions& options, const ReplayControl& control)
      : input_(input), options_(options), control_(control) {
    for (std::size_t t = 0; t < input.tensors.size(); ++t)
      for (std::int64_t s = 0; s < input.tensors[t].steps; ++s)
        items_.push_back({t, static_cast<std::size_t>(s)});
    std::uint64_t largest = 1;
    for (const TensorInfo& info : input.tensors) largest = std::max(largest, bytes_of(info));
    const auto threads = static_cast<std::uint64_t>(options.threads);
    in_flight_ = std::clamp<std::uint64_t>(options.max_memory / largest, 2, threads + 1);
    whole_limit_ = options.max_memory / in_flight_;
    plans_.resize(input.tensors.size());
  }

  /// Decides every cast before the first is made, so that what cannot be done is said at once.
  void plan_all() {
    for (std::size_t t = 0; t < plans_.size(); ++t) plan(t);
  }

  void run(const std::function<void(const ReplayItem&)>& take) {
    std::size_t next = 0;
    const auto read = [&](tbb::flow_control& control) -> Job* {
      Job* job = nullptr;
      guarded([&] {
        while (!job && next < items_.size() && !failed_ && !(control_.stop && control_.stop())) job = start(items_[next++]);
      });
      if (!job) control.stop();
      return job;
    };
    const auto measure = [&](Job* job) {
      guarded([&] {
        try {
          if (job->unreadable.empty()) measure_job(*job);
        } catch (const DataError& error) {
          if (!control_.unreadable) throw;
          job->unreadable = error.what();
        }
      });
      job->x = {};
      return job;
    };
    const auto finish = [&](Job* pointer) {
      const std::unique_ptr<Job> job(pointer);
      if (failed_) return;
      guarded([&] {
        if (!job->unreadable.empty()) return control_.unreadable(job->tensor, job->step, job->unreadable);
        if (!take) return;
        for (const Batch& batch : job->batches) take(item_of(*job, batch));
      });
    };
    using Mode = tbb::filter_mode;
    tbb::parallel_pipeline(in_flight_, tbb::make_filter<void, Job*>(Mode::serial_in_order, read) &
                                           tbb::make_filter<Job*, Job*>(Mode::parallel, measure) &
                                           tbb::make_filter<Job*, void>(Mode::serial_in_order, finish));
    if (error_) std::rethrow_exception(error_);
  }

 private:
  struct Item {
    std::size_t tensor, step;
  };

  /// No exception may reach TBB: it would cancel the loops inside other tensors, which then end early
  /// without a word, and half-measured results would be taken.
  void guarded(const auto& work) {
    try {
      work();
    } catch (...) {
      const std::lock_guard lock(failing_);
      if (!error_) error_ = std::current_exception();
      failed_ = true;
    }
  }

  static std::uint64_t bytes_of(const TensorInfo& info) {
    return static_cast<std::uint64_t>(info.rows) * static_cast<std::uint64_t>(info.cols) * 4;
  }

  static ReplayItem item_of(const Job& job, const Batch& batch) {
    return {job.tensor, job.step, job.facts.get(), batch.casts, batch.results, batch.tiles};
  }

  /// Plans are kept while the steps of their tensor pass, or from plan_all() on.
  std::shared_ptr<const TensorPlan> plan(std::size_t tensor) {
    if (plans_[tensor]) return plans_[tensor];
    if (tensor > 0 && control_.wanted) plans_[tensor - 1] = nullptr;
    const std::lock_guard lock(reading_);  // a plan may have to read the tensor
    return plans_[tensor] = std::make_shared<const TensorPlan>(plan_tensor(input_, options_, tensor, control_.refused));
  }

  std::vector<std::size_t> wanted_batches(const Item& item) const {
    if (!control_.wanted) return {0};
    std::vector<std::size_t> numbers;
    for (std::size_t b = 0; b * control_.recipes_per_batch < options_.recipes.size(); ++b)
      if (control_.wanted(item.tensor, item.step, b)) numbers.push_back(b);
    return numbers;
  }

  /// nullptr if there is nothing to measure.
  Job* start(const Item& item) {
    const std::vector<std::size_t> numbers = wanted_batches(item);
    if (numbers.empty()) return nullptr;
    auto job = std::make_unique<Job>();
    job->tensor = item.tensor, job->step = item.step;
    try {
      job->plan = plan(item.tensor);
      for (const std::size_t number : numbers) job->batches.push_back(batch_of(*job->plan, item.step, number));
      if (!control_.wanted && job->batches[0].casts.empty()) return nullptr;
      const TensorInfo& info = input_.tensors[item.tensor];
      if (bytes_of(info) <= whole_limit_) {
        job->x.resize(static_cast<std::size_t>(info.rows * info.cols));
        read(*job, 0, info.rows, job->x.data());
      }
    } catch (const DataError& error) {
      if (!control_.unreadable) throw;
      job->unreadable = error.what();
    }
    return job.release();
  }

  Batch batch_of(const TensorPlan& plan, std::size_t step, std::size_t number) const {
    Batch batch{number, {}, {}, {}, {}, {}};
    for (std::size_t c = 0; c < plan.casts.size(); ++c) {
      if (control_.wanted && plan.casts[c].recipe / control_.recipes_per_batch != number) continue;
      batch.casts.push_back(plan.casts[c]);
      batch.tensor_casts.push_back(plan.tensor_casts[step][c]);
      batch.places.push_back(batch.places.size());
    }
    batch.results.resize(batch.casts.size());
    return batch;
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
    LargeArray<float> x(static_cast<std::size_t>(std::min(rows, info.rows) * info.cols));
    for (std::int64_t first = 0; first < info.rows; first += rows) {
      const std::int64_t count = std::min(rows, info.rows - first);
      read(job, first, count, x.data());
      visit(first, count, x.data());
    }
  }

  /// What a device knows it measures, the rest this CPU: the results are the same.
  void measure_job(Job& job) {
    if (options_.engine && !options_.tiles) measure_on_device(job);
    const TensorInfo& info = input_.tensors[job.tensor];
    std::int64_t step = tile_rows;
    bool any = false;
    for (const Batch& batch : job.batches) {
      if (batch.tensor_casts.empty()) continue;
      any = true;
      step = std::lcm(step, CastPass::panel_rows(batch.tensor_casts));
    }
    if (!any && job.facts) {
      for (std::size_t b = 0; b < job.batches.size(); ++b) report_batch(job, b);
      return;
    }
    job.facts = std::make_unique<TensorFacts>(info.rows, info.cols);
    for_each_panel(job, step, [&](std::int64_t first, std::int64_t count, const float* x) {
      job.facts->add(first, count, x);
    });
    job.facts->finish();
    if (job.x.empty()) return measure_streamed(job, step);
    tbb::parallel_for(std::size_t{0}, job.batches.size(), [&](std::size_t b) {
      if (failed_ || (b > 0 && control_.stop && control_.stop())) return;
      guarded([&] {
        CastPass pass(*job.facts, job.batches[b].tensor_casts, job.plan->whole_amax[job.step], options_.tiles);
        if (pass.needs_preparation()) pass.prepare(info.rows, job.x.data());
        pass.add(0, info.rows, job.x.data());
        take_batch(job, b, pass);
      });
    });
  }

  /// Measures the casts that the kernels know and takes them out of what is left to this CPU.
  void measure_on_device(Job& job) {
    const TensorInfo& info = input_.tensors[job.tensor];
    std::unique_ptr<DevicePass> pass;
    for (Batch& batch : job.batches) {
      std::vector<TensorCast> known, left;
      std::vector<std::size_t> known_places, left_places;
      for (std::size_t c = 0; c < batch.tensor_casts.size(); ++c) {
        const bool knows = DevicePass::knows(batch.tensor_casts[c]);
        (knows ? known : left).push_back(batch.tensor_casts[c]);
        (knows ? known_places : left_places).push_back(batch.places[c]);
      }
      if (known.empty()) continue;
      if (!pass) {
        pass = std::make_unique<DevicePass>(*options_.engine, info.rows, info.cols);
        for_each_panel(job, 1, [&](std::int64_t first, std::int64_t count, const float* x) { pass->upload(first, count, x); });
        job.facts = std::make_unique<TensorFacts>(pass->facts());
      }
      put(batch, known_places, pass->measure(*job.facts, known, job.plan->whole_amax[job.step]));
      batch.tensor_casts = std::move(left), batch.places = std::move(left_places);
    }
  }

  static void put(Batch& batch, const std::vector<std::size_t>& places, std::vector<CastResult> results) {
    for (std::size_t i = 0; i < places.size(); ++i) batch.results[places[i]] = std::move(results[i]);
  }

  /// Every panel feeds all batches, so that a tensor larger than memory is read twice, not once a batch.
  void measure_streamed(Job& job, std::int64_t step) {
    std::deque<CastPass> passes;
    for (const Batch& batch : job.batches)
      passes.emplace_back(*job.facts, batch.tensor_casts, job.plan->whole_amax[job.step], options_.tiles);
    const auto feed = [&](const auto& each) {
      for_each_panel(job, step, [&](std::int64_t first, std::int64_t count, const float* x) {
        tbb::parallel_for(std::size_t{0}, passes.size(), [&](std::size_t b) { guarded([&] { each(passes[b], first, count, x); }); });
      });
    };
    if (std::ranges::any_of(passes, &CastPass::needs_preparation))
      feed([](CastPass& pass, std::int64_t, std::int64_t count, const float* x) {
        if (pass.needs_preparation()) pass.prepare(count, x);
      });
    feed([](CastPass& pass, std::int64_t first, std::int64_t count, const float* x) { pass.add(first, count, x); });
    if (failed_) return;
    for (std::size_t b = 0; b < passes.size(); ++b) take_batch(job, b, passes[b]);
  }

  void take_batch(Job& job, std::size_t b, CastPass& pass) {
    Batch& batch = job.batches[b];
    put(batch, batch.places, pass.finish());
    batch.tiles = pass.finish_tiles();
    report_batch(job, b);
  }

  void report_batch(const Job& job, std::size_t b) {
    const Batch& batch = job.batches[b];
    if (control_.measured && !failed_) control_.measured(item_of(job, batch), batch.number);
  }

  const ReplayInput& input_;
  const ReplayOptions& options_;
  const ReplayControl& control_;
  std::vector<std::shared_ptr<const TensorPlan>> plans_;
  std::vector<Item> items_;
  std::uint64_t in_flight_ = 2, whole_limit_ = 0;
  std::mutex reading_, failing_;
  std::exception_ptr error_;          ///< the first
  std::atomic<bool> failed_{false};
};

void run_on_threads(int threads, const std::function<void()>& work) {
  // The limit must cover the arena too: TBB would else lend a small machine's only worker.
  const tbb::global_control limit(tbb::global_control::max_allowed_parallelism,
                                  static_cast<std::size_t>(threads));
  tbb::task_arena arena(threads);
  arena.execute(work);
}

}  // namespace

ReplayInput replay_input(const Trace& trace) {
  return {trace.path(), trace.tensors(), trace.steps(), &trace.history(),
          [&trace](std::size_t tensor, std::size_t step, std::int64_t first, std::int64_t count,
                   float* out) { trace.read_rows(tensor, step, first, count, out); }};
}

void replay(const ReplayInput& input, const ReplayOptions& options,
            const std::function<void(const ReplayItem&)>& take) {
  const ReplayControl everything;
  Replay work(input, options, everything);
  work.plan_all();
  run_on_threads(options.threads, [&] { work.run(take); });
}

void replay_batches(const ReplayInput& input, const ReplayOptions& options, const ReplayControl& control) {
  Replay work(input, options, control);
  run_on_threads(options.threads, [&] { work.run({}); });
}

}  // namespace fp8scope
