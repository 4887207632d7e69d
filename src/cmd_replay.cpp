#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <thread>

#include "sim/simd/isa.hpp"
#include "src/command.hpp"
#include "src/device_option.hpp"
#include "src/errors.hpp"
#include "src/gemm_request.hpp"
#include "src/gemm_tables.hpp"
#include "src/options.hpp"
#include "src/output_file.hpp"
#include "src/progress.hpp"
#include "src/replay.hpp"
#include "src/replay_tables.hpp"
#include "src/result_file.hpp"
#include "src/run_options.hpp"
#include "src/tiles/tile_tables.hpp"

namespace fp8scope {
namespace {

constexpr std::string_view gemm_choices[] = {"first", "all", "fprop", "dgrad", "wgrad"};

ReplayOptions read_options(const Options& options) {
  ReplayOptions replay;
  replay.recipes = options.list("recipes");
  if (replay.recipes.empty())
    replay.recipes.assign(std::begin(common_recipes), std::end(common_recipes));
  for (const std::string& recipe : replay.recipes)
    for (const NamedRole& role : roles) make_recipe(recipe, {role.role});  // before any work is done
  replay.gemms = options.text_or("gemms", "first");
  if (std::ranges::find(gemm_choices, replay.gemms) == std::end(gemm_choices))
    throw UsageError(fmt::format("--gemms {}: wanted first, all, fprop, dgrad or wgrad", replay.gemms));
  replay.max_memory = options.bytes_or("max-mem", replay.max_memory);
  replay.threads = thread_count(options);
  replay.requantise = options.has("requantise");
  if (options.has("tiles") || options.has("scales")) replay.tiles.emplace();
  if (const auto shape = options.text("tile-shape")) {
    if (!options.has("tiles")) throw UsageError("--tile-shape needs --tiles");
    if (options.has("scales")) throw UsageError("--tile-shape and --scales: scales belong to the recipe's own blocks");
    replay.tiles->shape = parse_block(*shape, "--tile-shape");
  }
  return replay;
}

TileChoice tile_choice(const Options& options) {
  TileChoice choice;
  if (const auto text = options.text("tiles")) choice = parse_tile_choice(*text);
  choice.scales = options.has("scales");
  return choice;
}

/// A tensor of nothing but NaN and infinities has no error to measure.
void require_finite(const ReplayInput& input, const ReplayItem& item) {
  if (item.facts->moments().finite > 0) return;
  throw DataError(fmt::format(
      "{}: {} at step {} holds no finite number ({} NaN, {} infinite); --allow-nan keeps it in the "
      "results, with NaN for its statistics",
      input.where, input.tensors[item.tensor].name(), input.steps[item.step],
      item.facts->moments().nans, item.facts->moments().infs));
}

/// Says which products were not computed. Throws UsageError if nothing was computed for a request.
void report(const std::vector<LeftOut>& left_out, const std::vector<std::string>& recipes,
            const std::vector<GemmRequest>& requests) {
  for (std::size_t u = 0; u < requests.size(); ++u) {
    const auto of_request = std::ranges::count(left_out, u, &LeftOut::request);
    if (of_request == std::ssize(recipes))
      throw UsageError(fmt::format("--accumulator {} --promote {}: {}", requests[u].accumulator, requests[u].promote,
                                   std::ranges::find(left_out, u, &LeftOut::request)->reason));
  }
  for (const LeftOut& l : left_out)
    fmt::print(stderr, "fp8scope: left out: {} on {} promoted {}: {}\n", recipes[l.recipe],
               requests[l.request].accumulator, requests[l.request].promote, l.reason);
}

}  // namespace

int run_replay(const Args& args) {
  Options options("replay", "TRACE");
  options.add("recipes,r", "A,B,...", "recipes as NAME[:KEY=VALUE...]; unless given, te_delayed, te_current, te_block, dsv3, mxfp8");
  options.add("output,o", "FILE", "result file (HDF5)");
  options.add("gemms", "WHICH", "use of each operand that sets the direction of its blocks: first (default), "
                                "all, fprop, dgrad, wgrad");
  options.add("accumulator,a", "A,B,...", "also compute the layers' products on these matrix units; see 'models'");
  add_gemm_options(options);
  options.flag("requantise", "products that contract rows (wgrad) cast what the first cast stands for, not the "
                             "recorded tensor");
  options.add("tiles", "WHICH", "statistics of every tile: all, worst:N, worst:N:BY (of each recipe by sqnr_db, mse, "
                                "underflow, clipped or max_rel_error); lists the worst");
  options.add("tile-shape", "ROWSxCOLS", "tiles of --tiles, the same for every recipe, instead of each recipe's blocks");
  options.flag("scales", "store the scale of every block in the results");
  options.add("max-mem", "BYTES", "tensors held in memory at a time, default 1GiB");
  add_run_options(options);
  add_device_option(options);
  options.flag("reproducible", "leave out of the results all that differs between runs and machines");
  options.flag("allow-nan", "keep tensors without a finite number");
  options.flag("no-progress", "no progress bar");
  if (!options.parse(args)) return 0;

  const std::string& path = options.words()[0];
  ReplayOptions replay_options = read_options(options);
  std::vector<GemmRequest> requests = gemm_requests(options, "");
  if (requests.empty())
    for (const char* name : {"promote", "order", "output-format", "split-k"})
      if (options.has(name)) throw UsageError(fmt::format("--{} says how products are computed: it needs --accumulator", name));
  const Isa isa = use_isa(options);
  const auto engine = device_engine(options);
  replay_options.engine = engine.get();
  const Multiply multiply = device_multiply(options);
  for (GemmRequest& request : requests) request.multiply = multiply;
  const auto output = options.text("output");
  if (output) require_other_file(*output, path);
  const Trace trace(path);
  const ReplayInput input = replay_input(trace);

  std::uint64_t total = 0;
  for (const TensorInfo& info : trace.tensors()) total += static_cast<std::uint64_t>(info.size());
  Progress progress("replay", total, !options.has("no-progress"));
  ReplayTables tables(input, replay_options);
  std::optional<TileTables> tiles;
  if (replay_options.tiles) tiles.emplace(input, replay_options, tile_choice(options));
  replay(input, replay_options, [&](const ReplayItem& item) {
    if (!options.has("allow-nan")) require_finite(input, item);
    tables.take(item);
    if (tiles) tiles->take(item);
    progress.add(static_cast<std::uint64_t>(item.facts->rows() * item.facts->cols()));
  });

  GemmTables gemms(input, replay_options, requests);
  if (!requests.empty())
    report(replay_gemms(input, replay_options, requests, [&](const GemmRecord& record) { gemms.take(record); }),
           replay_options.recipes, requests);

  if (output) {
    Results results;
    results.title = "scaling recipes replayed over a recorded trace";
    results.attributes.push_back({"recipes", replay_options.recipes});
    results.attributes.push_back({"gemms", replay_options.gemms});
    results.inputs.push_back(identify(path));
    tables.write_to(results);
    if (tiles) tiles->write_to(results);
    if (!requests.empty()) gemms.write_to(results);
    write_results(*output, results, {args, std::string(isa_name(isa)), replay_options.threads},
                  options.has("reproducible"));
  }
  fmt::print("{}", print_table(tables.summary(), TableStyle::text));
  if (options.has("tiles")) fmt::print("\n{}", print_table(tiles->worst(10), TableStyle::text));
  if (!requests.empty()) fmt::print("\n{}", print_table(gemms.summary(), TableStyle::text));
  return 0;
}

}  // namespace fp8scope
