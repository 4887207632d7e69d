#include "src/schedule/program.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <deque>
#include <stdexcept>

namespace fp8scope {
namespace {

/// One forward, one backward: at most ranks - rank micro-batches are under way.
PipelineProgram one_forward_one_backward(int ranks, int micro_batches) {
  PipelineProgram program(ranks);
  for (int rank = 0; rank < ranks; ++rank) {
    const int warm_up = std::min(ranks - rank, micro_batches);
    for (int m = 0; m < warm_up; ++m) program[rank].push_back({Work::forward, {0, m}, {}});
    for (int m = 0; m < micro_batches; ++m) {
      program[rank].push_back({Work::backward, {0, m}, {}});
      if (m + warm_up < micro_batches) program[rank].push_back({Work::forward, {0, m + warm_up}, {}});
    }
  }
  return program;
}

/// The same order, but the weights of a micro-batch wait `rank` backwards: a stage that gets its
/// gradients late fills the end of the step with the weights that it put off.
PipelineProgram zero_bubble(int ranks, int micro_batches) {
  PipelineProgram program(ranks);
  for (int rank = 0; rank < ranks; ++rank) {
    std::vector<ChunkOp>& ops = program[rank];
    const int warm_up = std::min(ranks - rank, micro_batches);
    for (int m = 0; m < warm_up; ++m) ops.push_back({Work::forward, {0, m}, {}});
    for (int m = 0; m < micro_batches; ++m) {
      ops.push_back({Work::backward_input, {0, m}, {}});
      if (m >= rank) ops.push_back({Work::weights, {0, m - rank}, {}});
      if (m + warm_up < micro_batches) ops.push_back({Work::forward, {0, m + warm_up}, {}});
    }
    for (int m = std::max(0, micro_batches - rank); m < micro_batches; ++m)
      ops.push_back({Work::weights, {0, m}, {}});
  }
  return program;
}

/// Counts the micro-batches of both directions while a rank's program is written. Phase 0 is the
/// direction that enters nearer to this rank.
class DualPipeRank {
 public:
  DualPipeRank(int rank, int ranks) : near_(rank < ranks / 2 ? 0 : 1) {}

  void forward(int phase) { ops_.push_back({Work::forward, next(forward_, phase), {}}); }
  void backward(int phase, bool split = false) {
    const Flow flow = next(backward_, phase);
    ops_.push_back({split ? Work::backward_input : Work::backward, flow, {}});
    if (split) put_off_.push_back(flow);
  }
  void pair(int forward_phase, int backward_phase) {
    const Flow flow = next(forward_, forward_phase);
    ops_.push_back({Work::pair, flow, next(backward_, backward_phase)});
  }
  void weights() {
    ops_.push_back({Work::weights, put_off_.front(), {}});
    put_off_.pop_front();
  }
  std::vector<ChunkOp> take() { return std::move(ops_); }

 private:
  Flow next(int (&counter)[2], int phase) const { return {phase ^ near_, counter[phase]++}; }

  int near_;
  int forward_[2] = {}, backward_[2] = {};
  std::deque<Flow> put_off_;
  std::vector<ChunkOp> ops_;
};

std::vector<ChunkOp> dual_pipe_rank(int rank, int ranks, int half_batches) {
  const int half = std::min(rank, ranks - 1 - rank);
  const int from_middle = ranks / 2 - half - 1;
  DualPipeRank p(rank, ranks);
  for (int i = 0; i < 2 * from_middle; ++i) p.forward(0);
  for (int i = 0; i <= half; ++i) p.forward(0), p.forward(1);
  for (int i = 0; i < from_middle; ++i) p.backward(1, true), p.weights(), p.forward(1);
  for (int i = 0; i < half_batches - ranks + half + 1; ++i) {
    // The two middle ranks do not overlap their first pair: its parts are ready at different times.
    if (i == 0 && from_middle == 0) p.forward(0), p.backward(1);
    else p.pair(0, 1);
    p.pair(1, 0);
  }
  for (int i = 0; i < from_middle; ++i) p.backward(1), p.pair(1, 0);
  // From half of these on, weights are put off to fill the end.
  for (int i = 0; i <= half; ++i) {
    p.backward(1, i > (half + 1) / 2 || (i == (half + 1) / 2 && half % 2 == 1));
    p.backward(0, i >= (half + 1) / 2);
  }
  for (int i = 0; i < from_middle; ++i) p.weights(), p.backward(0, true);
  for (int i = 0; i <= half; ++i) p.weights();
  return p.take();
}

PipelineProgram dual_pipe(int ranks, int micro_batches) {
  if (ranks % 2 != 0 || micro_batches % 2 != 0 || micro_batches < 2 * ranks)
    throw std::invalid_argument(
        fmt::format("dualpipe: {} ranks and {} micro-batches; it needs an even number of ranks, and an even "
                    "number of at least {} micro-batches", ranks, micro_batches, 2 * ranks));
  PipelineProgram program;
  for (int rank = 0; rank < ranks; ++rank) program.push_back(dual_pipe_rank(rank, ranks, micro_batches / 2));
  return program;
}

constexpr NamedSchedule table[] = {
    {"1f1b", "one forward, one backward", "(PP-1)(F+B)", 1, false, one_forward_one_backward,
     "PipeDream-Flush, Megatron-LM"},
    {"zb1p", "backward split, weights fill the end", "(PP-1)(F+B-2W)", 1, false, zero_bubble,
     "arXiv:2401.10241, ZB-H1"},
    {"dualpipe", "both directions at once, forward and backward overlapped", "(PP/2-1)(F&B+B-3W)", 2, true,
     dual_pipe, "arXiv:2412.19437, section 3.2.1; deepseek-ai/DualPipe"},
};

}  // namespace

std::span<const NamedSchedule> pipeline_schedules() { return table; }

PipelineProgram make_program(const NamedSchedule& schedule, int ranks, int micro_batches) {
  if (ranks < 2 || micro_batches < ranks)
    throw std::invalid_argument(fmt::format("{}: {} ranks and {} micro-batches; at least 2 ranks and as many "
                                            "micro-batches as ranks are needed", schedule.name, ranks, micro_batches));
  return schedule.make(ranks, micro_batches);
}

}  // namespace fp8scope
