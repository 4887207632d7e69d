#include <fmt/format.h>

#include <algorithm>

#include "src/command.hpp"
#include "src/errors.hpp"
#include "src/identify/identify.hpp"
#include "src/options.hpp"
#include "src/parallel.hpp"
#include "src/run_options.hpp"
#include "src/table.hpp"

namespace fp8scope {
namespace {

std::string spec_of(const Match& match) {
  const TensorKind& kind = match.suspect.kind;
  std::string text = match.suspect.spec;
  if (kind.role != Role::activation)
    text += fmt::format(" ({})", std::ranges::find(roles, kind.role, &NamedRole::role)->name);
  if (kind.gemm != Gemm::unknown)
    text += fmt::format(" ({})", std::ranges::find(gemm_uses, kind.gemm, &NamedGemm::gemm)->name);
  for (const std::string& alias : match.suspect.aliases) text += " = " + alias;
  return text;
}

void print_matches(const std::vector<Match>& matches) {
  Table table("matches", "");
  auto& spec = table.add<std::string>("recipe", "1", "");
  auto& version = table.add<std::string>("behaviour of", "1", "");
  auto& evidence = table.add<std::string>("evidence", "1", "");
  auto& scales = table.add<std::string>("scales", "1", "");
  auto& codes = table.add<std::string>("codes", "1", "");
  for (const Match& m : matches) {
    spec.push_back(spec_of(m)), version.push_back(m.suspect.version), evidence.push_back(m.suspect.evidence);
    scales.push_back(m.scales.text()), codes.push_back(m.codes.text());
  }
  fmt::print("{}", print_table(table, TableStyle::text));
}

void print_changed(const Identity& identity) {
  const bool exact = identity.changed.front().exact();
  fmt::print("\n{}\n", exact ? "a changed recipe reproduces every scale and code:" : "nearer with a key or two changed:");
  for (const Match& m : identity.changed) {
    if (exact && !m.exact()) break;
    fmt::print("  {}: scales {}; codes {}\n", m.suspect.spec, m.scales.text(), m.codes.text());
    for (const std::string& line : explain(m.suspect)) fmt::print("    {}\n", line);
  }
}

int report(const CodedTensor& dump, const Identity& identity) {
  fmt::print("{}: [{}, {}] {}, {} blocks, {} {} as {}{}\n", dump.where, dump.rows, dump.cols, format_name(dump.format),
             block_name(dump.block), dump.factors.size(), identity.multipliers ? "multipliers" : "factors",
             dump.scale_codes ? format_name(*dump.scale_codes) : "float32", dump.scales_turned ? ", stored turned" : "");
  if (!identity.exact.empty()) {
    fmt::print("\n{} recipe(s) reproduce every scale and code:\n", identity.exact.size());
    print_matches(identity.exact);
    if (identity.exact.size() > 1)
      fmt::print("this tensor does not tell them apart; one of bfloat16 numbers, which hit ties, with NaN and tiny tiles tells more\n");
    return static_cast<int>(Exit::ok);
  }
  fmt::print("\nno recipe reproduces every scale and code\n");
  if (identity.nearest.empty()) {
    fmt::print("no recipe has {} of {} with such scales\n", block_name(dump.block), format_name(dump.format));
    return static_cast<int>(Exit::differs);
  }
  fmt::print("\nnearest:\n");
  print_matches(identity.nearest);
  if (!identity.changed.empty()) print_changed(identity);
  if (identity.delayed_ratio > 0.0)
    fmt::print("\nthe factor is that of an amax {:.6g} times this tensor's: a scale from earlier steps?\n", identity.delayed_ratio);
  return static_cast<int>(Exit::differs);
}

}  // namespace

int run_identify(const Args& args) {
  Options options("identify", "DUMP.h5");
  options.add("x", "DATASET|FILE", "what was cast: a dataset of the dump, or IN.npy, IN.h5:DATASET");
  options.add("codes", "DATASET", "codes, where the name is none of codes, q, ...");
  options.add("scales", "DATASET", "scales, where the name is none of scale_inv, scales, sf, ...");
  options.add("format,f", "NAME", "element format, where the file does not say");
  options.add("scale-format", "NAME", "what byte scales encode, e8m0 (default) or e4m3");
  options.add("block", "ROWSxCOLS", "block shape, where the shapes leave it open");
  options.add("count,n", "N", "inexact recipes listed, default 5");
  options.add("threads,j", "N", "threads; 0, the default, is one per processor");
  if (!options.parse(args)) return 0;
  const CodedTensor dump =
      read_coded(options.words()[0], {options.text_or("codes", ""), options.text_or("scales", ""), options.text_or("x", ""),
                                      options.text_or("format", ""), options.text_or("scale-format", ""), options.text_or("block", "")});
  IdentifyOptions how;
  how.nearest = options.number_or("count", 5);
  Identity identity;
  run_in_arena(thread_count(options), [&] { identity = identify(dump, how); });
  return report(dump, identity);
}

}  // namespace fp8scope
