// Delayed scaling driven by events: Transformer Engine's own sequences, and situations that users met.
#include "src/events/event_machine.hpp"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <random>
#include <set>

#include "sim/recipe_delayed.hpp"
#include "src/errors.hpp"
#include "tests/golden.hpp"
#include "tests/same_bits.hpp"
#include "tests/temporary_folder.hpp"

namespace fp8scope {
namespace {

using Events = TemporaryFolder;

EventLog one_tensor(std::size_t length) {
  EventLog log;
  log.where = "log";
  log.settings.amax_history_len = static_cast<std::int64_t>(length);
  log.tensors.push_back({"L0/x", "L0", Role::activation, e4m3, {}});
  return log;
}

Event event(EventKind kind, float amax = 0.0f) {
  Event e;
  e.kind = kind, e.tensor = "L0/x", e.amax = amax, e.line = 1;
  return e;
}

TEST_F(Events, GiveTransformerEnginesStatesStepByStepFusedAndUnfused) {
  FP8SCOPE_OPEN_GOLDEN(golden, "scaling.h5");
  const h5::Group group = golden.group("te_delayed");
  int fused = 0, unfused = 0;
  for (const h5::Entry& entry : group.entries()) {
    const std::string& name = entry.name;
    if (!name.ends_with("fused")) continue;
    const std::size_t length_at = name.find("_L") + 2, algorithm_at = name.find('_', length_at) + 1;
    EventLog log = one_tensor(std::stoul(name.substr(length_at, algorithm_at - 1 - length_at)));
    log.settings.rule.fused = !name.ends_with("_unfused");
    log.settings.rule.most_recent = name.find("most_recent") != std::string::npos;
    log.settings.rule.margin = name[name.rfind("_m") + 2] - '0';
    if (name.find("e5m2") != std::string::npos) log.tensors[0].format = e5m2;
    EventMachine machine(log);
    std::vector<float> actual;
    for (const float amax : golden.dataset("te_delayed/seq_" + name.substr(0, length_at - 2)).values<float>()) {
      machine.take(event(EventKind::cast, amax));
      machine.take(event(EventKind::forward_end));
      const DelayedState& state = machine.seen(0, 0).state;
      actual.push_back(state.scale);
      actual.insert(actual.end(), state.history.begin(), state.history.end());
    }
    EXPECT_TRUE(same_bits(group.dataset(name).values<float>(), actual)) << name;
    ++(log.settings.rule.fused ? fused : unfused);
  }
  EXPECT_GE(fused, 75);
  EXPECT_GE(unfused, 60);
}

TEST_F(Events, GiveTheScalesOfTheRecipeOnRandomAmaxes) {
  std::mt19937 random(3);
  for (const std::size_t length : {1, 2, 5, 16})
    for (const bool recent : {false, true}) {
      EventLog log = one_tensor(length);
      log.settings.rule.most_recent = recent;
      EventMachine machine(log);
      const auto recipe = make_recipe(fmt::format("te_delayed:amax_history_len={}:amax_compute_algo={}", length, recent ? "most_recent" : "max"), {});
      for (int step = 0; step < 300; ++step) {
        const unsigned kind = random() % 10;
        const float amax = kind == 0 ? 0.0f : kind == 1 ? bits_float(inf_bits) : kind == 2 ? bits_float(random() % 100) : bits_float(0x30000000u + random() % 0x20000000u);
        Scales scales;
        recipe->step({&amax, 1}, {&scales, 1});
        machine.take(event(EventKind::cast, amax));
        ASSERT_EQ(float_bits(machine.casts().back().scale), float_bits(scales.scale)) << length << " step " << step;
        machine.take(event(EventKind::forward_end));
      }
    }
}

TEST_F(Events, AFaultInTheStateMachineIsCaught) {  // the newest amax must be in the window
  FP8SCOPE_OPEN_GOLDEN(golden, "scaling.h5");
  DelayedState state{1.0f, std::vector<float>(4)};
  std::vector<float> actual;
  for (const float amax : golden.dataset("te_delayed/seq_spike").values<float>()) {
    actual.push_back(state.scale);  // read a step early
    actual.insert(actual.end(), state.history.begin(), state.history.end());
    record_amax(state, amax);
    update(state, {});
  }
  EXPECT_FALSE(same_bits(golden.dataset("te_delayed/spike_L4_max_m0_e4m3_fused").values<float>(), actual));
}

std::set<std::string> found_in(const std::string& log_name) {
  const EventLog log = read_event_log(std::string(FP8SCOPE_SOURCE) + "/notebooks-data/events/" + log_name + ".jsonl");
  EventMachine machine(log);
  machine.run();
  std::set<std::string> names;
  for (const Finding& f : machine.found())
    names.insert(std::string(std::ranges::find(findings, f.kind, &NamedFinding::kind)->name));
  return names;
}

TEST_F(Events, SituationsThatUsersMetAreFoundAndTheRepairedOnesAreNot) {
  using Names = std::set<std::string>;
  EXPECT_EQ(found_in("healthy"), Names{});
  EXPECT_EQ(found_in("cold_start"), Names{"cold_start"});
  EXPECT_EQ(found_in("stale_history"), (Names{"cold_start", "stale_history"}));
  EXPECT_EQ(found_in("wrong_group"), (Names{"cold_start", "wrong_group", "ranks_disagree"}));
  EXPECT_EQ(found_in("right_group"), Names{});
  EXPECT_EQ(found_in("frozen_by_inf"), (Names{"clipped", "frozen"}));
  EXPECT_EQ(found_in("microbatch_cached_weights"), (Names{"decoded_other_factor", "recomputed_twice", "rolled_unseen"}));
  EXPECT_EQ(found_in("microbatch_since_1.6"), Names{});
  EXPECT_EQ(found_in("recompute_live"), Names{"recompute_other_scale"});
  EXPECT_EQ(found_in("recompute_stash"), Names{});
  EXPECT_EQ(found_in("no_backward_update"), (Names{"cold_start", "never_updated", "update_missing"}));
  EXPECT_EQ(found_in("skipped_module"), Names{"rolled_unseen"});
}

TEST_F(Events, AnInfinityFreezesTheScaleForAsManyUpdatesAsTheHistoryIsLong) {
  for (const std::size_t length : {1, 4, 16}) {
    const EventLog log = one_tensor(length);
    EventMachine machine(log);
    for (int step = 0; step < 40; ++step) {
      machine.take(event(EventKind::cast, step == 5 ? bits_float(inf_bits) : 2.0f + static_cast<float>(step)));
      machine.take(event(EventKind::forward_end));
    }
    EXPECT_EQ(machine.seen(0, 0).frozen_longest, static_cast<std::int64_t>(length));
  }
}

TEST_F(Events, CodesDecodedWithAnotherFactorAreReportedByTheFactor) {
  EventLog log = one_tensor(1);
  log.settings.shared_scale_inv = true;
  EventMachine machine(log);
  for (const float amax : {448.0f, 112.0f}) {
    machine.take(event(EventKind::cast, amax));
    machine.take(event(EventKind::forward_end));
  }
  machine.take(event(EventKind::use));
  const auto found = machine.found();
  const auto decoded = std::ranges::find(found, FindingKind::decoded_other_factor, &Finding::kind);
  ASSERT_NE(decoded, found.end());
  EXPECT_EQ(decoded->worst, 0.25);
}

TEST_F(Events, ACheckpointBringsScaleAndHistoryBack) {
  const EventLog log = one_tensor(4);
  EventMachine machine(log);
  const auto step = [&](float amax) {
    machine.take(event(EventKind::cast, amax));
    machine.take(event(EventKind::forward_end));
  };
  step(3.0f), step(5.0f);
  Event save = event(EventKind::checkpoint_save), load = event(EventKind::checkpoint_load);
  save.name = load.name = "a", load.what = "all";
  machine.take(save);
  const DelayedState kept = machine.seen(0, 0).state;
  step(100.0f), step(200.0f);
  EXPECT_NE(machine.seen(0, 0).state, kept);
  machine.take(load);
  EXPECT_EQ(machine.seen(0, 0).state, kept);
}

TEST_F(Events, TomlAndJsonLinesSayTheSame) {
  write_bytes(path("a.jsonl"), R"({"settings":{"amax_history_len":4,"ranks":2}}
{"tensor":{"name":"L0/x","group":[0,1]}}
{"event":"cast","tensor":"L0/x","amax":"inf","rank":1}
{"event":"amax_allreduce","ranks":[0,1]}
{"event":"checkpoint_load","states":{"L0/x":{"scale":2.0,"history":[0,1,2,3]}}}
)");
  write_bytes(path("a.toml"), R"([settings]
amax_history_len = 4
ranks = 2
[[tensor]]
name = "L0/x"
group = [0, 1]
[[event]]
event = "cast"
tensor = "L0/x"
amax = inf
rank = 1
[[event]]
event = "amax_allreduce"
ranks = [0, 1]
[[event]]
event = "checkpoint_load"
states."L0/x" = { scale = 2.0, history = [0, 1, 2, 3] }
)");
  const EventLog a = read_event_log(path("a.jsonl")), b = read_event_log(path("a.toml"));
  ASSERT_EQ(a.events.size(), 3u);
  ASSERT_EQ(b.events.size(), 3u);
  EXPECT_EQ(a.settings.amax_history_len, b.settings.amax_history_len);
  EXPECT_EQ(a.tensors[0].group, b.tensors[0].group);
  for (std::size_t i = 0; i < 3; ++i) {
    EXPECT_EQ(a.events[i].kind, b.events[i].kind);
    EXPECT_EQ(float_bits(a.events[i].amax), float_bits(b.events[i].amax));
    EXPECT_EQ(a.events[i].ranks, b.events[i].ranks);
  }
  EXPECT_EQ(a.events[2].states[0].state, b.events[2].states[0].state);
  EXPECT_EQ(b.events[1].line, 12);
}

TEST_F(Events, ABadLogIsRefusedWithItsLine) {
  const auto refused = [&](const std::string& text, const std::vector<std::string>& words, const char* name = "bad.jsonl") {
    write_bytes(path(name), text);
    EXPECT_TRUE(is_line_with(message_of<DataError>([&] {
                               const EventLog log = read_event_log(path(name));
                               EventMachine(log).run();
                             }), words)) << text;
  };
  const std::string head = "{\"tensor\":{\"name\":\"L0/x\"}}\n";
  refused("", {"holds no event"});
  refused("{\n", {"bad.jsonl:1", "no JSON"});
  refused("[1]\n", {"bad.jsonl:1", "no object"});
  refused(head + "{\"event\":\"casts\"}\n", {"bad.jsonl:2", "did you mean 'cast'?"});
  refused(head + "{\"event\":\"cast\",\"tensor\":\"L0/y\",\"amax\":1}\n", {":2", "undeclared", "did you mean 'L0/x'?"});
  refused(head + "{\"event\":\"cast\",\"tensor\":\"L0/x\"}\n", {":2", "lacks 'amax'"});
  refused(head + "{\"event\":\"cast\",\"tensor\":\"L0/x\",\"amax\":\"big\"}\n", {":2", "wanted a number"});
  refused(head + "{\"event\":\"cast\",\"tensor\":\"L0/x\",\"amax\":1,\"amx\":2}\n", {":2", "unknown key", "did you mean 'amax'?"});
  refused(head + "{\"event\":\"use\",\"tensor\":\"L0/x\"}\n", {":2", "used before it is cast"});
  refused(head + "{\"event\":\"checkpoint_load\",\"name\":\"a\"}\n", {":2", "no checkpoint 'a'"});
  refused("{\"settings\":{\"margin\":-1}}\n", {":1", "'margin'", "0 to 100"});
  refused("{\"settings\":{\"amax_history_length\":4}}\n", {":1", "did you mean 'amax_history_len'?"});
  refused("[settings\n", {"bad.toml:1"}, "bad.toml");
  refused("[[evnt]]\nevent = \"step\"\n", {"bad.toml:1", "did you mean 'event'?"}, "bad.toml");
  EXPECT_THROW(read_event_log("/no/such/log.jsonl"), IoError);
}

}  // namespace
}  // namespace fp8scope
