// Delayed scaling driven by events: Transformer Engine's own sequences, and situations that users met.
#include "src/events/event_machine.hpp"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <random>
#include <set>

#include "sim/recipe_delayed.hpp"
#include "sim/recipes/history.hpp"
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
    log.settings.rule.kind = name.ends_with("_unfused") ? HistoryKind::te_unfused : HistoryKind::te_fused;
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
    ++(log.settings.rule.kind == HistoryKind::te_fused ? fused : unfused);
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

TEST_F(Events, GiveTorchaosStatesOfItsRemovedDelayedScalingStepByStep) {
  FP8SCOPE_OPEN_GOLDEN(golden, "scaling.h5");
  int sequences = 0;
  for (const h5::Entry& entry : golden.group("torchao_delayed_removed").entries()) {
    const std::string& name = entry.name;
    if (!name.ends_with("_init_scale")) continue;
    const std::string stem = name.substr(0, name.size() - 11), path = "torchao_delayed_removed/" + stem;
    EventLog log = one_tensor(std::stoul(stem.substr(stem.find("_L") + 2)));
    log.settings.rule.kind = HistoryKind::torchao;
    EventMachine machine(log);
    std::vector<float> actual, first;
    for (const float amax : golden.dataset("te_delayed/seq_" + stem.substr(0, stem.find("_L"))).values<float>()) {
      machine.take(event(EventKind::cast, amax));
      if (first.empty()) first.push_back(machine.casts()[0].scale);
      machine.take(event(EventKind::forward_end));  // moves nothing
      machine.take(event(EventKind::optimizer_step));
      const DelayedState& state = machine.seen(0, 0).state;
      actual.push_back(state.scale);
      actual.insert(actual.end(), state.history.begin(), state.history.end());
    }
    EXPECT_TRUE(same_bits(golden.dataset(path + "_init_scale").values<float>(), first)) << stem;
    EXPECT_TRUE(same_bits(golden.dataset(path).values<float>(), actual)) << stem;
    ++sequences;
  }
  EXPECT_EQ(sequences, 12);
}

/// MS-AMP's meta of one tensor, line after line from its Python: TypeCast.cast_to_fp8 and
/// LBOptimizer._update_scaling_factors.
struct PythonMeta {
  std::vector<float> amax;
  float scale = 1.0f;
  int counter = 0;

  static float factor(float a, float scale) {  // compute_scaling_factor, margin 0, MAX 448
    const float exp = std::floor(std::log2(1.0f / a * 448.0f));
    float sf = std::round(std::pow(2.0f, std::fabs(exp)));
    sf = a > 0.0f ? sf : scale;
    sf = std::isfinite(a) ? sf : scale;
    return exp < 0.0f ? 1.0f / sf : sf;
  }
  float cast(float a) {
    const bool in_time = amax.size() == 1 || counter < static_cast<int>(amax.size());
    if (in_time) amax[0] = a, scale = factor(amax[0], scale);
    if (a > amax[0]) amax[0] = a;  // the kernel's atomicMax
    return scale;
  }
  void step() {
    const bool valid = std::isfinite(amax[0]);
    if (!valid) amax[0] = 0.0f;
    scale = factor(*std::max_element(amax.begin(), amax.end()), scale);
    std::rotate(amax.begin(), amax.end() - 1, amax.end());
    amax[0] = 0.0f;
    ++counter;
    if (!valid) counter = 0;
  }
};

/// Amaxes of all kinds: zeros, infinities, subnormal ones, many sizes.
float any_amax(std::mt19937& random) {
  const unsigned kind = random() % 12;
  if (kind < 2) return kind == 0 ? 0.0f : bits_float(inf_bits);
  if (kind == 2) return bits_float(random() % 100);
  return bits_float(0x38000000u + random() % 0x10000000u) * 1.37f;
}

TEST_F(Events, GiveMsAmpsStatesWithSeveralCastsToAnUpdate) {
  std::mt19937 random(5);
  for (const std::size_t length : {1, 2, 16}) {
    EventLog log = one_tensor(length);
    log.settings.rule.kind = HistoryKind::msamp;
    EventMachine machine(log);
    PythonMeta meta{std::vector<float>(length)};
    for (int step = 0; step < 400; ++step) {
      for (unsigned cast = 0; cast < 1 + random() % 3; ++cast) {
        const float amax = any_amax(random);
        machine.take(event(EventKind::cast, amax));
        ASSERT_EQ(float_bits(machine.casts().back().scale), float_bits(meta.cast(amax))) << length << " step " << step;
      }
      machine.take(event(EventKind::optimizer_step));
      meta.step();
      const DelayedState& state = machine.seen(0, 0).state;
      ASSERT_EQ(float_bits(state.scale), float_bits(meta.scale)) << length << " step " << step;
      ASSERT_TRUE(same_bits(state.history, meta.amax)) << length << " step " << step;
      ASSERT_EQ(state.counted, meta.counter);
    }
  }
}

