#include <fmt/format.h>
#include <tbb/global_control.h>

#include <algorithm>
#include <csignal>
#include <filesystem>

#include "src/command.hpp"
#include "src/errors.hpp"
#include "src/output_file.hpp"
#include "src/parallel.hpp"
#include "src/progress.hpp"
#include "src/run_options.hpp"
#include "src/train/probe.hpp"
#include "src/train/recorder.hpp"
#include "src/train/run_output.hpp"
#include "src/train/train_options.hpp"

namespace fp8scope {
namespace {

using namespace train;

volatile std::sig_atomic_t stop_asked = 0;

/// From here on SIGINT and SIGTERM end the run after the step it is in.
void stop_gently() {
  stop_asked = 0;
  for (const int signal : {SIGINT, SIGTERM}) std::signal(signal, [](int) { stop_asked = 1; });
}

std::vector<std::int64_t> numbers_of(const Options& options, const std::string& name) {
  std::vector<std::int64_t> numbers;
  for (const std::string& word : options.list(name))
    numbers.push_back(static_cast<std::int64_t>(parse_number(word, "--" + name)));
  std::ranges::sort(numbers);
  return numbers;
}

std::vector<std::int64_t> step_numbers(const Options& options, std::int64_t steps) {
  std::vector<std::int64_t> numbers = numbers_of(options, "record-steps");
  if (numbers.empty()) numbers.push_back(steps - 1);
  if (numbers.back() >= steps) throw UsageError(fmt::format("--record-steps {}: the last step is {}", numbers.back(), steps - 1));
  return numbers;
}

std::unique_ptr<Recorder> make_recorder(const Options& options, std::int64_t steps) {
  const auto path = options.text("record");
  if (!path) return nullptr;
  if (options.has("checkpoint"))
    throw UsageError("--record keeps the history of a whole run and cannot be continued; leave out --checkpoint");
  return std::make_unique<Recorder>(RecordOptions{*path, step_numbers(options, steps), options.list("record-layers"),
                                                  static_cast<std::int64_t>(options.number_or("record-rows", 0))});
}

void run_steps(Trainer& trainer, Recorder* recorder, const Options& options) {
  const auto checkpoint = options.text("checkpoint");
  const auto every = static_cast<std::int64_t>(options.number_or("checkpoint-every", 100));
  const std::int64_t total = trainer.config().optimizer.steps;
  const std::vector<std::int64_t> kept = numbers_of(options, "keep");
  if (!kept.empty() && !checkpoint) throw UsageError("--keep needs --checkpoint FILE: states are kept as FILE.STEP");
  const auto keep = [&] {
    if (std::ranges::binary_search(kept, trainer.steps())) trainer.save(fmt::format("{}.{}", *checkpoint, trainer.steps()));
  };
  Progress progress("train", static_cast<std::uint64_t>(total - trainer.steps()), !options.has("no-progress"));
  stop_gently();
  keep();
  while (!trainer.finished()) {
    if (recorder) recorder->begin_step(trainer.steps());
    const double loss = trainer.step(recorder);
    progress.add(1);
    keep();
    const bool due = every > 0 && trainer.steps() % every == 0;
    if (checkpoint && (due || stop_asked || trainer.finished())) trainer.save(*checkpoint);
    if (stop_asked && !trainer.finished())
      throw InterruptedError(checkpoint ? fmt::format("stopped after step {}; the same command goes on from '{}'",
                                                      trainer.steps(), *checkpoint)
                                        : fmt::format("stopped after step {}; nothing was kept (--checkpoint)", trainer.steps()));
    if (const double norm = trainer.curve().gradient_norm.back(); !(loss < 1e30 && norm < 1e30)) {
      const std::string where = nearest_not_finite(trainer.replicas().first().parameters);
      fmt::print(stderr, "fp8scope: at step {} the loss is {} and the norm of the gradients {}{}: the run diverged and ends here\n",
                 trainer.steps() - 1, loss, norm, where.empty() ? "" : ", not finite from " + where + " on backwards");
      break;
    }
  }
}

void print_summary(Trainer& trainer) {
  const Curve& curve = trainer.curve();
  Table table("validation", "");
  table.add<std::int64_t>("step", "1", "") = curve.validation_step;
  table.add<double>("validation_loss", "nat", "") = curve.validation_loss;
  fmt::print("{}", print_table(table, TableStyle::text));
  if (!curve.loss.empty()) fmt::print("last training loss {:.9g}\n", curve.loss.back());
}

int train_run(const Options& options, const Args& args, RunConfig run, const Corpus& corpus, Isa isa, int threads) {
  const Executor execute = threads > 1 ? Executor(run_in_parallel) : Executor(run_in_order);
  const auto recorder = make_recorder(options, run.optimizer.steps);
  const auto output = options.text("output"), checkpoint = options.text("checkpoint");
  for (const auto& file : {output, checkpoint, options.text("record")})
    if (file) {
      require_other_file(*file, corpus_path(options));
      const OutputFile writable(*file, hdf5_kind);  // a folder that is not there shows now, not after the run
    }
  Trainer trainer(run, corpus, execute);
  if (checkpoint && std::filesystem::exists(*checkpoint)) trainer.load(*checkpoint);
  run_steps(trainer, recorder.get(), options);

  const auto parameters = std::ssize(trainer.replicas().first().parameters.values);
  if (output) {
    Results results;
    results.schema = "fp8train";
    results.title = "loss curves and bytes of a training run";
    results.attributes = run_attributes(trainer.config(), parameters);
    results.inputs.push_back(identify(corpus_path(options)));
    add_run_tables(trainer, results);
    write_results(*output, results, {args, std::string(isa_name(isa)), threads}, options.has("reproducible"));
  }
  if (recorder) recorder->write(trace_attributes(trainer.config(), parameters, corpus_path(options)));
  print_summary(trainer);
  return 0;
}

int train_probe(const Options& options, const Args& args, const RunConfig& run, const Corpus& corpus, Isa isa, int threads) {
  const Executor execute = threads > 1 ? Executor(run_in_parallel) : Executor(run_in_order);
  ProbeOptions probe;
  probe.checkpoints = options.list("probe");
  probe.variants = options.list("variants");
  probe.history = static_cast<std::int64_t>(options.number_or("probe-history", 16));
  const std::string scope = options.text_or("scope", "model");
  if (scope != "model" && scope != "layer" && scope != "part" && scope != "tensor")
    throw UsageError(fmt::format("--scope {}: wanted model, layer, part or tensor", scope));
  const Table table = run_probe(run, corpus, execute, probe);
  if (const auto output = options.text("output")) {
    Results results;
    results.schema = "fp8train";
    results.title = "gradients and loss of each switch against binary32 at the same weights";
    results.attributes = run_attributes(run, 0);
    results.inputs.push_back(identify(corpus_path(options)));
    for (const std::string& path : probe.checkpoints) results.inputs.push_back(identify(path));
    results.tables.push_back(table);
    write_results(*output, results, {args, std::string(isa_name(isa)), threads}, options.has("reproducible"));
  }
  fmt::print("{}", print_table(probe_summary(table, scope), TableStyle::text));
  return 0;
}

}  // namespace

int run_train(const Args& args) {
  Options options("train", "");
  add_model_options(options);
  options.add("output,o", "FILE", "loss curves, bytes held and sent, or the probe's results (HDF5)");
  options.add("checkpoint", "FILE", "state of the run; where it exists already, the run goes on from it, bit for bit");
  options.add("checkpoint-every", "N", "steps, default 100");
  options.add("keep", "LIST", "steps whose states are also kept, as CHECKPOINT.STEP, for the probe");
  options.add("record", "FILE", "trace of the linear layers' operands (fp8trace), with the amax history of all steps");
  options.add("record-steps", "LIST", "steps whose tensors are recorded, default the last");
  options.add("record-layers", "LIST", "beginnings of the names of layers, such as L00. or L03.down; default all");
  options.add("record-rows", "N", "first rows of x and dy that are recorded, default all");
  options.add("probe", "CHECKPOINT,...", "no training: gradients and loss of the variants against FP32 at these weights");
  options.add("variants", "LIST", "of the probe, default all; 'list' prints them");
  options.add("scope", "NAME", "rows of the probe that are printed: model (default), layer, part, tensor");
  options.add("probe-history", "N", "batches that recipes with a memory see before, default 16");
  add_run_options(options);
  options.flag("reproducible", "leave out of the results all that differs between runs and machines");
  options.flag("no-progress", "no progress bar");
  options.flag("list", "print the modes, switches and models");
  options.flag("list-md", "the same in Markdown: notebooks-data/docs/train.md");
  if (!options.parse(args)) return 0;
  if (options.has("list")) return fmt::print("{}", list_text(TableStyle::text)), 0;
  if (options.has("list-md")) return fmt::print("# Modes, switches and models of `fp8scope train`\n\n{}", list_text(TableStyle::md)), 0;
  if (options.text_or("variants", "") == "list") return fmt::print("{}", print_table(probe_variants(), TableStyle::text)), 0;

  RunConfig run = read_run(options);
  const int threads = thread_count(options);
  const Isa isa = use_isa(options);
  const tbb::global_control limit(tbb::global_control::max_allowed_parallelism, static_cast<std::size_t>(threads));
  const Corpus corpus(corpus_path(options), run.shape.context);
  run.shape.vocabulary = corpus.vocabulary();
  run.corpus_sha256 = identify(corpus_path(options)).sha256;
  if (options.has("probe")) return train_probe(options, args, run, corpus, isa, threads);
  return train_run(options, args, run, corpus, isa, threads);
}

}  // namespace fp8scope
