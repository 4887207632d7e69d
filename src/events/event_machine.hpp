#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "src/events/event_log.hpp"

namespace fp8scope {

/// Something that should not happen. To add one, add a row of `findings` and find it in the machine.
enum class FindingKind : std::uint8_t {
  cold_start, stale_history, clipped, wasted_range, frozen, never_moves, never_updated, update_missing,
  recomputed_twice, recompute_other_scale, rolled_unseen, decoded_other_factor, wrong_group, ranks_disagree, bad_scale,
};

struct NamedFinding {
  std::string_view name;
  FindingKind kind;
  std::string_view meaning;
};
inline constexpr NamedFinding findings[] = {
    {"cold_start", FindingKind::cold_start, "cast with the initial scale 1, which no amax has made, and clipped or lost range"},
    {"stale_history", FindingKind::stale_history, "after new weights were loaded the scale still comes from amaxes of the old ones"},
    {"clipped", FindingKind::clipped, "amax * scale beyond the last rounding edge of MAX"},
    {"wasted_range", FindingKind::wasted_range, "amax * scale below MAX / 64: six binades of small values are lost"},
    {"frozen", FindingKind::frozen, "updates left the scale as it was because the window holds an infinity or a NaN"},
    {"never_moves", FindingKind::never_moves, "the amax changed more than twofold over the log and the scale never did"},
    {"never_updated", FindingKind::never_updated, "cast, and no event ever updated its scale"},
    {"update_missing", FindingKind::update_missing, "cast in two steps or more in a row without an update between"},
    {"recomputed_twice", FindingKind::recomputed_twice, "the scale was updated again although no new amax was recorded, and it moved"},
    {"recompute_other_scale", FindingKind::recompute_other_scale, "recomputed with another scale than in the first forward pass"},
    {"rolled_unseen", FindingKind::rolled_unseen, "the history of a tensor that was not cast rolled on: a zero took a slot"},
    {"decoded_other_factor", FindingKind::decoded_other_factor, "codes were decoded with a factor they were not made with"},
    {"wrong_group", FindingKind::wrong_group, "the amax was reduced over other ranks than those that share the tensor"},
    {"ranks_disagree", FindingKind::ranks_disagree, "ranks that share the tensor hold different scales"},
    {"bad_scale", FindingKind::bad_scale, "cast with a scale that is 0, infinite or NaN: its codes are zeros, MAX or NaN"},
};

struct Finding {
  FindingKind kind;
  std::size_t tensor;
  int rank;
  std::int64_t line;       ///< of the first time
  std::uint64_t times = 1;
  std::string detail;      ///< of the first time
  double worst = 1.0;      ///< the ratio behind it, where there is one
};

/// One cast as the machine saw it.
struct CastSeen {
  std::int64_t event;      ///< line of the log
  std::int64_t step;
  std::size_t tensor;
  int rank;
  float amax, scale;
  double ratio;            ///< amax * scale / MAX: above 1 it clips
  std::int64_t updates;    ///< of the tensor before this cast
  std::int64_t frozen;     ///< updates in a row that left the scale as it was for want of a usable amax
};

/// What one tensor went through on one rank.
struct TensorSeen {
  DelayedState state;
  float codes_scale = 0.0f;      ///< scale that the present codes were made with; 0: no codes
  float stash_scale = 0.0f;      ///< of the first forward pass of this step; 0: none
  std::int64_t casts = 0, updates = 0, moves = 0, rolls = 0, recomputes = 0;
  std::int64_t frozen = 0, frozen_longest = 0;
  std::int64_t steps_without_update = 0;
  bool fresh = false;            ///< an amax was recorded since the last update
  bool usable_seen = false;      ///< some amax has made the scale
  bool stale = false;            ///< new weights since the amax in use
  bool cast_this_step = false;
  float amax_low = 0.0f, amax_high = 0.0f, first_scale = 1.0f;
  double ratio_low = 0.0, ratio_high = 0.0;
};

/// Delayed scaling as a library drives it (EventSettings::rule.kind), event by event: what updates a state is said in
/// event_updates.
class EventMachine {
 public:
  explicit EventMachine(const EventLog& log);

  void run();
  /// Takes in the next event.
  void take(const Event& event);

  const TensorSeen& seen(std::size_t tensor, int rank) const { return seen_[tensor * ranks_ + rank]; }
  const std::vector<CastSeen>& casts() const { return casts_; }
  /// In the order of their first line.
  std::vector<Finding> found() const;

 private:
  TensorSeen& at(std::size_t tensor, int rank) { return seen_[tensor * ranks_ + rank]; }
  std::size_t index(const std::string& tensor) const;
  void cast(std::size_t tensor, int rank, float amax, std::int64_t line);
  void use(std::size_t tensor, int rank, std::int64_t line);
  DelayedRule rule(std::size_t tensor) const;
  float amax_of_cast(std::size_t tensor, int rank, float amax) const;
  void judge_cast(std::size_t tensor, int rank, float amax, float scale, bool in_time, std::int64_t line);
  bool updates_at(EventKind event, std::size_t tensor) const;
  void update_all(EventKind event, int rank, std::int64_t line);
  void update_one(std::size_t tensor, int rank, std::int64_t line);
  void reduce(const Event& event);
  void compare_ranks(std::size_t tensor, std::int64_t line);
  void load(const Event& event);
  void new_step();
  void finish();
  void note(FindingKind kind, std::size_t tensor, int rank, std::int64_t line, double worst, const std::string& detail);
  std::vector<int> group(std::size_t tensor) const;

  const EventLog& log_;
  std::size_t ranks_;
  std::vector<TensorSeen> seen_;  ///< [tensors, ranks]
  std::vector<CastSeen> casts_;
  std::vector<Finding> findings_;
  std::map<std::string, std::vector<TensorSeen>> saved_;
  std::vector<std::vector<float>> joint_;  ///< [tensors, ranks][casts] amaxes of the log, where casts reduce them
  std::string recomputing_;       ///< module
  bool first_microbatch_ = true;
  std::vector<std::string> skipped_;
  std::int64_t step_ = 0;
};

}  // namespace fp8scope
