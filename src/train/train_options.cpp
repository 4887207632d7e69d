#include "src/train/train_options.hpp"

#include <fmt/format.h>

#include "sim/names.hpp"
#include "src/errors.hpp"

namespace fp8scope::train {
namespace {

std::int64_t number(const Options& options, const char* name, std::int64_t fallback, std::int64_t low, std::int64_t high) {
  const std::uint64_t value = options.number_or(name, static_cast<std::uint64_t>(fallback));
  if (value < static_cast<std::uint64_t>(low) || value > static_cast<std::uint64_t>(high))
    throw UsageError(fmt::format("--{} {}: between {} and {}", name, value, low, high));
  return static_cast<std::int64_t>(value);
}

double positive(const Options& options, const char* name, double fallback) {
  const double value = options.real_or(name, fallback);
  if (!(value >= 0.0 && value < 1e6)) throw UsageError(fmt::format("--{} {}: a number from 0 on", name, value));
  return value;
}

void check(const RunConfig& run) {
  const ModelConfig& m = run.shape;
  if (m.experts > 0 && (m.top_k > m.experts || m.experts % m.expert_ranks != 0))
    throw UsageError(fmt::format("{} experts: no more than that to a token, and as many on each of the {} ranks", m.experts,
                                 m.expert_ranks));
}

}  // namespace

void add_model_options(Options& options) {
  options.add("model,m", "NAME", "shape: s (0.9 M parameters, default), m (5 M), moe, tiny, tiny_moe");
  options.add("mode", "NAME", "preset of the switches: bf16 (default), fp32, te_delayed, te_current, te_block, dsv3, mxfp8, ...");
  options.add("set", "SWITCH=VALUE,...", "switches of their own, after the mode's; --list shows all");
  options.add("steps,n", "N", "training steps, default 1000");
  options.add("batch,b", "N", "sequences of a micro-batch, default 16");
  options.add("micro-batches", "N", "whose gradients are summed, default 1");
  options.add("data-ranks", "N", "emulated ranks that average their gradients, default 1");
  options.add("expert-ranks", "N", "emulated ranks that the experts are spread over");
  options.add("rate", "X", "peak learning rate, default 0.002; warm-up, then a cosine to a tenth");
  options.add("warmup", "N", "steps of the warm-up, default 100");
  options.add("seed", "N", "of the initial weights and the order of the text, default 1");
  options.add("perturb", "X", "relative change of every initial weight, default 0; 1e-6 for an A/A control");
  options.add("validate-every", "N", "steps, default 100; 0: at the end only");
  options.add("corpus", "FILE", "text, default notebooks-data/corpus/kjv.txt; its last tenth is held out");
}

RunConfig read_run(const Options& options) {
  RunConfig run;
  run.model = options.text_or("model", "s");
  run.shape = by_name(model_shapes, run.model, "model").config;
  run.mode = options.text_or("mode", "bf16");
  run.precision = mode_precision(run.mode);
  for (const std::string& setting : options.list("set")) set_switch(run.precision, setting);
  run.optimizer.steps = number(options, "steps", 1000, 1, 10'000'000);
  run.optimizer.rate = positive(options, "rate", 2e-3);
  run.optimizer.warmup = number(options, "warmup", 100, 1, 10'000'000);
  run.spread = {number(options, "batch", 16, 1, 4096), number(options, "micro-batches", 1, 1, 4096),
                number(options, "data-ranks", 1, 1, 64)};
  run.shape.expert_ranks = number(options, "expert-ranks", run.shape.expert_ranks, 1, 4096);
  run.seed = static_cast<std::uint64_t>(number(options, "seed", 1, 0, 1'000'000'000));
  run.perturbation = positive(options, "perturb", 0.0);
  run.validate_every = number(options, "validate-every", 100, 0, 10'000'000);
  check(run);
  return run;
}

std::string corpus_path(const Options& options) { return options.text_or("corpus", "notebooks-data/corpus/kjv.txt"); }

std::string list_text(TableStyle style) {
  Table mode_table("modes", ""), switch_table("switches", ""), model_table("models", "");
  const auto column = [](Table& table, const char* name, const auto& rows, const auto& text) {
    auto& values = table.add<std::string>(name, "1", "");
    for (const auto& row : rows) values.emplace_back(text(row));
  };
  column(mode_table, "mode", modes(), [](const Mode& m) { return std::string(m.name); });
  column(mode_table, "meaning", modes(), [](const Mode& m) { return std::string(m.meaning); });
  column(mode_table, "switches", modes(), [](const Mode& m) { return std::string(m.settings); });
  column(switch_table, "switch", switches(), [](const Switch& s) { return std::string(s.name); });
  column(switch_table, "values", switches(), [](const Switch& s) { return std::string(s.values); });
  column(switch_table, "default", switches(), [](const Switch& s) {
    Precision usual;
    return *s.fields(usual)[0];
  });
  column(switch_table, "meaning", switches(), [](const Switch& s) { return std::string(s.meaning); });
  column(model_table, "model", model_shapes, [](const NamedModel& m) { return std::string(m.name); });
  column(model_table, "shape", model_shapes, [](const NamedModel& m) {
    const ModelConfig& c = m.config;
    return fmt::format("hidden {}, {} layers, {} heads, ffn {}, context {}", c.hidden, c.layers, c.heads, c.ffn, c.context);
  });
  column(model_table, "meaning", model_shapes, [](const NamedModel& m) { return std::string(m.meaning); });
  return print_table(mode_table, style) + "\n" + print_table(switch_table, style) + "\n" + print_table(model_table, style);
}

}  // namespace fp8scope::train
