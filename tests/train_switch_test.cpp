// Every switch: what it changes, and that it changes nothing else.
#include <gtest/gtest.h>

#include <filesystem>
#include <set>

#include "src/errors.hpp"
#include "src/train/ledger.hpp"
#include "tests/temporary_folder.hpp"
#include "tests/train_fixture.hpp"

namespace fp8scope::train {
namespace {

const Executor in_order = run_in_order;

/// What a step of training leaves behind.
struct Step {
  double loss;
  std::vector<float> gradients, values;
  std::vector<ParameterTensor> tensors;
  double memory, traffic;
};

/// What may change. Everything not named stays as it is, bit for bit.
enum Effect : unsigned {
  loss = 1,        ///< the loss, hence all gradients
  linear = 2,      ///< gradients of linear layers' weights
  passed = 4,      ///< gradients passed on through linear layers: of norms and the embedding
  update = 8,      ///< the weights after two updates
  less_memory = 16,
  less_traffic = 32,
  only_o = 64,     ///< of the linear gradients, those after attention alone
  routing = 256,   ///< tokens go elsewhere: more or fewer bytes
  only_down = 128, ///< those before which an activation was computed again, and what lies below
};

struct Case {
  const char* setting;
  unsigned effect;
  const char* mode = "bf16";
  const char* model = "tiny";
  std::int64_t micro_batches = 1, ranks = 1;
  const char* base = nullptr;  ///< set on both sides
};

constexpr unsigned all = loss | linear | passed | update;
constexpr Case cases[] = {
    {"gemms=te_current", all | less_memory},
    {"fprop=te_current", all | less_memory},
    {"dgrad=te_current", linear | passed | update},
    {"wgrad=te_current", linear | update | less_memory},
    {"accumulator=hopper_wgmma", all, "te_current"},
    {"fprop_accumulator=hopper_wgmma", all, "te_current"},
    {"dgrad_accumulator=hopper_wgmma", linear | passed | update, "te_current"},
    {"wgrad_accumulator=hopper_wgmma", linear | update, "te_current"},
    {"promote=8", all, "fp32"},
    {"cast=x", all, "te_current"},
    {"cast=w", all, "te_current"},
    {"cast=x+w", linear | passed | update, "te_current"},
    {"activations=fp32", all},
    {"residual=bf16", all | less_memory},
    {"master=bf16", update | less_memory},
    {"gradients=bf16", linear | update | less_memory, "bf16", "tiny", 2},
    {"moments=bf16", update | less_memory},
    {"moments=fp8", update | less_memory},
    {"linear_cache=fp8", linear | update | less_memory},
    {"cache_scales=fp32", linear | update, "dsv3", "tiny", 1, 1, "linear_cache=fp8"},
    {"attention_cache=e5m6", linear | update | less_memory | only_o},
    {"attention_cache=fp8", linear | update | less_memory | only_o},
    {"swiglu_cache=recompute", less_memory},
    {"swiglu_cache=fp8", linear | passed | update | less_memory | only_down},
    {"experts=te_current", all | less_memory | routing, "bf16", "tiny_moe"},
    {"dispatch=fp8", all | less_traffic, "bf16", "tiny_moe"},
    {"combine=fp8", all | less_traffic, "bf16", "tiny_moe"},
    {"allreduce=bf16", linear | passed | update | less_traffic, "bf16", "tiny", 1, 2},
    {"allreduce=fp8", linear | passed | update | less_traffic, "bf16", "tiny", 1, 2},
    {"embedding=te_current", all},
    {"head=te_current", all},
    {"gate=te_current", all | less_memory | routing, "bf16", "tiny_moe"},
    {"attention=te_current", all},
    {"norms=bf16", all},
};

class Switches : public TemporaryFolder, public testing::WithParamInterface<Case> {
 protected:
  Switches() : corpus_(small_corpus(path("text")), 16) {}

