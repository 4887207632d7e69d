#include "src/sweep/sweep.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <set>

#include "sim/simd/isa.hpp"
#include "src/errors.hpp"
#include "src/output_file.hpp"
#include "src/run_options.hpp"
#include "src/sweep/engine.hpp"
#include "src/sweep/estimate.hpp"
#include "src/sweep/ledger.hpp"
#include "src/sweep/publish.hpp"
#include "src/sweep/run_folder.hpp"
#include "src/sweep/stop.hpp"

namespace fp8scope {
namespace {

namespace fs = std::filesystem;

/// A setting of [run]: how a sweep is run, never what it gives.
struct RunSetting {
  const char* key;
  const char* fallback;
  const char* environment;
  const char* option;
};
constexpr RunSetting run_settings[] = {
    {"run.threads", "0", "FP8SCOPE_THREADS", "threads"},
    {"run.max_mem", "\"1GiB\"", "FP8SCOPE_MAX_MEM", "max-mem"},
    {"run.isa", "\"auto\"", "FP8SCOPE_ISA", "isa"},
    {"run.max_points", "1000000", "FP8SCOPE_MAX_POINTS", "max-points"},
};

std::string user_config() {
  if (const auto folder = process_environment("XDG_CONFIG_HOME"); folder && !folder->empty()) return *folder + "/fp8scope/config.toml";
  if (const auto home = process_environment("HOME"); home && !home->empty()) return *home + "/.config/fp8scope/config.toml";
  return "";
}

/// Built in < the user's config.toml < SPEC < environment < --set and options.
Config merged_config(const Options& options) {
  Config config;
  for (const RunSetting& s : run_settings) config.set(fmt::format("{}={}", s.key, s.fallback), "built in");
  if (const std::string user = user_config(); !user.empty() && fs::exists(user)) config.add_file(user);
  config.add_file(options.words()[0]);
  for (const RunSetting& s : run_settings)
    if (const auto value = process_environment(s.environment)) config.set(fmt::format("{}={}", s.key, *value), s.environment);
  for (const std::string& assignment : options.strings("set")) config.set(assignment, "--set");
  for (const RunSetting& s : run_settings)
    if (const auto value = options.text(s.option)) config.set(fmt::format("{}={}", s.key, *value), fmt::format("--{}", s.option));
  return config;
}

struct Running {
  EngineOptions engine;
  Isa isa;
  std::uint64_t most_points;
};

Running running_of(const Config& config) {
  const auto setting = [&](const char* key) { return config.find(key)->value(); };
  Running running{};
  running.engine.threads = thread_count(parse_number(setting("run.threads"), "run.threads"));
  running.engine.max_memory = parse_bytes(setting("run.max_mem"), "run.max_mem");
  running.isa = use_isa(setting("run.isa"));
  running.most_points = parse_number(setting("run.max_points"), "run.max_points");
  return running;
}

/// Relative to the working directory, else to the specification.
std::string trace_path(const SweepSpec& spec) {
  if (spec.trace.empty() || fs::exists(spec.trace) || fs::path(spec.trace).is_absolute()) return spec.trace;
  const fs::path beside = fs::path(spec.file).parent_path() / spec.trace;
  return fs::exists(beside) ? beside.string() : spec.trace;
}

/// Size and SHA-256, from plan.json where the file has not been touched since.
InputFile identity_of(const std::string& path, const std::optional<RunFolder>& folder) {
  if (folder)
    if (const auto frozen = folder->frozen_trace();
        frozen && frozen->modified != 0 && frozen->modified == modified_time(path) && frozen->identity.bytes == fs::file_size(path))
      return frozen->identity;
  return identify(path);
}

MeterStyle style_of(const Options& options) {
  return options.has("json") ? MeterStyle::json : options.has("no-progress") ? MeterStyle::none : MeterStyle::automatic;
}

std::string resume_line(const Options& options) {
  std::string line = fmt::format("fp8scope sweep {} -o {} --resume", options.words()[0], *options.text("output"));
  for (const std::string& set : options.strings("set")) line += fmt::format(" --set '{}'", set);
  for (const char* option : {"shard", "threads", "max-mem", "max-points", "isa"})
    if (const auto value = options.text(option)) line += fmt::format(" --{} {}", option, *value);
  for (const char* flag : {"reproducible", "json", "force"})
    if (options.has(flag)) line += fmt::format(" --{}", flag);
  return line;
}

void print_result(const Published& published, const std::string& path, const std::string& status, bool json) {
  if (json)
    return fmt::print("{}\n", nlohmann::ordered_json{{"schema", "fp8scope-sweep-1"}, {"results", path}, {"status", status},
                                                     {"items", published.items}, {"items_done", published.found},
                                                     {"rows", published.rows}, {"skipped", published.skipped},
                                                     {"failed", published.failed}}
                                  .dump(-1, ' ', false, nlohmann::json::error_handler_t::replace));
  if (published.summary.rows() > 0 && published.summary.columns.size() > 1)
    fmt::print("{}\n", print_table(published.summary, TableStyle::text));
  fmt::print("{}: {}, {} rows", path, status, published.rows);
  if (published.skipped > 0) fmt::print(", {} skipped (the first: {})", published.skipped, published.first_skip);
  fmt::print("\n");
}

[[noreturn]] void report_failures(const Published& published) {
  throw DataError(fmt::format("{} of {} rows failed, the first: {}; their status is 2, and --resume tries them again",
                              published.failed, published.rows, published.first_failure));
}

/// One process of a sweep.
class Session {
 public:
  Session(const Options& options, const Args& args, SweepPlan plan, const Trace* trace, const Running& running, RunFolder folder)
      : options_(options), args_(args), plan_(std::move(plan)), trace_(trace), running_(running), folder_(std::move(folder)),
        shard_(options.has("shard") ? parse_shard(*options.text("shard"), process_environment) : Shard{}) {}

