#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "sim/delayed_state.hpp"
#include "sim/recipe.hpp"

namespace fp8scope {

enum class EventKind : std::uint8_t {
  cast,             ///< a tensor is cast: tensor, amax, [rank]
  use,              ///< a product reads the codes there are: tensor, [rank]
  forward_end,      ///< the outermost autocast region ends: forward tensors update, [rank]
  backward_end,     ///< the backward pass ends: gradients update, [rank]
  optimizer_step,   ///< the optimizer steps, or torchao's sync is called: torchao and MS-AMP update, [rank]
  microbatch,       ///< first = true|false: with false, cached weight codes are reused
  recompute,        ///< activation recomputation of a module begins: module
  recompute_end,
  skipped_module,   ///< a module did not run in this step: module
  amax_allreduce,   ///< slot 0 of every tensor becomes the maximum over ranks = [..]
  checkpoint_save,  ///< remembers all states as name
  checkpoint_load,  ///< name, or states; what = "all" (default) or "weights": the histories stay
  step,             ///< a training step begins, for the report
};

struct NamedEvent {
  std::string_view name;
  EventKind kind;
};
inline constexpr NamedEvent event_kinds[] = {
    {"cast", EventKind::cast},
    {"use", EventKind::use},
    {"forward_end", EventKind::forward_end},
    {"backward_end", EventKind::backward_end},
    {"optimizer_step", EventKind::optimizer_step},
    {"microbatch", EventKind::microbatch},
    {"recompute", EventKind::recompute},
    {"recompute_end", EventKind::recompute_end},
    {"skipped_module", EventKind::skipped_module},
    {"amax_allreduce", EventKind::amax_allreduce},
    {"checkpoint_save", EventKind::checkpoint_save},
    {"checkpoint_load", EventKind::checkpoint_load},
    {"step", EventKind::step},
};

/// A state in a checkpoint event.
struct SavedState {
  std::string tensor;
  DelayedState state;
};

struct Event {
  EventKind kind = EventKind::cast;
  std::int64_t line = 0;        ///< of the log
  std::string tensor, module, name, what;
  float amax = 0.0f;
  int rank = -1;                ///< -1: every rank
  bool first = true;
  std::vector<int> ranks;
  std::vector<SavedState> states;
};

/// A tensor that the log speaks of.
struct EventTensor {
  std::string name, module;
  Role role = Role::activation;
  Format format = e4m3;
  std::vector<int> group = {};        ///< ranks that must share one amax; empty: all of the log
  std::int64_t amax_history_len = 0;  ///< 0: that of the settings
  bool sync = false;                  ///< MS-AMP: the amax is reduced over the group inside the cast (weight gradients)
};

/// Whose delayed scaling a log drives: one row for each kind that events know.
struct NamedUpdate {
  std::string_view name;
  HistoryKind kind;
  std::int64_t amax_history_len;  ///< unless the log says otherwise
  bool reduce_amax;
  std::string_view summary;
};
inline constexpr NamedUpdate event_updates[] = {
    {"fused", HistoryKind::te_fused, 1024, true, "Transformer Engine's kernel: forward_end and backward_end update"},
    {"unfused", HistoryKind::te_unfused, 1024, true, "its update in Python, at the same events"},
    {"jax", HistoryKind::te_jax, 1024, true, "its JAX variant: every cast updates, no event does"},
    {"torchao", HistoryKind::torchao, 16, true, "torchao before February 2025: optimizer_step stands for its sync"},
    {"msamp", HistoryKind::msamp, 16, false, "MS-AMP, FP8-LM: in time until the window is full; optimizer_step updates all but weights"},
};

/// How the run that is logged behaves.
struct EventSettings {
  std::int64_t amax_history_len = 1024;
  DelayedRule rule;               ///< max comes from each tensor's format
  bool hybrid = true;             ///< gradients are E5M2 unless the tensor says otherwise
  int ranks = 1;
  bool reduce_amax = true;
  bool stash_on_recompute = true; ///< recomputation replays the scale of the first forward (as it should)
  bool shared_scale_inv = false;  ///< codes are decoded with the tensor's present factor, not the one stored with them
};

struct EventLog {
  std::string where;
  EventSettings settings;
  std::vector<EventTensor> tensors;
  std::vector<Event> events;
};

/// Reads an event log: JSON lines (one object a line: {"settings": {..}}, {"tensor": {..}}, {"event": "cast", ..}),
/// or TOML ([settings], [[tensor]], [[event]]) if the name ends in ".toml". Infinities and NaN are "inf" and "nan".
/// Throws IoError, DataError with file:line.
EventLog read_event_log(const std::string& path);

}  // namespace fp8scope
