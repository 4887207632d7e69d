#include <fmt/format.h>

#include <algorithm>

#include "src/command.hpp"
#include "src/errors.hpp"
#include "src/events/event_log.hpp"
#include "src/events/event_machine.hpp"
#include "src/options.hpp"
#include "src/output_file.hpp"
#include "src/result_file.hpp"

namespace fp8scope {
namespace {

std::string_view finding_name(FindingKind kind) {
  return std::ranges::find(findings, kind, &NamedFinding::kind)->name;
}

Table tensor_table(const EventLog& log, const EventMachine& machine) {
  Table table("tensors", "what every tensor went through on every rank");
  auto& name = table.add<std::string>("name", "1", "tensor");
  auto& role = table.add<std::string>("class", "1", "what it is to the GEMMs of its layer");
  auto& rank = table.add<std::int64_t>("rank", "1", "rank");
  auto& casts = table.add<std::int64_t>("casts", "1", "casts, recomputed ones left out");
  auto& updates = table.add<std::int64_t>("updates", "1", "updates of the scale");
  auto& moves = table.add<std::int64_t>("moves", "1", "updates that changed it");
  auto& rolls = table.add<std::int64_t>("rolls", "1", "updates that moved the history");
  auto& frozen = table.add<std::int64_t>("frozen_longest", "1", "updates in a row without a usable amax, the longest run");
  auto& scale = table.add<float>("scale", "1", "at the end");
  auto& low = table.add<double>("ratio_min", "1", "smallest amax * scale / MAX of a cast");
  auto& high = table.add<double>("ratio_max", "1", "largest; above 1 it clips");
  for (std::size_t t = 0; t < log.tensors.size(); ++t)
    for (int r = 0; r < log.settings.ranks; ++r) {
      const TensorSeen& seen = machine.seen(t, r);
      name.push_back(log.tensors[t].name);
      role.push_back(std::string(std::ranges::find(roles, log.tensors[t].role, &NamedRole::role)->name));
      rank.push_back(r), casts.push_back(seen.casts), updates.push_back(seen.updates), moves.push_back(seen.moves);
      rolls.push_back(seen.rolls), frozen.push_back(seen.frozen_longest), scale.push_back(seen.state.scale);
      low.push_back(seen.ratio_low), high.push_back(seen.ratio_high);
    }
  return table;
}

Table findings_table(const EventLog& log, const EventMachine& machine) {
  Table table("findings", "what should not happen");
  auto& name = table.add<std::string>("finding", "1", "kind");
  auto& tensor = table.add<std::string>("tensor", "1", "tensor");
  auto& rank = table.add<std::int64_t>("rank", "1", "rank");
  auto& line = table.add<std::int64_t>("line", "1", "line of the log, the first time; 0: seen at the end");
  auto& times = table.add<std::uint64_t>("times", "1", "how often");
  auto& worst = table.add<double>("worst", "1", "the largest ratio behind it; 1 where there is none");
  auto& detail = table.add<std::string>("detail", "1", "the first time");
  for (const Finding& f : machine.found()) {
    name.push_back(std::string(finding_name(f.kind))), tensor.push_back(log.tensors[f.tensor].name);
    rank.push_back(f.rank), line.push_back(f.line), times.push_back(f.times), worst.push_back(f.worst);
    detail.push_back(f.detail);
  }
  return table;
}

Table casts_table(const EventMachine& machine) {
  Table table("casts", "every cast of the log");
  table.signal = "ratio";
  const auto ids = [&](const char* name, const char* meaning, auto member) {
    auto& column = table.add<std::int64_t>(name, "1", meaning);
    for (const CastSeen& c : machine.casts()) column.push_back(static_cast<std::int64_t>(c.*member));
  };
  ids("event", "line of the log", &CastSeen::event);
  ids("step", "step", &CastSeen::step);
  ids("tensor_id", "row of lookup/tensor", &CastSeen::tensor);
  ids("rank", "rank", &CastSeen::rank);
  ids("updates", "updates of the tensor before this cast", &CastSeen::updates);
  ids("frozen_steps", "updates in a row without a usable amax", &CastSeen::frozen);
  auto& amax = table.add<float>("amax", "1", "max |x|");
  auto& scale = table.add<float>("scale", "1", "quantise multiplier");
  auto& ratio = table.add<double>("ratio", "1", "amax * scale / MAX; above 1 it clips");
  for (const CastSeen& c : machine.casts()) amax.push_back(c.amax), scale.push_back(c.scale), ratio.push_back(c.ratio);
  return table;
}

}  // namespace

int run_events(const Args& args) {
  Options options("events", "LOG");
  options.add("output,o", "FILE", "result file (HDF5): tensors, findings, casts");
  options.add("format,f", "FORMAT", "text (default), csv, json or md");
  options.flag("reproducible", "leave out of the results all that differs between runs and machines");
  if (!options.parse(args)) return 0;
  const std::string& path = options.words()[0];
  const TableStyle style = parse_table_style(options.text_or("format", "text"));
  const auto output = options.text("output");
  if (output) require_other_file(*output, path);
  const EventLog log = read_event_log(path);
  EventMachine machine(log);
  machine.run();
  const Table findings = findings_table(log, machine);
  if (output) {
    Results results;
    results.title = "delayed scaling replayed from an event log";
    results.inputs.push_back(identify(path));
    results.tables.push_back(tensor_table(log, machine));
    results.tables.push_back(findings);
    results.tables.push_back(casts_table(machine));
    Table& names = results.add("lookup/tensor", "tensors of the log");
    auto& name = names.add<std::string>("name", "1", "tensor");
    for (const EventTensor& t : log.tensors) name.push_back(t.name);
    write_results(*output, results, {args, "", 1}, options.has("reproducible"));
  }
  fmt::print("{}", print_table(tensor_table(log, machine), style));
  if (findings.rows() == 0) {
    if (style == TableStyle::text) fmt::print("\nnothing to report in {} events\n", log.events.size());
    return 0;
  }
  fmt::print("\n{}", print_table(findings, style));
  return static_cast<int>(Exit::differs);
}

}  // namespace fp8scope
