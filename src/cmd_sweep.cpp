#include <fmt/format.h>

#include <filesystem>
#include <nlohmann/json.hpp>

#include "src/command.hpp"
#include "src/errors.hpp"
#include "src/options.hpp"
#include "src/run_options.hpp"
#include "src/sweep/sweep.hpp"

namespace fp8scope {
namespace {

/// A driver reads errors as it reads events.
int as_json(int code, const std::string& message) {
  fmt::print(stderr, "{}\n", nlohmann::json{{"error", {{"code", code}, {"message", message}}}}.dump(
                                 -1, ' ', true, nlohmann::json::error_handler_t::replace));
  return code;
}

}  // namespace

int run_sweep(const Args& args) {
  Options options("sweep", "SPEC");
  options.add("output,o", "RUN", "folder of the run: plan, journals and results.h5");
  options.add_list("set", "KEY=VALUE", "replace a key of SPEC, e.g. grid.margin=[0,1]; may be repeated");
  options.flag("resume", "go on with what RUN already holds; a fresh RUN is fine too");
  options.add("shard", "I/N", "only part I of N, from 0; auto: as Slurm, mpirun or PBS say. 'merge' publishes");
  options.flag("dry-run", "print points, bytes, memory and time, and stop");
  options.flag("show-config", "print the merged specification with the origin of every key, and stop");
  options.flag("plan-only", "write the plan to RUN and stop, so that parts need not hash the trace again");
  options.add("max-points", "N", "refuse larger grids, default 1000000");
  options.add("max-mem", "BYTES", "tensors held in memory at a time, default 1GiB");
  add_run_options(options);
  options.flag("reproducible", "leave out of the results all that differs between runs and machines");
  options.flag("force", "go on with a run that another version of this program began");
  options.flag("json", "events for drivers on standard error, one JSON object a line; the result as JSON");
  options.flag("no-progress", "no progress on standard error");
  options.add("progress-every", "SECONDS", "distance of progress lines where standard error is no terminal, default 30");
  bool json = false;
  try {
    if (!options.parse(args)) return 0;
    json = options.has("json");
    return sweep(options, args);
  } catch (const Error& error) {
    if (!json) throw;
    return as_json(static_cast<int>(error.code()), error.what());
  } catch (const std::invalid_argument& error) {
    if (!json) throw;
    return as_json(static_cast<int>(Exit::usage), error.what());
  }
}

int run_merge(const Args& args) {
  Options options("merge", "RUN");
  options.add("output,o", "FILE", "result file, default RUN/results.h5");
  options.flag("partial", "publish although parts are missing");
  options.flag("reproducible", "leave out of the results all that differs between runs and machines");
  options.flag("json", "the result as JSON");
  if (!options.parse(args)) return 0;
  return merge(options, args);
}

}  // namespace fp8scope
