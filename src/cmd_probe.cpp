#include <fmt/format.h>

#include <algorithm>
#include <ctime>
#include <memory>
#include <optional>

#include "cuda/device.hpp"
#include "cuda/matrix_units.hpp"
#include "sim/names.hpp"
#include "src/command.hpp"
#include "src/errors.hpp"
#include "src/golden.hpp"
#include "src/library_probe.hpp"
#include "src/options.hpp"
#include "src/output_file.hpp"
#include "src/probe.hpp"

namespace fp8scope {
namespace {

std::string utc_date() {
  const std::time_t now = std::time(nullptr);
  char text[32];
  std::strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ", std::gmtime(&now));
  return text;
}

/// The units to probe: the device's, or a model in its place.
std::vector<cuda::DeviceUnit> units_of(const Options& options, GoldenOrigin& origin) {
  std::vector<cuda::DeviceUnit> units;
  if (const auto model = options.text("emulate")) {
    origin = {"modelled", "none", "none", "none", "none", "none", options.has("reproducible") ? "" : utc_date()};
    auto formats = options.list("formats");
    if (formats.empty()) formats = {"e4m3"};
    auto unit = std::make_unique<EmulatedUnit>(*model, formats.front(), formats.back(), options.text_or("d-format", "f32"));
    unit->m = 16, unit->n = 8;
    units.push_back({std::move(unit), *model});
    return units;
  }
  if (cuda::device_count() == 0)
    throw SkippedError(fmt::format("probe: skipped, no GPU: {}; --emulate MODEL asks a model instead", cuda::why_none()));
  const cuda::DeviceInfo gpu = cuda::device_info(0);
  origin = {"recorded", gpu.name, fmt::format("{}.{}", gpu.major, gpu.minor), gpu.driver, gpu.runtime, cuda::toolkit_version(), utc_date()};
  const bool all = options.has("all");
  for (cuda::DeviceUnit& u : cuda::matrix_units(0))
    if (all || (u.unit->a_format == "e4m3" && u.unit->b_format == "e4m3")) units.push_back(std::move(u));
  return units;
}

void print_report(const MatrixUnit& unit, const std::string& expected, const ProbeReport& report) {
  fmt::print("{}: {} by {} into {}{}\n", unit.name, unit.a_format, unit.b_format, unit.output, unit.emulated ? " (a model, no evidence)" : "");
  for (const Reading& r : report.readings) fmt::print("  {:<3} {}: {}\n", r.id, r.question, r.answer);
  const std::size_t shown = std::min<std::size_t>(report.rows.size(), 4);
  for (std::size_t i = 0; i < shown; ++i)
    fmt::print("  row {}: {} of {} words differ\n", report.rows[i].name, report.rows[i].differ, report.words);
  for (const Model& m : report.fits) fmt::print("  fit {}\n", model_text(m));
  fmt::print("  it is {}{}\n", report.verdict,
             report.same.empty() || std::ranges::find(report.same, expected) != report.same.end() || unit.emulated
                 ? "" : fmt::format("; expected was {}", expected));
}

/// Words of a whole recording, spread over the units, input classes and chains.
struct Amounts {
  std::size_t stored, digests;
};

GoldenRecord record_unit(h5::Group& root, MatrixUnit& unit, const std::string& model, const Amounts& words) {
  GoldenRecord sum;
  struct Kind {
    const char* input_class;
    std::size_t chain;
  };
  constexpr Kind kinds[] = {{"random", 1}, {"finite", 1}, {"normal", 1}, {"cancelling", 1}, {"positive", 1}, {"edge", 1}, {"tiny", 1}, {"finite", 2}, {"normal", 4}, {"cancelling", 16}};
  std::uint64_t seed = 1;
  const std::size_t per_tile = unit.m * unit.n * std::size(kinds);
  for (const Kind& kind : kinds) {
    // Long chains have long inputs: fewer of them are stored, and of no set is there less than asked for.
    const std::size_t stored = (words.stored + per_tile - 1) / per_tile, digests = (words.digests + per_tile * digest_tiles - 1) / (per_tile * digest_tiles);
    const GoldenSet set{kind.input_class, kind.chain, std::max<std::size_t>(1, stored / kind.chain), digests * digest_tiles, seed++};
    const GoldenRecord r = record_golden(root, unit, model, set);
    sum.stored += r.stored, sum.digested += r.digested, sum.unequal += r.unequal;
  }
  return sum;
}

int check_layouts(std::vector<cuda::DeviceUnit>& units) {
  std::size_t all_wrong = 0;
  for (cuda::DeviceUnit& u : units) {
    std::size_t words = 0;
    const std::size_t wrong = wrong_layout_words(*u.unit, 64, words);
    fmt::print("P0 {} {} {} {}: {} of {} words wrong\n", u.unit->name, u.unit->a_format, u.unit->b_format, u.unit->output, wrong, words);
    all_wrong += wrong;
  }
  return static_cast<int>(all_wrong == 0 ? Exit::ok : Exit::differs);
}

void print_checks(const char* probe, const std::vector<cuda::ConvertCheck>& checks) {
  for (const cuda::ConvertCheck& c : checks)
    fmt::print("{} {}: {} of {} values differ{}\n", probe, c.name, c.differ, c.values, c.first.empty() ? "" : ", first " + c.first);
}

}  // namespace

int run_probe(const Args& args) {
  Options options("probe", "");
  options.flag("all", "every instruction of the GPU; without it, E4M3 by E4M3");
  options.add("output,o", "FILE.h5", "records words of every instruction, for tests on machines without the GPU");
  options.add("emulate", "MODEL[:KEY=VALUE...]", "asks this model instead of a GPU: a dry run, its words say 'modelled'");
  options.add("formats", "A,B", "of --emulate: formats of the operands, default e4m3");
  options.add("d-format", "NAME", "of --emulate: f32 (default) or f16");
  options.add("words", "N", "words stored in the file, of all instructions together, default 300000");
  options.add("digest-words", "N", "words of which the file keeps hashes, default 10000000");
  options.flag("reproducible", "of --emulate: no date in the file");
  options.flag("no-search", "do not fit the numbers of a custom model");
  options.flag("layout", "only P0: whether operands and results are where the instruction wants them");
  options.flag("library", "only P13: cuBLASLt's promotion interval, by its library at run time");
  if (!options.parse(args)) return 0;
  if (options.has("library")) return run_library_probe();
  const auto output = options.text("output");
  GoldenOrigin origin;
  std::vector<cuda::DeviceUnit> units = units_of(options, origin);
  if (options.has("layout")) return check_layouts(units);
  std::optional<h5::NewFile> file;
  if (output) {
    file.emplace(*output);
    describe_golden_file(file->root(), origin);
  }
  const Amounts words{options.number_or("words", 300'000) / units.size(), options.number_or("digest-words", 10'000'000) / units.size()};
  GoldenRecord sum;
  std::size_t unknown = 0, wrong = 0;
  for (cuda::DeviceUnit& u : units) {
    ProbeOptions probing;
    probing.search = !options.has("no-search");
    const ProbeReport report = probe_unit(*u.unit, probing);
    print_report(*u.unit, u.model, report);
    if (!report.layout_ok) ++wrong;
    else if (report.same.empty()) ++unknown;
    if (!file || !report.layout_ok) continue;
    const GoldenRecord r = record_unit(file->root(), *u.unit, u.model, words);
    sum.stored += r.stored, sum.digested += r.digested, sum.unequal += r.unequal;
  }
  if (!options.has("emulate")) {
    print_checks("P12", cuda::check_conversions(1));
    print_checks("FP64", cuda::check_fp64_unit());
  }
  fmt::print("{} instruction(s) on {}: {} of the table, {} not, {} with wrong layouts\n", units.size(), origin.gpu_name,
             units.size() - unknown - wrong, unknown, wrong);
  if (file) {
    file->root().set("repeats_identical", static_cast<std::int64_t>(sum.unequal == 0));
    file->commit();
    fmt::print("{}: {} words stored, {} in digests, {}; {} words differ between two runs\n", *output, sum.stored, sum.digested, origin.source, sum.unequal);
  }
  return static_cast<int>(unknown + wrong == 0 && sum.unequal == 0 ? Exit::ok : Exit::differs);
}

}  // namespace fp8scope