  Step step(const Case& c, std::vector<std::string> settings) {
    if (c.base) settings.insert(settings.begin(), c.base);
    RunConfig run = tiny_run(c.mode, c.model, corpus_, settings);
    run.spread = {8, c.micro_batches, c.ranks};
    Trainer trainer(run, corpus_, in_order);
    Step out;
    Replicas& replicas = trainer.replicas();
    out.loss = replicas.gradients(in_order, corpus_.training(1, 0, run.spread.all()));
    Parameters& p = replicas.first().parameters;
    out.gradients = p.gradients, out.tensors = p.tensors;
    out.memory = memory_bytes(replicas.first(), 8 * 16).own;
    out.traffic = 0.0;
    for (const auto& [name, count] : replicas.traffic().counts) out.traffic += count.bytes;
    // Twice, because moments are rounded after they were used.
    for (std::int64_t s = 0; s < 2; ++s) trainer.optimizer().step(in_order, p, s);
    out.values = p.values;
    return out;
  }
  Corpus corpus_;
};

bool differ(const std::vector<float>& a, const std::vector<float>& b, const ParameterTensor& t) {
  for (std::size_t i = t.offset; i < t.offset + t.size(); ++i)
    if (float_bits(a[i]) != float_bits(b[i])) return true;
  return false;
}

TEST_P(Switches, ChangeWhatTheySayAndNothingElse) {
  const Case& c = GetParam();
  const Step before = step(c, {}), after = step(c, {c.setting});
  const auto has = [&](Effect e) { return (c.effect & e) != 0; };
  EXPECT_EQ(before.loss != after.loss, has(loss));
  std::set<std::string> linear_changed, passed_changed;
  for (const ParameterTensor& t : before.tensors) {
    if (!differ(before.gradients, after.gradients, t)) continue;
    if (t.group == "linear") linear_changed.insert(t.name);
    else if (t.group == "norm" || t.group == "embedding") passed_changed.insert(t.name);
    else EXPECT_TRUE(has(loss) || c.ranks > 1 || c.micro_batches > 1) << t.name;  // head and gate
  }
  EXPECT_EQ(!linear_changed.empty(), has(linear));
  EXPECT_EQ(!passed_changed.empty(), has(passed));
  if (has(only_o)) {
    EXPECT_EQ(linear_changed, (std::set<std::string>{"L00.o.w", "L01.o.w"}));
  }
  if (has(only_down)) {
    EXPECT_TRUE(linear_changed.contains("L01.down.w"));
    EXPECT_FALSE(passed_changed.contains("norm"));
  }
  EXPECT_EQ(before.values != after.values, has(update));
  EXPECT_EQ(after.memory < before.memory, has(less_memory)) << before.memory << " -> " << after.memory;
  if (!has(routing)) {
    EXPECT_EQ(after.traffic < before.traffic, has(less_traffic)) << before.traffic << " -> " << after.traffic;
  }
}

INSTANTIATE_TEST_SUITE_P(Each, Switches, testing::ValuesIn(cases), [](const auto& info) {
  std::string name = info.param.setting;
  for (char& letter : name)
    if (!std::isalnum(static_cast<unsigned char>(letter))) letter = '_';
  return name;
});

TEST(SwitchTable, EverySwitchHasACase) {
  for (const Switch& row : switches()) {
    const bool found = std::ranges::any_of(cases, [&](const Case& c) {
      return std::string_view(c.setting).starts_with(std::string(row.name) + "=");
    });
    EXPECT_TRUE(found) << row.name;
  }
}

TEST(SwitchTable, TextSetsTheSameAgain) {
  for (const Mode& mode : modes()) {
    const Precision precision = mode_precision(mode.name);
    Precision again;
    std::string text = precision_text(precision);
    for (std::size_t space; !text.empty(); text.erase(0, std::min(space, text.size() - 1) + 1)) {
      space = std::min(text.find(' '), text.size());
      set_switch(again, text.substr(0, space));
    }
    EXPECT_EQ(precision_text(again), precision_text(precision)) << mode.name;
  }
}

TEST(SwitchTable, RefusesWhatItDoesNotKnow) {
  Precision p;
  EXPECT_THROW(set_switch(p, "moments=fp9"), UsageError);
  EXPECT_THROW(set_switch(p, "momnts=bf16"), UsageError);
  EXPECT_THROW(set_switch(p, "gemms"), UsageError);
  EXPECT_THROW(set_switch(p, "gemms=te_currentt"), UsageError);
  EXPECT_THROW(set_switch(p, "accumulator=hoper"), UsageError);
}

// Scales that are powers of two keep the codes when the input is cast again along the tokens.
TEST_F(TemporaryFolder, PowerOfTwoScalesOfACacheLoseLess) {
  const Corpus corpus(small_corpus(path("text")), 16);
  const auto gradients = [&](const std::vector<std::string>& settings) {
    Trainer trainer(tiny_run("te_block", "tiny", corpus, settings), corpus, in_order);
    trainer.replicas().gradients(in_order, corpus.training(1, 0, 8));
    return trainer.replicas().first().parameters;
  };
  const Parameters exact = gradients({}), pow2 = gradients({"linear_cache=fp8"}),
                   fp32 = gradients({"linear_cache=fp8", "cache_scales=fp32"});
  double lost_pow2 = 0.0, lost_fp32 = 0.0;
  for (std::size_t i = 0; i < exact.gradients.size(); ++i) {
    lost_pow2 += std::pow(exact.gradients[i] - pow2.gradients[i], 2);
    lost_fp32 += std::pow(exact.gradients[i] - fp32.gradients[i], 2);
  }
  EXPECT_GT(lost_fp32, 20.0 * lost_pow2);
  EXPECT_GT(lost_fp32, 0.0);
}

}  // namespace
}  // namespace fp8scope::train