TEST_F(Events, MsAmpWorkedByHand) {
  EventLog log = one_tensor(2);
  log.settings.rule.kind = HistoryKind::msamp;
  EventMachine machine(log);
  const auto cast = [&](float amax) {
    machine.take(event(EventKind::cast, amax));
    return machine.casts().back().scale;
  };
  const float inf = bits_float(inf_bits);
  EXPECT_EQ(cast(10.0f), 32.0f);             // in time: 448/10 = 44.8, down to 32
  machine.take(event(EventKind::optimizer_step));
  EXPECT_EQ(cast(100.0f), 4.0f);             // one update of two: still in time
  machine.take(event(EventKind::optimizer_step));
  EXPECT_EQ(cast(1000.0f), 4.0f);            // the window is full: the past decides, and this clips
  machine.take(event(EventKind::optimizer_step));
  EXPECT_EQ(cast(1.0f), 0.25f);              // max(100, 1000): floor(log2(0.448)) = -2, 2^-2
  machine.take(event(EventKind::optimizer_step));
  EXPECT_EQ(cast(inf), 0.25f);               // recorded
  machine.take(event(EventKind::optimizer_step));
  EXPECT_EQ(machine.seen(0, 0).state.counted, 0);
  EXPECT_EQ(machine.seen(0, 0).state.scale, 256.0f);  // from max(0, 1)
  EXPECT_EQ(cast(inf), 1.0f / 256.0f);       // in time again: MAX / inf is 0, its log2 below 0, so 1/prev
}

TEST_F(Events, TheJaxVariantUpdatesInsideTheCastAndHasNoGuard) {
  EventLog log = one_tensor(2);
  log.settings.rule.kind = HistoryKind::te_jax;
  log.settings.rule.margin = 1;
  EventMachine machine(log);
  const auto cast = [&](float amax) {
    machine.take(event(EventKind::cast, amax));
    machine.take(event(EventKind::forward_end));  // moves nothing
    return machine.casts().back().scale;
  };
  const float inf = bits_float(inf_bits);
  EXPECT_EQ(cast(2.0f), 1.0f);                      // the scale there is
  EXPECT_EQ(machine.seen(0, 0).state.scale, 112.0f);  // (448 / 2) / 2
  EXPECT_EQ(cast(1.0f), 112.0f);
  EXPECT_EQ(cast(0.0f), 112.0f);                    // window of 2 and 1
  EXPECT_EQ(cast(0.0f), 224.0f);                    // of 1 and 0
  EXPECT_EQ(cast(0.0f), 224.0f);                    // of zeros: it stays
  EXPECT_EQ(cast(inf), 224.0f);
  EXPECT_EQ(cast(4.0f), 224.0f);                    // an infinity in the window: it stays
  EXPECT_EQ(cast(bits_float(1)), 224.0f);
  EXPECT_EQ(cast(bits_float(1)), 56.0f);            // of 4 and a subnormal
  EXPECT_EQ(cast(1.0f), inf);                       // of subnormals: no guard
  EXPECT_EQ(machine.seen(0, 0).updates, 10);
}

TEST_F(Events, GiveTheScalesOfEveryLibrarysRecipe) {
  struct Library {
    const char* recipe;
    HistoryKind kind;
  };
  std::mt19937 random(9);
  for (const Library& library : {Library{"te_delayed:update=unfused:amax_history_len={}", HistoryKind::te_unfused},
                                 Library{"te_delayed:update=jax:amax_history_len={}", HistoryKind::te_jax},
                                 Library{"torchao_delayed:history_len={}", HistoryKind::torchao},
                                 Library{"msamp:window={}", HistoryKind::msamp}})
    for (const std::size_t length : {1, 3, 16}) {
      EventLog log = one_tensor(length);
      log.settings.rule.kind = library.kind;
      EventMachine machine(log);
      const auto recipe = make_recipe(fmt::format(fmt::runtime(library.recipe), length), {});
      for (int step = 0; step < 300; ++step) {
        const float amax = any_amax(random);
        Scales scales;
        recipe->step({&amax, 1}, {&scales, 1});
        machine.take(event(EventKind::cast, amax));
        ASSERT_TRUE(same_bits(std::vector{machine.casts().back().scale}, std::vector{scales.scale}))
            << library.recipe << " " << length << " step " << step;
        machine.take(event(EventKind::forward_end));
        machine.take(event(EventKind::optimizer_step));
      }
    }
}

