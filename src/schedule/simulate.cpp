#include "src/schedule/simulate.hpp"

#include <algorithm>
#include <map>
#include <stdexcept>
#include <tuple>

namespace fp8scope {
namespace {

/// A list of pieces that run one after another.
struct Chain {
  const std::vector<Segment>* segments;
  Flow flow;
  bool is_backward;
  double ready;
  std::size_t next = 0;

  bool done() const { return next == segments->size(); }
};

class Simulation {
 public:
  Simulation(const PipelineProgram& program, const ChunkCosts& costs)
      : program_(program), costs_(costs), ranks_(static_cast<int>(program.size())), next_(program.size()),
        compute_(program.size()), communication_(program.size()), held_(program.size()) {
    result_.ranks.resize(program.size());
  }

  PipelineResult run() {
    for (bool moved = true; moved;) {
      moved = false;
      for (int rank = 0; rank < ranks_; ++rank)
        while (next_[rank] < program_[rank].size() && step(rank, program_[rank][next_[rank]])) ++next_[rank], moved = true;
    }
    for (int rank = 0; rank < ranks_; ++rank)
      if (next_[rank] < program_[rank].size()) throw std::logic_error("simulate: the ranks wait for each other");
    return std::move(result_);
  }

 private:
  /// Stage of the model that a rank is for a direction.
  int stage(int rank, int direction) const { return direction == 0 ? rank : ranks_ - 1 - rank; }

  /// When the input of a chunk is there: the stage before it, or after it, has ended. -1: not yet.
  double arrival(int rank, const Flow& flow, bool is_backward) const {
    const int here = stage(rank, flow.direction), from = here + (is_backward ? 1 : -1);
    if (from < 0) return 0.0;
    const bool turn = from == ranks_;  // the last stage's backward follows its own forward
    const auto end = ends_.find({flow.direction, flow.micro_batch, turn ? here : from, is_backward && !turn});
    if (end == ends_.end()) return -1.0;
    return end->second + (turn ? 0.0 : costs_.hop_seconds);
  }

  bool step(int rank, const ChunkOp& op) {
    const bool split = op.work == Work::backward_input;
    std::vector<Chain> chains;
    if (op.work == Work::pair) {
      chains.push_back({&costs_.backward, op.other, true, arrival(rank, op.other, true)});
      chains.push_back({&costs_.forward, op.flow, false, arrival(rank, op.flow, false)});
    } else if (op.work == Work::weights) {
      chains.push_back({&costs_.weights, op.flow, true, 0.0});
    } else if (op.work == Work::forward) {
      chains.push_back({&costs_.forward, op.flow, false, arrival(rank, op.flow, false)});
    } else {
      chains.push_back({split ? &costs_.backward_input : &costs_.backward, op.flow, true, arrival(rank, op.flow, true)});
    }
    double ready = compute_[rank];
    for (Chain& chain : chains) {
      if (chain.ready < 0.0) return false;
      ready = std::max(ready, chain.ready);
    }
    for (Chain& chain : chains) chain.ready = ready;
    place(rank, chains, ready);
    for (const Chain& chain : chains)
      if (op.work != Work::weights)
        ends_[{chain.flow.direction, chain.flow.micro_batch, stage(rank, chain.flow.direction), chain.is_backward}] =
            chain.ready;
    hold(rank, op);
    return true;
  }

  /// Piece after piece, that which can start first; of two the backward's.
  void place(int rank, std::vector<Chain>& chains, double begin) {
    double work = 0.0, last = begin;
    for (;;) {
      Chain* first = nullptr;
      double start = 0.0;
      for (Chain& chain : chains) {
        if (chain.done()) continue;
        const double at = std::max(chain.ready, lane(rank, (*chain.segments)[chain.next].lane));
        if (!first || at < start) first = &chain, start = at;
      }
      if (!first) break;
      const Segment& segment = (*first->segments)[first->next++];
      const double end = start + segment.seconds;
      lane(rank, segment.lane) = first->ready = end;
      result_.placed.push_back({rank, segment.lane, segment.part, first->is_backward, first->flow, start, end});
      result_.seconds = std::max(result_.seconds, end);
      const bool computes = segment.lane == LaneKind::compute;
      (computes ? result_.ranks[rank].compute : result_.ranks[rank].communication) += segment.seconds;
      if (computes) work += segment.seconds, last = end;
    }
    result_.ranks[rank].exposed += last - begin - work;
  }

  double& lane(int rank, LaneKind kind) { return kind == LaneKind::compute ? compute_[rank] : communication_[rank]; }

  /// Activations live from a chunk's forward until its weights are done.
  void hold(int rank, const ChunkOp& op) {
    if (op.work == Work::forward || op.work == Work::pair) ++held_[rank];
    result_.ranks[rank].peak_chunks = std::max(result_.ranks[rank].peak_chunks, held_[rank]);
    if (op.work == Work::backward || op.work == Work::weights || op.work == Work::pair) --held_[rank];
  }

  const PipelineProgram& program_;
  const ChunkCosts& costs_;
  const int ranks_;
  std::vector<std::size_t> next_;
  std::vector<double> compute_, communication_;  ///< when each rank's lanes are free
  std::vector<int> held_;
  std::map<std::tuple<int, int, int, bool>, double> ends_;  ///< direction, micro-batch, stage, backward
  PipelineResult result_;
};

constexpr std::string_view part_names[] = {"attention",       "mlp",           "attention input",  "mlp input",
                                           "attention weights", "mlp weights", "dispatch",         "combine"};

}  // namespace

std::string_view part_name(Part part) { return part_names[static_cast<int>(part)]; }

PipelineResult simulate(const PipelineProgram& program, const ChunkCosts& costs) {
  return Simulation(program, costs).run();
}

}  // namespace fp8scope
