// Same-weights probes of a model with experts: routes, parts of layers, bytes.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "src/errors.hpp"
#include "src/train/probe.hpp"
#include "tests/temporary_folder.hpp"
#include "tests/train_fixture.hpp"

namespace fp8scope::train {
namespace {

const Executor in_order = run_in_order;

TEST(Routes, CountChoicesThatTheOtherHasNotMade) {
  const Routes a{false, {{"L00", {0, 1, 2, 3}}, {"L01", {0, 1, 0, 1}}}, {}};
  const Routes b{false, {{"L00", {1, 0, 2, 1}}, {"L01", {0, 1, 0, 1}}}, {}};  // the order of two experts is no change
  EXPECT_EQ(rerouted(a, b, 2, "L00"), 0.25);
  EXPECT_EQ(rerouted(a, b, 2, "L01"), 0.0);
  EXPECT_EQ(rerouted(a, b, 2), 0.125);
  EXPECT_EQ(rerouted({}, {}, 2), 0.0);
}

// Memory and bytes sent stand beside the error in every row of the probe, so every switch has to have one.
TEST(ProbeVariants, CoverEverySwitch) {
  const Table table = probe_variants();
  const auto words = [&](const char* column) { return std::get<std::vector<std::string>>(table.column(column).values); };
  std::string all = " ";
  for (const std::string& settings : words("switches")) all += settings + " ";
  for (const std::string& mode : words("mode"))
    for (const Mode& m : modes())
      if (m.name == mode) all += std::string(m.settings) + " ";
  for (const Switch& row : switches()) EXPECT_NE(all.find(" " + std::string(row.name) + "="), std::string::npos) << row.name;
}

class MoeProbe : public TemporaryFolder {
 protected:
  MoeProbe() : corpus_(small_corpus(path("text")), 16), run_(tiny_run("fp32", "tiny_moe", corpus_)) {
    Trainer trainer(run_, corpus_, in_order);
    while (!trainer.finished()) trainer.step();
    trainer.save(path("state"));
  }
  Table probe(const std::vector<std::string>& variants) {
    return run_probe(run_, corpus_, in_order, {{path("state")}, variants, 4});
  }
  /// Number in `column` of a variant's row.
  static double value(const Table& table, const std::string& variant, const std::string& tensor, const std::string& column) {
    const auto &names = text(table, "variant"), &tensors = text(table, "tensor");
    for (std::size_t i = 0; i < names.size(); ++i)
      if (names[i] == variant && tensors[i] == tensor) return std::get<std::vector<double>>(table.column(column).values)[i];
    ADD_FAILURE() << variant << " " << tensor;
    return 0.0;
  }
  static const std::vector<std::string>& text(const Table& table, const std::string& column) {
    return std::get<std::vector<std::string>>(table.column(column).values);
  }
  Corpus corpus_;
  RunConfig run_;
};

TEST_F(MoeProbe, HasRowsForLayersPartsAndTensors) {
  const Table table = probe({"dsv3"});
  const auto& scopes = text(table, "scope");
  const auto count = [&](const char* scope) { return std::ranges::count(scopes, scope); };
  EXPECT_EQ(count("model"), 1);
  EXPECT_EQ(count("layer"), 2);
  EXPECT_EQ(count("part"), 2 * 4);
  EXPECT_EQ(count("tensor"), 3 + 2 * (4 + 1 + 4 * 2));  // embedding, norm, head; norms, qkv, o; gate; experts
  for (const char* part : {"L00.attention", "L00.norms", "L01.gate", "L01.experts"})
    EXPECT_GT(value(table, "dsv3", part, "gradient_error"), 0.0) << part;
  EXPECT_EQ(value(table, "dsv3", "L01.gate", "gradient_error"), value(table, "dsv3", "L01.gate.w", "gradient_error"));
  EXPECT_EQ(probe_summary(table, "part").rows(), 8);
}

TEST_F(MoeProbe, EveryCauseHasItsEffect) {
  const Table table = probe({"fp32", "bf16", "gate_bf16", "gate_fp8", "experts_fp8", "dispatch_bf16", "dispatch_fp8", "combine_bf16", "combine_fp8"});
  EXPECT_EQ(value(table, "fp32", "all", "gradient_error"), 0.0);
  EXPECT_EQ(value(table, "fp32", "all", "gradient_error_held"), 0.0);
  const auto error = [&](const char* variant) { return value(table, variant, "all", "gradient_error_held"); };
  for (const auto& [coarse, fine] : {std::pair{"gate_fp8", "gate_bf16"}, {"dispatch_fp8", "dispatch_bf16"}, {"combine_fp8", "combine_bf16"}}) {
    EXPECT_GT(error(fine), 0.0) << fine;
    EXPECT_GT(error(coarse), 4.0 * error(fine)) << coarse;
  }
  // Each cause shows in the gradients of the experts themselves.
  for (const char* variant : {"experts_fp8", "dispatch_fp8", "combine_fp8"})
    EXPECT_GT(value(table, variant, "L01.experts", "gradient_error_held"), 0.0) << variant;
  EXPECT_LT(value(table, "dispatch_fp8", "all", "traffic"), 0.8 * value(table, "bf16", "all", "traffic"));
  EXPECT_LT(value(table, "combine_fp8", "all", "traffic"), 0.8 * value(table, "bf16", "all", "traffic"));
  EXPECT_LT(value(table, "experts_fp8", "all", "memory"), value(table, "bf16", "all", "memory"));
}

// Expert results are BF16 when the products round them: sending them in BF16 then costs nothing at all.
TEST_F(MoeProbe, CombineInBf16IsFreeOfBf16Results) {
  const auto gradients = [&](const std::vector<std::string>& settings) {
    Trainer trainer(tiny_run("bf16", "tiny_moe", corpus_, settings), corpus_, in_order);
    trainer.load_weights(path("state"));
    trainer.replicas().gradients(in_order, corpus_.training(1, 20, 8));
    return trainer.replicas().first().parameters.gradients;
  };
  EXPECT_EQ(gradients({}), gradients({"combine=fp32"}));
  EXPECT_NE(gradients({"activations=fp32"}), gradients({"activations=fp32", "combine=fp32"}));
}

TEST_F(MoeProbe, HoldsTheRoutesOfAnotherRun) {
  const auto run = [&](std::uint64_t seed, std::int64_t micro_batches, Routes& routes) {
    RunConfig config = run_;
    config.spread = {8 / micro_batches, micro_batches, 1};
    Trainer trainer(config, corpus_, in_order);
    if (seed == 0) trainer.load_weights(path("state"));
    else trainer.replicas().first().parameters.initialise(seed, 0.0);
    trainer.replicas().gradients(in_order, corpus_.training(1, 3, 8), nullptr, &routes);
    return trainer.replicas().first().parameters.gradients;
  };
  Routes own, other, pieces;
  const std::vector<float> mine = run(0, 1, own);
  run(7, 1, other);
  EXPECT_EQ(own.experts.size(), 2u);
  EXPECT_EQ(own.experts.at("L00").size(), 8u * 16u * 2u);
  EXPECT_GT(rerouted(own, other, 2), 0.1);
  Routes same = own, strange = other;
  same.held = strange.held = true;
  EXPECT_EQ(run(0, 1, same), mine);  // its own routes change nothing
  EXPECT_NE(run(0, 1, strange), mine);
  EXPECT_EQ(strange.read.at("L01"), strange.experts.at("L01").size());
  run(0, 4, pieces);  // the same order whatever the micro-batches
  EXPECT_EQ(pieces.experts, own.experts);
}

TEST_F(MoeProbe, CountsTheBytesOfOneStepOnly) {
  const Table table = probe({"te_current", "te_delayed"});  // the latter sees four batches before
  EXPECT_NEAR(value(table, "te_delayed", "all", "traffic") / value(table, "te_current", "all", "traffic"), 1.0, 0.05);
}

// A gate in a coarse format sends tokens elsewhere, which is no rounding: the held error is smaller.
TEST_F(MoeProbe, TellsReroutingFromRounding) {
  const Table table = probe({"gate_fp8"});
  EXPECT_GT(value(table, "gate_fp8", "all", "rerouted"), 0.0);
  EXPECT_LT(value(table, "gate_fp8", "all", "gradient_error_held"), value(table, "gate_fp8", "all", "gradient_error"));
}

}  // namespace
}  // namespace fp8scope::train