  int run() {
    const auto lock = folder_.lock(shard_);
    require_resume();
    run_part();
    const int signal = stop_signal();
    if (shard_.count == 1) return finish(signal);
    if (signal == 0) {
      if (!options_.has("json"))
        fmt::print("part {}/{} is done; when all are: fp8scope merge {}\n", shard_.index, shard_.count, folder_.path());
      return 0;
    }
    return interrupted(signal);
  }

 private:
  void require_resume() const {
    const std::vector<std::string> journals = folder_.journals();
    const bool begun = shard_.count == 1 ? !journals.empty() : fs::exists(folder_.journal(shard_));
    if (begun && !options_.has("resume"))
      throw UsageError(fmt::format("'{}': this sweep has begun; add --resume to go on with it", folder_.path()));
  }

  void run_part() {
    Work work(plan_, shard_);
    std::vector<std::string> warnings;
    {
      const Ledger before(plan_, folder_.journals());
      for (std::uint64_t item = 0; item < plan_.items(); ++item)
        if (before.has(item) && before.worst(item) != RowStatus::failed) work.mark_done(item);
      warnings = before.warnings();
    }
    const Work::Total total = work.total();
    SweepMeter meter(style_of(options_), options_.real_or("progress-every", 30.0), total.items, total.done, total.cost, total.cost_done);
    for (const std::string& warning : warnings) meter.message(warning);
    catch_stop_signals();
    JournalWriter journal(folder_.journal(shard_), plan_.hash());
    run_items(plan_, work, trace_, running_.engine, journal, meter);
  }

  int finish(int signal) {
    const Ledger ledger(plan_, folder_.journals());
    const bool complete = ledger.found() == plan_.items();
    if (complete || ledger.found() > 0) {
      const auto lock = folder_.lock_results();
      const RunInfo info{args_, std::string(isa_name(running_.isa)), running_.engine.threads};
      const Published published = publish(plan_, ledger, folder_.results(), info, options_.has("reproducible"));
      if (complete || options_.has("json")) print_result(published, folder_.results(), complete ? "complete" : "partial", options_.has("json"));
      if (complete && published.failed > 0) report_failures(published);
    }
    return complete ? 0 : interrupted(signal);
  }

