#include <algorithm>
#include <chrono>

#include "src/bench.hpp"
#include "src/replay.hpp"
#include "src/trace.hpp"

namespace fp8scope {
namespace {

/// The bundled trace in memory as it was recorded, bfloat16, so that the disk and inflating are not
/// what is measured.
struct RecordedTrace {
  explicit RecordedTrace(const std::string& path) : trace(path) {
    for (std::size_t t = 0; t < trace.tensors().size(); ++t) {
      const TensorInfo& info = trace.tensors()[t];
      stored.emplace_back(static_cast<std::size_t>(info.size()));
      for (std::int64_t s = 0; s < info.steps; ++s)
        trace.read_stored(t, static_cast<std::size_t>(s), 0, info.rows,
                          stored.back().data() + s * info.rows * info.cols);
      elements += static_cast<std::uint64_t>(info.size());
    }
  }
  ReplayInput input() const {
    ReplayInput input = replay_input(trace);
    input.read_rows = [this](std::size_t t, std::size_t s, std::int64_t first, std::int64_t count, float* out) {
      const TensorInfo& info = trace.tensors()[t];
      const std::uint16_t* from =
          stored[t].data() + (static_cast<std::int64_t>(s) * info.rows + first) * info.cols;
      trace.decoder(t).decode(from, count * info.cols, out);
    };
    return input;
  }

  /// Decodes everything once, by one thread: what a replay cannot be faster than.
  void read_all() const {
    const ReplayInput from = input();
    std::vector<float> buffer;
    for (std::size_t t = 0; t < trace.tensors().size(); ++t) {
      const TensorInfo& info = trace.tensors()[t];
      buffer.resize(static_cast<std::size_t>(info.rows * info.cols));
      for (std::int64_t s = 0; s < info.steps; ++s)
        from.read_rows(t, static_cast<std::size_t>(s), 0, info.rows, buffer.data());
    }
  }

  Trace trace;
  std::vector<std::vector<std::uint16_t>> stored;  ///< [tensors][steps, rows, cols]
  std::uint64_t elements = 0;
};

}  // namespace

std::vector<BenchResult> bench_replay(const BenchOptions& options) {
  using Clock = std::chrono::steady_clock;
  const RecordedTrace recorded(options.trace);
  const ReplayInput input = recorded.input();
  // Repeated until as many bytes of bfloat16 were replayed as asked for.
  const std::uint64_t repeats = std::max<std::uint64_t>(1, options.bytes / (2 * recorded.elements));
  const double elements = static_cast<double>(recorded.elements * repeats);
  std::vector<BenchResult> results;
  for (const int threads : options.threads) {
    ReplayOptions replay_options;
    replay_options.threads = threads;
    replay_options.recipes.assign(std::begin(common_recipes), std::end(common_recipes));
    std::vector<double> read_times, replay_times;  // seconds per element
    for (int round = 0; round < options.rounds; ++round) {
      auto start = Clock::now();
      for (std::uint64_t i = 0; i < repeats; ++i) recorded.read_all();
      auto end = Clock::now();
      read_times.push_back(std::chrono::duration<double>(end - start).count() / elements);
      start = end;
      for (std::uint64_t i = 0; i < repeats; ++i)
        replay(input, replay_options, [](const ReplayItem&) {});
      end = Clock::now();
      replay_times.push_back(std::chrono::duration<double>(end - start).count() / elements);
    }
    BenchResult result = result_of("replay", threads, replay_times, {&read_times, 1});
    const double rate =
        static_cast<double>(replay_options.recipes.size()) * 1e-9 / median(replay_times);
    result.extras = {{"gelement_recipes_per_s", rate}, {"per_core", rate / threads}};
    results.push_back(std::move(result));
  }
  return results;
}

}  // namespace fp8scope
