#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "sim/models.hpp"
#include "src/command.hpp"
#include "src/device_option.hpp"
#include "src/dump.hpp"
#include "src/errors.hpp"
#include "src/options.hpp"
#include "src/validate_gpu.hpp"

namespace fp8scope {
namespace {

constexpr int shown = 5;  // mismatches printed in full

struct Verdict {
  std::size_t differ = 0;
  std::array<std::uint64_t, 8> ulps{};  ///< 1, 2, 3-4, 5-8, 9-64, 65-1024, more, not finite
};

constexpr const char* ulp_bins[] = {"1", "2", "3-4", "5-8", "9-64", "65-1024", "more", "not finite"};

std::size_t ulp_bin(std::int64_t ulps) {
  if (ulps < 0) return 7;
  constexpr std::int64_t ends[] = {1, 2, 4, 8, 64, 1024};
  return static_cast<std::size_t>(std::ranges::lower_bound(ends, ulps) - std::begin(ends));
}

Verdict compare(const Dump& dump, const DumpModel& model, bool nan_bits) {
  const auto got = recompute(dump, model);
  const int digits = dump.output == "f16" ? 4 : 8;
  Verdict verdict;
  for (std::size_t row = 0; row < dump.rows; ++row) {
    if (same_word(dump, dump.d[row], got[row], nan_bits)) continue;
    if (verdict.differ++ < shown)
      fmt::print("  row {:6}: c {:0{}x}, recorded {:0{}x}, computed {:0{}x}\n", row, dump.c[row], digits,
                 dump.d[row], digits, got[row], digits);
    ++verdict.ulps[ulp_bin(ulps_between(dump, dump.d[row], got[row]))];
  }
  return verdict;
}

void explain(const Dump& dump, const Verdict& verdict, bool nan_bits) {
  if (verdict.differ > shown) fmt::print("  ... and {} more\n", verdict.differ - shown);
  fmt::print("  ulps apart:");
  for (std::size_t bin = 0; bin < verdict.ulps.size(); ++bin)
    if (verdict.ulps[bin] > 0) fmt::print("  {}: {}", ulp_bins[bin], verdict.ulps[bin]);
  const auto fits = models_that_fit(dump, nan_bits);
  fmt::print("\n  no mismatches with:");
  for (const DumpModel& fit : fits) fmt::print(" {};", fit.text());
  fmt::print("{}\n", fits.empty() ? " no model of the table, promoted or not" : "");
}

/// The model for a group; the words of another one if none is asked for.
DumpModel model_for(const Dump& dump, const std::optional<std::string>& asked) {
  const std::string name = asked.value_or(model_named_by(dump.name));
  if (name.empty())
    throw UsageError(fmt::format("{}: no model's name begins the group's; name one with --model", dump.where));
  return {name, parse_model(name, dump.a_format, dump.b_format, dump.output), 0};
}

}  // namespace

int run_validate(const Args& args) {
  Options options("validate", "[DUMP.h5|TRACE.h5]");
  options.flag("gpu", "this program's CUDA kernels against the emulator, also on the tensors of TRACE.h5 if given");
  add_device_option(options);
  options.add("group,g", "NAME", "only this group");
  options.add("model,m", "NAME[:KEY=VALUE...]", "matrix unit; by default the longest name that the group's begins with");
  options.add("promote", "N", "products between promotions to FP32, default never");
  options.flag("nan-bits", "NaNs must agree in every bit");
  if (!options.parse(args)) return 0;
  if (options.has("gpu")) return validate_gpu(options);
  if (options.words().empty()) throw UsageError("validate: expected DUMP.h5, or --gpu");
  const h5::Group root = h5::open_file(options.words()[0]);
  const bool nan_bits = options.has("nan-bits");
  const auto only = options.text("group");
  std::size_t groups = 0, rows = 0, differ = 0;
  for (const h5::Entry& entry : root.entries()) {
    if (!entry.is_group || (only && entry.name != *only)) continue;
    const Dump dump = read_dump(root.group(entry.name), entry.name);
    DumpModel model = model_for(dump, options.text("model"));
    model.promote = options.number_or("promote", 0);
    const bool scaled = model.model.scale_block > 0;
    if (scaled != (dump.scales_per_row > 0) || (scaled && dump.scales_per_row * model.model.scale_block != dump.k))
      throw DataError(fmt::format("{}: {} takes {} scales a row; the dump has {}", dump.where, model.name,
                                  scaled ? dump.k / model.model.scale_block : 0, dump.scales_per_row));
    fmt::print("{}: {} x {} products, {} into {}, {}\n", dump.name, dump.rows, dump.k, dump.a_format, dump.output,
               model.text());
    const Verdict verdict = compare(dump, model, nan_bits);
    fmt::print("  {} of {} words differ\n", verdict.differ, dump.rows);
    if (verdict.differ > 0) explain(dump, verdict, nan_bits);
    ++groups, rows += dump.rows, differ += verdict.differ;
  }
  if (groups == 0)
    throw DataError(fmt::format("{}: {}", options.words()[0],
                                only ? "there is no group '" + *only + "'" : "there are no groups to validate"));
  fmt::print("{} group(s), {} words, {} differ\n", groups, rows, differ);
  return static_cast<int>(differ == 0 ? Exit::ok : Exit::differs);
}

}  // namespace fp8scope