  int interrupted(int signal) const {
    const std::string how = resume_line(options_);
    if (options_.has("json"))
      fmt::print(stderr, "{}\n", nlohmann::ordered_json{{"event", "interrupted"}, {"signal", signal}, {"resume", how}}.dump());
    else
      fmt::print(stderr, "fp8scope: stopped by signal {}; all finished items are in '{}'. To go on:\n  {}\n", signal, folder_.path(), how);
    return stop_code(signal);
  }

  const Options& options_;
  const Args& args_;
  SweepPlan plan_;
  const Trace* trace_;
  Running running_;
  RunFolder folder_;
  Shard shard_;
};

/// "parts 2/4, 3/4": those of which there is no journal.
std::string missing_parts(const RunFolder& folder) {
  std::set<std::uint64_t> counts;
  for (const std::string& path : folder.journals()) {
    const std::string name = fs::path(path).stem().string();
    counts.insert(parse_number(name.substr(name.rfind('-') + 1), "journal name"));
  }
  std::string parts;
  int named = 0;
  for (const std::uint64_t count : counts)
    for (std::uint64_t i = 0; i < count && named < 8; ++i)
      if (!fs::exists(folder.journal({i, count}))) parts += fmt::format("{}{}/{}", named++ ? ", " : "; no journal of ", i, count);
  return parts;
}

}  // namespace

int sweep(const Options& options, const Args& args) {
  const Config config = merged_config(options);
  SweepSpec spec = read_spec(config, options.words()[0]);
  if (options.has("show-config")) return fmt::print("{}", config.text("", true)), 0;
  const Running running = running_of(config);
  std::optional<RunFolder> folder;
  if (!options.has("dry-run")) folder.emplace(options.required("output"));
  const std::string path = trace_path(spec);
  std::optional<Trace> trace;
  Catalog catalog;
  InputFile identity;
  if (!path.empty()) {
    trace.emplace(path);
    catalog = catalog_of(*trace, spec.select);
    if (folder) identity = identity_of(path, folder);
  }
  SweepPlan plan(std::move(spec), running.most_points, std::move(catalog), identity);
  if (!options.has("json"))
    for (const std::string& warning : plan.grid().warnings) fmt::print(stderr, "fp8scope: {}\n", warning);
  const Trace* tensors = trace ? &*trace : nullptr;
  for (const SourceSettings& settings : plan.grid().sources)  // wrong settings are said before any work
    Source(settings, plan.layout(0).catalog, tensors);
  if (options.has("dry-run"))
    return fmt::print("{}", estimate_text(plan, estimate(plan, tensors, running.engine), options.has("json"))), 0;
  folder->freeze(plan, path, options.has("force"));
  if (options.has("plan-only")) return fmt::print("{}: {} points, {} items\n", folder->path(), plan.grid().points.size(), plan.items()), 0;
  return Session(options, args, std::move(plan), tensors, running, std::move(*folder)).run();
}

int merge(const Options& options, const Args& args) {
  const RunFolder folder(options.words()[0]);
  const SweepPlan plan = folder.frozen_plan();
  const std::string output = options.text_or("output", folder.results());
  const Ledger ledger(plan, folder.journals());
  for (const std::string& warning : ledger.warnings()) fmt::print(stderr, "fp8scope: {}\n", warning);
  const bool complete = ledger.found() == plan.items();
  if (!complete && !options.has("partial"))
    throw DataError(fmt::format("'{}': {} of {} items are missing{}; resume the parts, or publish what there is with --partial",
                                folder.path(), plan.items() - ledger.found(), plan.items(), missing_parts(folder)));
  const auto lock = folder.lock_results();
  const Published published = publish(plan, ledger, output, {args, std::string(isa_name(isa())), 1}, options.has("reproducible"));
  print_result(published, output, complete ? "complete" : "partial", options.has("json"));
  if (published.failed > 0) report_failures(published);
  return 0;
}

}  // namespace fp8scope
