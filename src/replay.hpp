#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "cuda/engine.hpp"
#include "sim/recipe.hpp"
#include "src/cast_pass.hpp"
#include "src/cast_stats.hpp"
#include "src/gemm_error.hpp"
#include "src/trace.hpp"

namespace fp8scope {

/// Where replay() finds tensors: a trace file, or memory.
struct ReplayInput {
  std::string where;                       ///< for messages
  std::span<const TensorInfo> tensors;
  std::span<const std::int64_t> steps;     ///< [S] numbers of the recorded steps
  const AmaxHistory* history = nullptr;    ///< of all steps
  /// Rows [first, first + count) of tensors[tensor] at steps[step] as binary32; called by one thread
  /// at a time.
  std::function<void(std::size_t tensor, std::size_t step, std::int64_t first, std::int64_t count,
                     float* out)>
      read_rows;
  /// amax of a recorded step where it is not what the history says (outliers were injected).
  std::function<float(std::size_t tensor, std::size_t step)> recorded_amax = {};
};

ReplayInput replay_input(const Trace& trace);

/// What replay and its bench take unless told otherwise.
inline constexpr const char* common_recipes[] = {"te_delayed", "te_current", "te_block", "dsv3", "mxfp8"};

struct ReplayOptions {
  std::vector<std::string> recipes;    ///< as make_recipe() takes them
  std::string gemms = "first";         ///< "first" use of each operand, "all", or "fprop", ...
  bool requantise = false;             ///< products that contract rows cast the earlier cast, not the source
  std::uint64_t max_memory = 1u << 30; ///< bytes of tensors held at a time
  int threads = 1;
  cuda::Engine* engine = nullptr;      ///< what measures the casts; nullptr: this CPU. The results are the same
  std::optional<TileRequest> tiles;    ///< also measure tiles
};

/// One cast of one tensor that replay() measures at every recorded step.
struct ReplayCast {
  std::size_t recipe;  ///< index into ReplayOptions::recipes
  std::string gemm;    ///< the use whose contracted dimension the blocks lie along
  Plan plan;
  BlockShape block;
};

/// What one tensor of one step gave.
struct ReplayItem {
  std::size_t tensor, step;                  ///< indices into the input
  const TensorFacts* facts;
  std::span<const ReplayCast> casts;
  std::span<const CastResult> results;       ///< [casts]
  std::span<const CastTiles> tiles;          ///< [casts]; empty unless asked for
};

/// How a sweep runs a part of a replay, keeps what it has measured and goes on later. A batch is what
/// the recipes [batch * recipes_per_batch, ...) give for one tensor of one step.
struct ReplayControl {
  std::size_t recipes_per_batch = 16;
  /// Which batches are to be measured; all of them unless given. Called by one thread at a time.
  std::function<bool(std::size_t tensor, std::size_t step, std::size_t batch)> wanted;
  /// Takes a batch as soon as it is measured; called by any thread.
  std::function<void(const ReplayItem&, std::size_t batch)> measured;
  /// Takes a recipe that cannot be applied to a tensor, which is then left out, and a tensor of one step
  /// that cannot be read. Without them these are errors.
  std::function<void(std::size_t tensor, std::size_t recipe, const std::string& gemm,
                     const std::string& why)>
      refused;
  std::function<void(std::size_t tensor, std::size_t step, const std::string& why)> unreadable;
  /// True: start nothing more, finish what was started.
  std::function<bool()> stop;
};

/// Casts every recorded tensor of every recorded step under every recipe and measures the loss.
///
/// Delayed recipes are stepped through the whole history, recorded or not; a tensor without a slot in
/// the history is stepped through the recorded steps. `take` is called in the order of tensors and
/// steps, by one thread at a time. The results depend on nothing but the tensors and the recipes.
/// Throws UnknownName, std::invalid_argument (recipes), DataError, and what `read_rows` throws.
void replay(const ReplayInput& input, const ReplayOptions& options,
            const std::function<void(const ReplayItem&)>& take);

/// The same for the batches that `control` wants; a tensor is read once for all of them.
void replay_batches(const ReplayInput& input, const ReplayOptions& options, const ReplayControl& control);

}  // namespace fp8scope
