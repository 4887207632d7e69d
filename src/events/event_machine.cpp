#include "src/events/event_machine.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "sim/error_sums.hpp"
#include "src/errors.hpp"

namespace fp8scope {
namespace {

constexpr double wasted = 1.0 / 64.0;

/// A loaded state: what a process knows besides its buffers (torchao's flag, the length of the window) stays.
void restore(DelayedState& state, const DelayedState& loaded) {
  const bool started = state.started;
  const float pending = state.pending;
  const std::size_t length = state.history.size();
  state = loaded;
  state.started = started, state.pending = pending;
  resize_history(state, length);
}

bool usable(float amax) { return is_finite(amax) && amax > 0.0f; }

}  // namespace

EventMachine::EventMachine(const EventLog& log) : log_(log), ranks_(log.settings.ranks), seen_(log.tensors.size() * ranks_) {
  const HistoryKind kind = log.settings.rule.kind;
  for (std::size_t i = 0; i < seen_.size(); ++i) {
    const EventTensor& about = log.tensors[i / ranks_];
    const bool in_time = kind == HistoryKind::msamp && (about.role == Role::weight || about.sync);
    std::int64_t length = about.amax_history_len;
    if (length == 0) length = in_time ? 1 : log.settings.amax_history_len;
    seen_[i].state.history.assign(static_cast<std::size_t>(length), 0.0f);
    if (kind == HistoryKind::torchao) seen_[i].state.pending = about.format.max_value();
  }
  if (ranks_ == 1 || (kind != HistoryKind::torchao && kind != HistoryKind::msamp)) return;
  joint_.resize(seen_.size());
  std::string recomputing;
  for (const Event& event : log.events) {
    if (event.kind == EventKind::recompute) recomputing = event.module;
    if (event.kind == EventKind::recompute_end) recomputing.clear();
    if (event.kind != EventKind::cast) continue;
    const std::size_t tensor = index(event.tensor);
    if (log.settings.stash_on_recompute && log.tensors[tensor].module == recomputing) continue;
    for (std::size_t rank = 0; rank < ranks_; ++rank)
      if (event.rank < 0 || static_cast<int>(rank) == event.rank) joint_[tensor * ranks_ + rank].push_back(event.amax);
  }
}

DelayedRule EventMachine::rule(std::size_t tensor) const {
  DelayedRule rule = log_.settings.rule;
  rule.max = log_.tensors[tensor].format.max_value();
  return rule;
}

/// The amax that a cast works with: its own, or the largest of the same cast on every rank of the group where the
/// library reduces it inside the cast (torchao's first cast; MS-AMP's weight gradients, NaN becoming infinity first).
float EventMachine::amax_of_cast(std::size_t tensor, int rank, float amax) const {
  const TensorSeen& t = seen(tensor, rank);
  const bool first = log_.settings.rule.kind == HistoryKind::torchao && !t.state.started && log_.settings.reduce_amax;
  if (log_.tensors[tensor].sync && is_nan(amax)) amax = bits_float(inf_bits);
  if (joint_.empty() || !(first || log_.tensors[tensor].sync)) return amax;
  for (const int other : group(tensor)) {
    const std::vector<float>& amaxes = joint_[tensor * ranks_ + static_cast<std::size_t>(other)];
    const auto number = static_cast<std::size_t>(t.casts);
    if (number >= amaxes.size()) continue;
    const float theirs = amaxes[number];
    if (is_nan(theirs)) amax = log_.tensors[tensor].sync ? bits_float(inf_bits) : theirs;
    else if (theirs > amax) amax = theirs;
  }
  return amax;
}

std::size_t EventMachine::index(const std::string& tensor) const {
  return static_cast<std::size_t>(std::ranges::find(log_.tensors, tensor, &EventTensor::name) - log_.tensors.begin());
}

std::vector<int> EventMachine::group(std::size_t tensor) const {
  if (!log_.tensors[tensor].group.empty()) return log_.tensors[tensor].group;
  std::vector<int> all(ranks_);
  for (std::size_t rank = 0; rank < ranks_; ++rank) all[rank] = static_cast<int>(rank);
  return all;
}

void EventMachine::note(FindingKind kind, std::size_t tensor, int rank, std::int64_t line, double worst,
                        const std::string& detail) {
  for (Finding& f : findings_)
    if (f.kind == kind && f.tensor == tensor && f.rank == rank) {
      ++f.times;
      if (std::fabs(std::log2(worst)) > std::fabs(std::log2(f.worst))) f.worst = worst;
      return;
    }
  findings_.push_back({kind, tensor, rank, line, 1, detail, worst});
}

void EventMachine::cast(std::size_t tensor, int rank, float amax, std::int64_t line) {
  TensorSeen& t = at(tensor, rank);
  const EventTensor& about = log_.tensors[tensor];
  const bool again = !recomputing_.empty() && about.module == recomputing_;
  t.recomputes += again;
  if (again && log_.settings.stash_on_recompute) {  // neither history nor scale move
    t.codes_scale = t.stash_scale;
    return;
  }
  const DelayedRule how = rule(tensor);
  const bool in_time = casts_in_time(t.state, how);
  const float joint = amax_of_cast(tensor, rank, amax), before = t.state.scale;
  const float scale = take_cast(t.state, how, joint);
  if (how.kind == HistoryKind::torchao) t.state.pending = amax;  // only the first scale is reduced here
  t.moves += scale != before;
  if (!again) t.stash_scale = scale;
  else if (scale != t.stash_scale && t.stash_scale != 0.0f)
    note(FindingKind::recompute_other_scale, tensor, rank, line, scale / t.stash_scale,
         fmt::format("{:g} in the first forward pass, {:g} now", t.stash_scale, scale));
  if (in_time && usable(joint)) t.usable_seen = true, t.stale = false;
  ++t.casts, t.fresh = true, t.cast_this_step = true;
  t.codes_scale = scale;
  judge_cast(tensor, rank, amax, scale, in_time, line);
  if (in_time && t.state.history.size() == 1 && how.kind == HistoryKind::msamp) ++t.updates, t.cast_this_step = false;  // its own update
  if (how.kind == HistoryKind::te_jax) update_one(tensor, rank, line);
}

/// What a cast of an amax at a scale says about the scale.
void EventMachine::judge_cast(std::size_t tensor, int rank, float amax, float scale, bool in_time, std::int64_t line) {
  TensorSeen& t = at(tensor, rank);
  const Format& format = log_.tensors[tensor].format;
  const float max = format.max_value();
  const double ratio = static_cast<double>(amax) * scale / max;
  casts_.push_back({line, step_, tensor, rank, amax, scale, ratio, t.updates, t.frozen});
  if (!is_finite(scale) || scale == 0.0f)
    return note(FindingKind::bad_scale, tensor, rank, line, 1.0, fmt::format("the scale is {:g}", scale));
  if (!usable(amax)) return;
  const bool first = t.amax_high == 0.0f;
  t.amax_low = first ? amax : std::min(t.amax_low, amax), t.amax_high = std::max(t.amax_high, amax);
  t.ratio_low = first ? ratio : std::min(t.ratio_low, ratio), t.ratio_high = std::max(t.ratio_high, ratio);
  if (t.casts == 1) t.first_scale = scale;
  const bool clips = ratio * max > cast_limits(format, {}, 0.0f).clip;
  if (!clips && ratio >= wasted) return;
  const FindingKind kind = !t.usable_seen ? FindingKind::cold_start
                           : t.stale      ? FindingKind::stale_history
                           : clips        ? FindingKind::clipped
                                          : FindingKind::wasted_range;
  note(kind, tensor, rank, line, ratio,
       fmt::format("amax {:g} at scale {:g}{} reaches {:.4g} of MAX", amax, scale, in_time ? ", made in time," : "", ratio));
}

void EventMachine::use(std::size_t tensor, int rank, std::int64_t line) {
  const TensorSeen& t = at(tensor, rank);
  if (t.codes_scale == 0.0f)
    throw DataError(fmt::format("{}:{}: {} is used before it is cast", log_.where, line, log_.tensors[tensor].name));
  const float now = log_.settings.shared_scale_inv ? t.state.scale : t.codes_scale;
  if (now != t.codes_scale)
    note(FindingKind::decoded_other_factor, tensor, rank, line, t.codes_scale / now,
         fmt::format("codes made at scale {:g}, decoded by 1/{:g}: every value is off by {:.6g}", t.codes_scale, now,
                     static_cast<double>(t.codes_scale) / now));
}

void EventMachine::update_one(std::size_t tensor, int rank, std::int64_t line) {
  TensorSeen& t = at(tensor, rank);
  const float before = t.state.scale;
  const DelayedUpdate done = update(t.state, rule(tensor));
  ++t.updates, t.rolls += done.rolled;
  const bool moved = t.state.scale != before;
  t.moves += moved;
  if (done.usable) t.usable_seen = true, t.frozen = 0;
  else if (done.chosen != 0.0f) {  // an infinity or a NaN; zero is a tensor that did not run
    ++t.frozen;
    t.frozen_longest = std::max(t.frozen_longest, t.frozen);
    note(FindingKind::frozen, tensor, rank, line, 1.0, fmt::format("the amax in use is {}; the scale stays {:g}", done.chosen, before));
  }
  if (!t.fresh && moved)
    note(FindingKind::recomputed_twice, tensor, rank, line, t.state.scale / before,
         fmt::format("{:g} became {:g} without a new amax", before, t.state.scale));
  if (!t.fresh && done.rolled)
    note(FindingKind::rolled_unseen, tensor, rank, line, 1.0, "nothing was cast since the last update");
  if (done.usable && t.fresh) {
    // The amax in use is of the present weights once it is the newest.
    const std::vector<float>& h = t.state.history;
    const bool newest_last = rule(tensor).kind != HistoryKind::torchao && rule(tensor).kind != HistoryKind::msamp;
    const float newest = newest_last ? h.back() : rule(tensor).kind == HistoryKind::torchao ? h[0] : h[std::min<std::size_t>(1, h.size() - 1)];
    if (t.stale && (h.size() == 1 || done.chosen == newest)) t.stale = false;
  }
  t.fresh = false, t.steps_without_update = 0, t.cast_this_step = false;
}

/// Whether the event updates the tensor under the log's library.
bool EventMachine::updates_at(EventKind event, std::size_t tensor) const {
  const EventTensor& about = log_.tensors[tensor];
  switch (log_.settings.rule.kind) {
    case HistoryKind::te_jax: return false;
    case HistoryKind::torchao: return event == EventKind::optimizer_step;
    // Weights and weight gradients are cast in time: the optimizer leaves their windows alone.
    case HistoryKind::msamp: return event == EventKind::optimizer_step && about.role != Role::weight && !about.sync;
    default: return event == (about.role == Role::gradient ? EventKind::backward_end : EventKind::forward_end);
  }
}

void EventMachine::update_all(EventKind event, int rank, std::int64_t line) {
  if (!recomputing_.empty() && log_.settings.stash_on_recompute && event == EventKind::forward_end) return;  // the region is a replay
  for (std::size_t tensor = 0; tensor < log_.tensors.size(); ++tensor) {
    if (!updates_at(event, tensor)) continue;
    for (std::size_t r = 0; r < ranks_; ++r)
      if (rank < 0 || static_cast<int>(r) == rank) update_one(tensor, static_cast<int>(r), line);
    compare_ranks(tensor, line);
  }
}

void EventMachine::compare_ranks(std::size_t tensor, std::int64_t line) {
  const std::vector<int> members = group(tensor);
  if (members.size() < 2 || !log_.settings.reduce_amax) return;
  float low = seen(tensor, members[0]).state.scale, high = low;
  int where = members[0];
  for (const int rank : members) {
    const float scale = seen(tensor, rank).state.scale;
    if (scale > high) high = scale, where = rank;
    low = std::min(low, scale);
    if (seen(tensor, rank).updates != seen(tensor, members[0]).updates) return;  // not all have updated yet
  }
  if (low != high)
    note(FindingKind::ranks_disagree, tensor, where, line, high / low,
         fmt::format("scales {:g} to {:g}; reduced over its group it would be {:g}", low, high, low));
}

void EventMachine::reduce(const Event& event) {
  const HistoryKind kind = log_.settings.rule.kind;
  if (kind == HistoryKind::te_jax)
    throw DataError(fmt::format("{}:{}: the JAX variant takes the amax of the whole array inside the cast; log the cast without a rank",
                                log_.where, event.line));
  const auto written = [&](TensorSeen& t) -> float& { return kind == HistoryKind::torchao ? t.state.pending : t.state.history[0]; };
  for (std::size_t tensor = 0; tensor < log_.tensors.size(); ++tensor) {
    // torchao leaves weights out: their gathered copies are equal on all ranks.
    if (kind == HistoryKind::torchao && log_.tensors[tensor].role == Role::weight) continue;
    float largest = 0.0f;
    bool any = false;
    for (const int rank : event.ranks) {
      DelayedState joined{1.0f, {largest}};
      record_amax(joined, written(at(tensor, rank)));
      largest = joined.history[0];
      any = any || seen(tensor, rank).fresh;
    }
    std::vector<int> wanted = group(tensor), given = event.ranks;
    std::ranges::sort(wanted), std::ranges::sort(given);
    const bool overlap = std::ranges::any_of(given, [&](int rank) { return std::ranges::count(wanted, rank) > 0; });
    if (any && overlap && wanted != given)
      note(FindingKind::wrong_group, tensor, given[0], event.line, 1.0,
           fmt::format("reduced over {} ranks, shared by {}", given.size(), wanted.size()));
    for (const int rank : event.ranks) written(at(tensor, rank)) = largest;
  }
}

void EventMachine::load(const Event& event) {
  if (event.what == "weights" || (event.name.empty() && event.states.empty())) {
    for (TensorSeen& t : seen_) t.stale = t.usable_seen;
    return;
  }
  if (!event.name.empty()) {
    const auto found = saved_.find(event.name);
    if (found == saved_.end())
      throw DataError(fmt::format("{}:{}: there is no checkpoint '{}' to load", log_.where, event.line, event.name));
    for (std::size_t i = 0; i < seen_.size(); ++i) {
      restore(seen_[i].state, found->second[i].state);
      seen_[i].usable_seen = found->second[i].usable_seen, seen_[i].fresh = false, seen_[i].stale = false;
    }
  }
  for (const SavedState& saved : event.states)
    for (std::size_t rank = 0; rank < ranks_; ++rank) {
      TensorSeen& t = at(index(saved.tensor), static_cast<int>(rank));
      restore(t.state, saved.state);
      t.usable_seen = true, t.fresh = false, t.stale = false;
    }
}

void EventMachine::new_step() {
  ++step_;
  skipped_.clear();
  for (std::size_t i = 0; i < seen_.size(); ++i) {
    TensorSeen& t = seen_[i];
    if (t.cast_this_step && ++t.steps_without_update >= 2)
      note(FindingKind::update_missing, i / ranks_, static_cast<int>(i % ranks_), 0, 1.0,
           fmt::format("{} casts so far, {} updates", t.casts, t.updates));
    t.cast_this_step = false;
  }
}

void EventMachine::take(const Event& event) {
  const auto each_rank = [&](const auto& act) {
    for (std::size_t rank = 0; rank < ranks_; ++rank)
      if (event.rank < 0 || static_cast<int>(rank) == event.rank) act(static_cast<int>(rank));
  };
  switch (event.kind) {
    case EventKind::cast: {
      const std::size_t tensor = index(event.tensor);
      const EventTensor& about = log_.tensors[tensor];
      if (std::ranges::find(skipped_, about.module) != skipped_.end())
        throw DataError(fmt::format("{}:{}: {} is cast in a step that skipped its module {}", log_.where, event.line, about.name, about.module));
      const HistoryKind library = log_.settings.rule.kind;
      const bool caches = library == HistoryKind::te_fused || library == HistoryKind::te_unfused;
      if (!first_microbatch_ && about.role == Role::weight && recomputing_.empty() && caches)
        throw DataError(fmt::format("{}:{}: {} is cast in a later micro-batch, which reuses its codes; log 'use'", log_.where,
                                    event.line, about.name));
      return each_rank([&](int rank) { cast(tensor, rank, event.amax, event.line); });
    }
    case EventKind::use: return each_rank([&](int rank) { use(index(event.tensor), rank, event.line); });
    case EventKind::forward_end:
    case EventKind::backward_end:
    case EventKind::optimizer_step: return update_all(event.kind, event.rank, event.line);
    case EventKind::microbatch: first_microbatch_ = event.first; return;
    case EventKind::recompute: recomputing_ = event.module; return;
    case EventKind::recompute_end: recomputing_.clear(); return;
    case EventKind::skipped_module: skipped_.push_back(event.module); return;
    case EventKind::amax_allreduce: return reduce(event);
    case EventKind::checkpoint_save: saved_[event.name] = seen_; return;
    case EventKind::checkpoint_load: return load(event);
    case EventKind::step: first_microbatch_ = true; return new_step();
  }
}

void EventMachine::finish() {
  if (step_ > 0) new_step();
  for (std::size_t i = 0; i < seen_.size(); ++i) {
    const TensorSeen& t = seen_[i];
    const std::size_t tensor = i / ranks_;
    const int rank = static_cast<int>(i % ranks_);
    if (t.casts > 1 && t.updates == 0)
      note(FindingKind::never_updated, tensor, rank, 0, 1.0, fmt::format("{} casts", t.casts));
    else if (t.casts > 1 && t.moves == 0 && t.amax_high > 2.0f * t.amax_low)
      note(FindingKind::never_moves, tensor, rank, 0, t.amax_high / t.amax_low,
           fmt::format("{} updates, amax {:g} to {:g}, scale {:g}", t.updates, t.amax_low, t.amax_high, t.state.scale));
  }
}

void EventMachine::run() {
  for (const Event& event : log_.events) take(event);
  finish();
}

std::vector<Finding> EventMachine::found() const {
  std::vector<Finding> sorted = findings_;
  std::ranges::stable_sort(sorted, {}, [](const Finding& f) { return f.line == 0 ? std::int64_t{1} << 62 : f.line; });
  return sorted;
}

}  // namespace fp8scope
