// Pipelines: the published bubbles and activations come out of the simulation, and bytes become time.
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <set>

#include "sim/names.hpp"
#include "src/schedule/costs.hpp"
#include "src/schedule/program.hpp"
#include "src/schedule/simulate.hpp"

namespace fp8scope {
namespace {

/// Chunks without communication.
ChunkCosts plain(double f, double b_input, double w) {
  const auto one = [](double seconds) { return std::vector<Segment>{{LaneKind::compute, Part::mlp, seconds}}; };
  return {one(f), one(b_input), one(w), one(b_input + w), 0.0};
}

PipelineResult run(std::string_view name, int ranks, int micro_batches, const ChunkCosts& costs) {
  return simulate(make_program(by_name(pipeline_schedules(), name, "schedule"), ranks, micro_batches), costs);
}

double bubble_seconds(const PipelineResult& result, int rank) { return result.bubble(rank) * result.seconds; }

class Pipelines : public testing::TestWithParam<int> {};
INSTANTIATE_TEST_SUITE_P(Ranks, Pipelines, testing::Values(2, 4, 8, 16));

TEST_P(Pipelines, OneForwardOneBackwardHasItsPublishedBubble) {
  const int pp = GetParam();
  const PipelineResult result = run("1f1b", pp, 3 * pp, plain(1.0, 1.25, 0.75));
  for (int rank = 0; rank < pp; ++rank)
    EXPECT_NEAR(bubble_seconds(result, rank), (pp - 1) * (1.0 + 2.0), 1e-9);
  EXPECT_EQ(result.ranks[0].peak_chunks, pp);
}

TEST_P(Pipelines, ZeroBubbleHasItsPublishedBubble) {
  const int pp = GetParam();
  const PipelineResult result = run("zb1p", pp, 3 * pp, plain(1.0, 1.0, 1.0));  // F + B - 2W = F
  for (int rank = 0; rank < pp; ++rank) EXPECT_NEAR(bubble_seconds(result, rank), (pp - 1) * 1.0, 1e-9);
  for (int rank = 0; rank < pp; ++rank) EXPECT_LE(result.ranks[rank].peak_chunks, pp);
}

TEST_P(Pipelines, DualPipeHasItsPublishedBubbleAndActivations) {
  const int pp = GetParam();
  // Pairs here do not overlap: F&B = F + B.
  const PipelineResult result = run("dualpipe", pp, 4 * pp, plain(1.0, 1.0, 1.0));
  const double f = 1.0, b = 2.0, w = 1.0;
  for (int rank = 0; rank < pp; ++rank)
    EXPECT_NEAR(bubble_seconds(result, rank), (pp / 2 - 1) * (f + b + b - 3 * w), 1e-9) << rank;
  int most = 0;
  for (const RankUse& use : result.ranks) most = std::max(most, use.peak_chunks);
  EXPECT_EQ(most, pp + 1);
}

TEST_P(Pipelines, EveryChunkRunsOnceOnEveryRankAfterWhatItNeeds) {
  const int pp = GetParam();
  for (const NamedSchedule& schedule : pipeline_schedules()) {
    const int total = 4 * pp;
    const PipelineProgram program = make_program(schedule, pp, total);
    for (const auto& ops : program) {
      std::map<std::pair<int, int>, std::string> life;  // F, then B or I, then W
      for (const ChunkOp& op : ops) {
        const auto at = [&](const Flow& f) -> std::string& { return life[{f.direction, f.micro_batch}]; };
        if (op.work == Work::pair) at(op.flow) += "F", at(op.other) += "B";
        else at(op.flow) += "FBIW"[static_cast<int>(op.work)];
      }
      EXPECT_EQ(life.size(), static_cast<std::size_t>(total)) << schedule.name;
      for (const auto& [flow, path] : life) EXPECT_TRUE(path == "FB" || path == "FIW") << schedule.name << path;
    }
  }
}

TEST(Pipeline, ALaneDoesOneThingAtATime) {
  TrainingPlan plan;
  const PipelineResult result = run("dualpipe", 8, 32, chunk_costs(plan));
  std::map<std::pair<int, LaneKind>, std::vector<std::pair<double, double>>> lanes;
  for (const PlacedSegment& s : result.placed) lanes[{s.rank, s.lane}].push_back({s.start, s.end});
  for (auto& [lane, busy] : lanes) {
    std::ranges::sort(busy);
    for (std::size_t i = 1; i < busy.size(); ++i) ASSERT_GE(busy[i].first, busy[i - 1].second - 1e-12);
  }
}

TEST(Pipeline, OverlapHidesCommunicationThat1f1bExposes) {
  const ChunkCosts costs = chunk_costs(TrainingPlan{});
  const PipelineResult dual = run("dualpipe", 16, 120, costs), plain_order = run("1f1b", 16, 120, costs);
  EXPECT_LT(dual.ranks[0].exposed, 0.5 * plain_order.ranks[0].exposed);
  EXPECT_LT(dual.seconds, plain_order.seconds);
}

TEST(Pipeline, FewerBytesTakeLessTimeByTheirRatio) {
  TrainingPlan fp8, bf16;
  bf16.dispatch_bytes = wire_bytes("bf16");
  fp8.dispatch_bytes = wire_bytes("fp8");
  EXPECT_DOUBLE_EQ(fp8.send_seconds(fp8.dispatch_bytes) / bf16.send_seconds(bf16.dispatch_bytes), 0.515625);
  EXPECT_LT(run("1f1b", 16, 120, chunk_costs(fp8)).seconds, run("1f1b", 16, 120, chunk_costs(bf16)).seconds);
}

TEST(Pipeline, ChannelsLimitTheLinkUntilThereAreEnough) {
  TrainingPlan plan;
  const double ten = plan.send_seconds(1);
  plan.channels = 5;
  EXPECT_DOUBLE_EQ(plan.send_seconds(1), 2 * ten);
  plan.channels = 20;
  EXPECT_DOUBLE_EQ(plan.send_seconds(1), ten);
}

TEST(Pipeline, RefusesWhatCannotRun) {
  const auto& dual = by_name(pipeline_schedules(), "dualpipe", "schedule");
  EXPECT_THROW(make_program(dual, 5, 20), std::invalid_argument);
  EXPECT_THROW(make_program(dual, 8, 15), std::invalid_argument);
  EXPECT_THROW(make_program(pipeline_schedules()[0], 8, 4), std::invalid_argument);
  TrainingPlan plan;
  plan.communication_sms = 132;
  EXPECT_THROW(chunk_costs(plan), std::invalid_argument);
  EXPECT_THROW(wire_bytes("fp9"), UnknownName);
  PipelineProgram stuck = make_program(pipeline_schedules()[0], 2, 2);
  std::swap(stuck[1][0], stuck[1][1]);  // the last rank's backward before its forward
  EXPECT_THROW(simulate(stuck, plain(1, 1, 1)), std::logic_error);
}

}  // namespace
}  // namespace fp8scope
