#pragma once

#include <span>
#include <string_view>
#include <vector>

namespace fp8scope {

/// One chunk of work of a pipeline stage: a micro-batch, or two of them that overlap.
enum class Work {
  forward,
  backward,        ///< for the input and the weights in one
  backward_input,  ///< for the input alone; the weights follow as a chunk of their own
  weights,
  pair,            ///< a forward and a whole backward of the two directions, overlapped
};

/// A micro-batch of one direction. Direction 0 enters at rank 0, direction 1 at the last rank.
struct Flow {
  int direction = 0, micro_batch = 0;
  friend bool operator==(const Flow&, const Flow&) = default;
};

/// An entry of a rank's program. `flow` is what forward, backward and weights work on; a pair runs the
/// forward of `flow` and the backward of `other`.
struct ChunkOp {
  Work work;
  Flow flow, other;
};

/// What every rank does, in order.  [ranks][ops]
using PipelineProgram = std::vector<std::vector<ChunkOp>>;

/// A way to order the chunks of a pipeline.
struct NamedSchedule {
  std::string_view name, summary;
  std::string_view bubble;      ///< of a rank without communication, as published; PP ranks
  int parameter_copies;         ///< stages that a rank holds
  bool bidirectional;
  PipelineProgram (*make)(int ranks, int micro_batches);
  std::string_view source;
};

/// Every schedule there is. To add one, add a row.
std::span<const NamedSchedule> pipeline_schedules();

/// The program of a schedule.
/// Throws std::invalid_argument if there are too few micro-batches, or an odd number where both
/// directions take half of them.
PipelineProgram make_program(const NamedSchedule& schedule, int ranks, int micro_batches);

}  // namespace fp8scope