TEST_F(Events, AWindowOfZerosGivesTorchaoAScaleThatSaturatesTheNextTensor) {
  EventLog log = one_tensor(2);
  log.settings.rule.kind = HistoryKind::torchao;
  EventMachine machine(log);
  for (const float amax : {1.0f, 0.0f, 0.0f, 0.001f}) {
    machine.take(event(EventKind::cast, amax));
    machine.take(event(EventKind::optimizer_step));
  }
  EXPECT_EQ(machine.casts().back().scale, 448.0f / 1e-12f);  // 4.48e14
  const auto found = machine.found();
  const auto clipped = std::ranges::find(found, FindingKind::clipped, &Finding::kind);
  ASSERT_NE(clipped, found.end());
  EXPECT_NEAR(clipped->worst, 1e9, 1e3);
  // A skipped module's buffer keeps the amax of its last cast: sync takes it once more.
  machine.take(event(EventKind::optimizer_step));
  EXPECT_EQ(machine.seen(0, 0).state.history, (std::vector{0.001f, 0.001f}));
}

TEST_F(Events, LibrariesThatReduceInsideTheCastTakeTheLargestAmaxOfTheGroup) {
  const auto log_of = [&](const std::string& settings, const std::string& tensor, const std::string& ends) {
    std::string text = R"({"settings":{"ranks":2,)" + settings + "}}\n" + R"({"tensor":{"name":"L0/x")" + tensor + "}}\n";
    for (const auto& [a, b] : {std::pair{"2", "8"}, std::pair{"7", "\"nan\""}})
      text += fmt::format(R"({{"event":"cast","tensor":"L0/x","amax":{},"rank":0}}
{{"event":"cast","tensor":"L0/x","amax":{},"rank":1}}
)", a, b) + ends;
    write_bytes(path("log.jsonl"), text);
    return read_event_log(path("log.jsonl"));
  };
  const EventLog torchao = log_of(R"("update":"torchao","amax_history_len":4)", "", R"({"event":"amax_allreduce"}
{"event":"optimizer_step"}
)");
  EventMachine first(torchao);
  first.run();
  EXPECT_EQ(first.casts()[0].scale, 56.0f);  // both from 8
  EXPECT_EQ(first.casts()[1].scale, 56.0f);
  EXPECT_EQ(first.casts()[2].scale, 56.0f);
  EXPECT_TRUE(is_nan(first.seen(0, 0).state.scale));
  const EventLog msamp = log_of(R"("update":"msamp","amax_history_len":4)", R"(,"class":"gradient","format":"e4m3","sync":true)", "");
  EventMachine second(msamp);
  second.run();
  EXPECT_EQ(second.casts()[0].scale, 32.0f);  // 448/8 = 56, down
  EXPECT_EQ(second.casts()[1].scale, 32.0f);
  EXPECT_EQ(second.casts()[2].scale, 1.0f / 32.0f);  // NaN counts as infinity: 1/prev
  const EventLog jax = log_of(R"("update":"jax")", "", R"({"event":"amax_allreduce"}
)");
  EXPECT_TRUE(is_line_with(message_of<DataError>([&] { EventMachine(jax).run(); }), {"JAX", "without a rank"}));
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
  EXPECT_EQ(found_in("torchao_zero_window"), Names{"clipped"});
  EXPECT_EQ(found_in("torchao_no_sync"), (Names{"clipped", "never_updated", "update_missing"}));
  EXPECT_EQ(found_in("torchao_inf"), Names{"bad_scale"});
  EXPECT_EQ(found_in("msamp_healthy"), Names{});
  EXPECT_EQ(found_in("msamp_window"), Names{"clipped"});
  EXPECT_EQ(found_in("jax_unguarded"), (Names{"bad_scale", "cold_start", "wasted_range"}));
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
  refused("{\"settings\":{\"update\":\"jaxx\"}}\n", {":1", "'update'", "did you mean 'jax'?"});
  refused("{\"settings\":{\"update\":\"torchao\",\"margin\":1}}\n", {":1", "'margin'", "torchao"});
  refused("{\"tensor\":{\"name\":\"L0/x\",\"sync\":true}}\n", {":1", "'sync'", "msamp"});
  refused("[settings\n", {"bad.toml:1"}, "bad.toml");
  refused("[[evnt]]\nevent = \"step\"\n", {"bad.toml:1", "did you mean 'event'?"}, "bad.toml");
  EXPECT_THROW(read_event_log("/no/such/log.jsonl"), IoError);
}

}  // namespace
}  // namespace fp8scope
