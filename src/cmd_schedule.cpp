#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "sim/names.hpp"
#include "src/command.hpp"
#include "src/options.hpp"
#include "src/output_file.hpp"
#include "src/schedule/costs.hpp"
#include "src/table.hpp"

namespace fp8scope {
namespace {

/// A number of the plan that the command line can change. To add one, add a row.
struct PlanNumber {
  const char *option, *help;
  double TrainingPlan::*real;
  int TrainingPlan::*whole;
};

constexpr PlanNumber numbers[] = {
    {"ranks", "ranks of a pipeline, 16", nullptr, &TrainingPlan::ranks},
    {"micro-batches", "of a step of a pipeline, 120", nullptr, &TrainingPlan::micro_batches},
    {"tokens", "of a micro-batch, 4096", &TrainingPlan::tokens, nullptr},
    {"sequence", "tokens that attend to each other, 4096", &TrainingPlan::sequence, nullptr},
    {"layers", "61", &TrainingPlan::layers, nullptr},
    {"hidden", "channels, 7168", &TrainingPlan::hidden, nullptr},
    {"attention-parameters", "of a layer, 187.1e6", &TrainingPlan::attention_parameters, nullptr},
    {"mlp-parameters", "of a layer, that a token uses, 396.4e6", &TrainingPlan::mlp_parameters, nullptr},
    {"gemm-tflops", "peak of the products, 1979 (FP8)", &TrainingPlan::gemm_tflops, nullptr},
    {"attention-tflops", "peak of attention, 989 (BF16)", &TrainingPlan::attention_tflops, nullptr},
    {"efficiency", "share of the peak that is reached, 0.6", &TrainingPlan::efficiency, nullptr},
    {"sms", "of a GPU, 132", nullptr, &TrainingPlan::sms},
    {"communication-sms", "of them, 20", nullptr, &TrainingPlan::communication_sms},
    {"channels", "that these SMs run, 10", nullptr, &TrainingPlan::channels},
    {"channel-gbps", "GB/s of a channel, 5", &TrainingPlan::channel_gbps, nullptr},
    {"link-gbps", "GB/s of a GPU to other nodes, 50", &TrainingPlan::link_gbps, nullptr},
    {"remote-nodes", "a token is sent to on average, 3.5", &TrainingPlan::remote_nodes, nullptr},
};

TrainingPlan read_plan(const Options& options) {
  TrainingPlan plan;
  for (const PlanNumber& n : numbers) {
    if (n.real) plan.*n.real = options.real_or(n.option, plan.*n.real);
    if (n.whole) plan.*n.whole = static_cast<int>(std::min<std::uint64_t>(options.number_or(n.option, plan.*n.whole), 1u << 16));
  }
  plan.dispatch_bytes = wire_bytes(options.text_or("dispatch", "fp8"));
  plan.combine_bytes = wire_bytes(options.text_or("combine", "bf16"));
  return plan;
}

nlohmann::ordered_json timeline(const PipelineResult& result) {
  auto rows = nlohmann::ordered_json::array();
  for (const PlacedSegment& s : result.placed)
    rows.push_back({{"rank", s.rank}, {"lane", s.lane == LaneKind::compute ? "compute" : "communication"},
                    {"part", part_name(s.part)}, {"pass", s.is_backward ? "backward" : "forward"},
                    {"direction", s.flow.direction}, {"micro_batch", s.flow.micro_batch}, {"start", s.start}, {"end", s.end}});
  return rows;
}

}  // namespace

int run_schedule(const Args& args) {
  Options options("schedule", "");
  options.add("schedules,s", "A,B,...", "1f1b, zb1p, dualpipe; all of them unless given");
  options.add("dispatch", "WIRE", "bytes of a value sent to experts: fp8 (default), fp8_ue8m0, mxfp8, bf16, fp32");
  options.add("combine", "WIRE", "and of one sent back: bf16 (default), ...");
  for (const PlanNumber& n : numbers) options.add(n.option, "N", n.help);
  options.add("timeline", "FILE", "every piece as it was placed, JSON");
  if (!options.parse(args)) return 0;

  const TrainingPlan plan = read_plan(options);
  std::vector<std::string> names = options.list("schedules");
  if (names.empty()) for (const NamedSchedule& s : pipeline_schedules()) names.emplace_back(s.name);

  Table table("schedules", "one training step of a pipeline, simulated");
  auto& name = table.add<std::string>("schedule", "1", "order of the chunks");
  auto& seconds = table.add<double>("seconds", "s", "of the step");
  auto& compute = table.add<double>("compute_%", "%", "of a rank's time");
  auto& exposed = table.add<double>("exposed_%", "%", "compute waits for its own chunk's communication");
  auto& bubble = table.add<double>("bubble_%", "%", "compute waits for another rank");
  auto& chunks = table.add<std::int64_t>("activations", "1", "micro-batches held, the rank with most");
  auto& copies = table.add<std::int64_t>("parameters", "1", "stages that a rank holds");
  auto& formula = table.add<std::string>("published_bubble", "1", "of a rank, without communication");
  const ChunkCosts costs = chunk_costs(plan);
  nlohmann::ordered_json all{{"schema", "fp8scope-schedule-1"}, {"schedules", nlohmann::ordered_json::array()}};
  for (const std::string& each : names) {
    const NamedSchedule& schedule = by_name(pipeline_schedules(), each, "schedule");
    const PipelineResult result = simulate(make_program(schedule, plan.ranks, plan.micro_batches), costs);
    RankUse sum;
    for (const RankUse& use : result.ranks) {
      sum.compute += use.compute / plan.ranks, sum.exposed += use.exposed / plan.ranks;
      sum.peak_chunks = std::max(sum.peak_chunks, use.peak_chunks);
    }
    name.push_back(each), seconds.push_back(result.seconds), compute.push_back(100 * sum.compute / result.seconds);
    exposed.push_back(100 * sum.exposed / result.seconds);
    bubble.push_back(100 * (1 - (sum.compute + sum.exposed) / result.seconds));
    chunks.push_back(sum.peak_chunks), copies.push_back(schedule.parameter_copies), formula.emplace_back(schedule.bubble);
    if (options.has("timeline"))
      all["schedules"].push_back({{"name", each}, {"seconds", result.seconds}, {"segments", timeline(result)}});
  }
  if (const auto path = options.text("timeline")) {
    OutputFile file(*path);
    file.write(all.dump(1) + "\n");
    file.commit();
  }
  fmt::print("{}", print_table(table, TableStyle::text));
  return 0;
}

}  // namespace fp8scope
