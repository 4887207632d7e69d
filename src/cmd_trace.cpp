#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "sim/names.hpp"
#include "src/cmd_trace.hpp"
#include "src/command.hpp"
#include "src/errors.hpp"
#include "src/options.hpp"
#include "src/table.hpp"
#include "src/trace.hpp"

namespace fp8scope {

namespace {

std::string joined_gemms(const TensorInfo& info) {
  std::string text;
  for (const GemmUse& use : info.gemms)
    text += fmt::format("{}{}:{}", text.empty() ? "" : ",", use.gemm, use.axis);
  return text;
}

}  // namespace

Table list_tensors(const Trace& trace) {
  Table table("tensors", "recorded tensors");
  auto& name = table.add<std::string>("tensor", "1", "layer/operand");
  auto& dtype = table.add<std::string>("dtype", "1", "stored type");
  auto& steps = table.add<std::int64_t>("steps", "1", "stored steps");
  auto& rows = table.add<std::int64_t>("rows", "1", "rows of a step");
  auto& cols = table.add<std::int64_t>("cols", "1", "columns");
  auto& sampling =
      table.add<std::string>("rows_of", "1", "how the rows were sampled, and of how many");
  auto& gemms =
      table.add<std::string>("gemms", "1", "products that read it, with the contraction axis");
  for (const TensorInfo& info : trace.tensors()) {
    name.push_back(info.name()), dtype.push_back(info.dtype), steps.push_back(info.steps);
    rows.push_back(info.rows), cols.push_back(info.cols), gemms.push_back(joined_gemms(info));
    sampling.push_back(fmt::format("{} of {}{}", info.row_sampling, info.rows_total,
                                   info.constant ? ", constant" : ""));
  }
  return table;
}

namespace {

/// One row per slot of the amax history. Over finite values; a median is the lower one.
Table history_statistics(const Trace& trace) {
  const AmaxHistory& history = trace.history();
  Table table("history", "amax of every step");
  auto& slot = table.add<std::string>("slot", "1", "layer/operand");
  auto& steps = table.add<std::int64_t>("steps", "1", "steps in the history");
  auto& least = table.add<float>("amax_min", "1", "smallest amax");
  auto& median = table.add<float>("amax_median", "1", "median amax");
  auto& most = table.add<float>("amax_max", "1", "largest amax");
  auto& at = table.add<std::int64_t>("max_at_step", "1", "step of the largest amax");
  auto& recorded =
      table.add<std::string>("recorded", "1", "whether the tensor itself is in the file");
  for (std::size_t k = 0; k < history.slot.size(); ++k) {
    std::vector<float> column;
    for (std::size_t t = 0; t < history.step.size(); ++t) column.push_back(history.at(t, k));
    const auto top = std::ranges::max_element(column);
    slot.push_back(history.slot[k]), steps.push_back(std::ssize(column));
    at.push_back(column.empty() ? -1
                                : history.step[static_cast<std::size_t>(top - column.begin())]);
    std::ranges::sort(column);
    least.push_back(column.empty() ? NAN : column.front()),
        most.push_back(column.empty() ? NAN : column.back());
    median.push_back(column.empty() ? NAN : column[(column.size() - 1) / 2]);
    const bool here = std::ranges::any_of(
        trace.tensors(), [&](const TensorInfo& i) { return i.name() == history.slot[k]; });
    recorded.push_back(here ? "yes" : "no");
  }
  return table;
}

std::string step_range(const std::vector<std::int64_t>& steps) {
  if (steps.empty()) return "none";
  return fmt::format("{} ({} to {})", steps.size(), steps.front(), steps.back());
}

/// What the file says of itself, a line each.
void print_attributes(const Trace& trace) {
  for (const h5::Attribute& a : trace.attributes())
    std::visit(
        [&](const auto& value) {
          if constexpr (std::is_same_v<std::decay_t<decltype(value)>, std::vector<std::string>>)
            fmt::print("{:28} {}\n", a.name, fmt::join(value, ", "));
          else
            fmt::print("{:28} {}\n", a.name, value);
        },
        a.value);
  fmt::print("{:28} {}\n", "recorded steps", step_range(trace.steps()));
  fmt::print("{:28} {}\n\n", "history steps", step_range(trace.history().step));
}

int list(const Trace& trace, TableStyle style) {
  fmt::print("{}", print_table(list_tensors(trace), style));
  return 0;
}

int statistics(const Trace& trace, TableStyle style) {
  if (style == TableStyle::text) print_attributes(trace);
  fmt::print("{}", print_table(history_statistics(trace), style));
  return 0;
}

int check(const Trace& trace, TableStyle style) {
  const std::vector<TraceCheck> checks = verify(trace);
  Table table("checks", "what was verified");
  auto& tensor = table.add<std::string>("tensor", "1", "layer/operand");
  auto& verdict = table.add<std::string>("verdict", "1", "good or bad");
  auto& message = table.add<std::string>("message", "1", "what was compared");
  for (const TraceCheck& c : checks)
    tensor.push_back(c.what), verdict.push_back(c.good ? "good" : "bad"),
        message.push_back(c.message);
  fmt::print("{}", print_table(table, style));
  const auto bad = std::ranges::find(checks, false, &TraceCheck::good);
  if (bad == checks.end()) return 0;
  throw DataError(
      fmt::format("'{}': {} of {} checks failed, the first: {}: {}; copy the file again",
                  trace.path(), std::ranges::count(checks, false, &TraceCheck::good), checks.size(),
                  bad->what, bad->message));
}

/// An action that only reads a trace.
template <int (*show)(const Trace&, TableStyle)>
int run_reader(const Args& args) {
  Options options("trace " + args[0], "FILE");
  options.add("format,f", "FORMAT", "text, csv, json or md (default text)");
  if (!options.parse({args.begin() + 1, args.end()})) return 0;
  const TableStyle style = parse_table_style(options.text_or("format", "text"));
  return show(Trace(options.words()[0]), style);
}

struct Action {
  std::string_view name, summary;
  int (*run)(const Args&);  ///< the first word is the action's name
};

// To add an action: a function, and a row here.
constexpr Action actions[] = {
    {"ls", "list the tensors", run_reader<list>},
    {"stat", "attributes, and the largest magnitudes of every step", run_reader<statistics>},
    {"verify", "read everything and compare checksums and magnitudes", run_reader<check>},
    {"import", "safetensors, npy, npz or raw files to a trace", run_trace_import},
    {"slice", "some layers, operands, steps and rows of a trace as another", run_trace_slice},
    {"synth", "synthetic tensors, or a trace with outliers injected", run_trace_synth},
    {"export", "tensors of a trace as safetensors, npy or csv", run_trace_export},
};
// The completion scripts take the names from there.
static_assert(std::ranges::equal(actions, trace_actions, {}, &Action::name));

void print_actions() {
  fmt::print("usage: fp8scope trace ACTION ... [options]\n\n");
  for (const Action& action : actions) fmt::print("  {:10} {}\n", action.name, action.summary);
  fmt::print("\n'fp8scope trace ACTION --help' shows the options of an action.\n");
}

}  // namespace

int run_trace(const Args& args) {
  if (args.empty())
    throw UsageError("trace: expected ls, stat, verify, import, slice, synth or export "
                     "(see 'fp8scope trace --help')");
  if (args[0] == "--help" || args[0] == "-h") return print_actions(), 0;
  return by_name(actions, args[0], "action of 'trace'").run(args);
}

}  // namespace fp8scope
