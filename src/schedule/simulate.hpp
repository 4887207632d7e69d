#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "src/schedule/program.hpp"

namespace fp8scope {

/// What a rank can do at the same time: one thing on its compute units, one on its network channels.
enum class LaneKind { compute, communication };

/// What a piece of a chunk is.
enum class Part { attention, mlp, attention_input, mlp_input, attention_weights, mlp_weights, dispatch, combine };

std::string_view part_name(Part part);

struct Segment {
  LaneKind lane;
  Part part;
  double seconds;
};

/// The pieces of each kind of chunk, in the order in which they depend on each other.
struct ChunkCosts {
  std::vector<Segment> forward, backward_input, weights;
  std::vector<Segment> backward;  ///< input and weights, layer by layer
  double hop_seconds = 0.0;       ///< from a stage's result to the next stage's input
};

/// A piece of work as it was placed.
struct PlacedSegment {
  int rank;
  LaneKind lane;
  Part part;
  bool is_backward;
  Flow flow;
  double start, end;  ///< seconds
};

struct RankUse {
  double compute = 0.0;        ///< seconds of work on the compute lane
  double communication = 0.0;  ///< seconds of work on the communication lane
  double exposed = 0.0;        ///< compute idle while the running chunk communicates
  int peak_chunks = 0;         ///< micro-batches whose activations are held at a time
};

struct PipelineResult {
  double seconds = 0.0;  ///< of the step, from the first start to the last end
  std::vector<RankUse> ranks;
  std::vector<PlacedSegment> placed;

  /// Share of a rank's time in which its compute units wait for another rank: 1 - (compute + exposed) / seconds.
  double bubble(int rank) const { return 1.0 - (ranks[rank].compute + ranks[rank].exposed) / seconds; }
};

/// Places every piece of a program: each rank works in the order of its program, chunks wait for the
/// stage before (forward) or after (backward) them, a lane does one thing at a time, and a chunk's
/// computation starts when that of the chunk before it has ended. Of two overlapped chunks the piece
/// that can start first goes first.
///
/// Throws std::logic_error if the program can never end.
PipelineResult simulate(const PipelineProgram& program, const ChunkCosts& costs);

}  // namespace fp8scope
