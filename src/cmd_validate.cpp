#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "sim/models.hpp"
#include "sim/names.hpp"
#include "sim/recipe.hpp"
#include "src/command.hpp"
#include "src/dump_model.hpp"
#include "src/errors.hpp"
#include "src/options.hpp"

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
  const int digits = dump.output == "f32" ? 8 : 4;
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

/// recipes  that might have cast the operands
void explain(const Dump& dump, const Verdict& verdict, std::span<const std::string> recipes, bool nan_bits) {
  if (verdict.differ > shown) fmt::print("  ... and {} more\n", verdict.differ - shown);
  fmt::print("  ulps apart:");
  for (std::size_t bin = 0; bin < verdict.ulps.size(); ++bin)
    if (verdict.ulps[bin] > 0) fmt::print("  {}: {}", ulp_bins[bin], verdict.ulps[bin]);
  const auto fits = models_that_fit(dump, recipes, nan_bits);
  fmt::print("\n  no mismatches with:");
  for (const DumpModel& fit : fits) fmt::print(" {};", fit.text());
  fmt::print("{}\n", fits.empty() ? " no model of the table, promotion, order or recipe" : "");
}

/// What the command line says of a group: the model, or the one that the group's name begins with.
DumpModel asked_model(const Options& options, const Dump& dump) {
  const std::string name = options.text_or("model", model_named_by(dump.name));
  if (name.empty())
    throw UsageError(fmt::format("{}: no model's name begins the group's; name one with --model", dump.where));
  DumpModel model = default_model(dump, name);
  model.recipe = options.text_or("recipe", "");
  if (options.text_or("promote", "auto") == "none") model.promote = 0;
  else if (options.text_or("promote", "auto") != "auto") model.promote = options.number_or("promote", 0);
  if (options.text_or("order", "auto") != "auto") model.order = by_name(scale_orders, *options.text("order"), "--order").order;
  return model;
}

/// Every recipe that needs no earlier steps, or those asked for.
std::vector<std::string> recipes_to_try(const Options& options) {
  std::vector<std::string> names = options.list("try-recipes");
  for (const std::string& name : names) make_recipe(name, {});  // misspelt
  if (!names.empty()) return names;
  for (const NamedRecipe& recipe : recipes()) names.emplace_back(recipe.name);
  return names;
}

}  // namespace

int run_validate(const Args& args) {
  Options options("validate", "DUMP.h5");
  options.add("group,g", "NAME", "only this group");
  options.add("model,m", "NAME[:KEY=VALUE...]", "matrix unit; by default the longest name that the group's begins with");
  options.add("recipe,r", "NAME[:KEY=VALUE...]", "a and b are cast by this recipe first; they are fp32, fp16 or bf16 words");
  options.add("promote", "N", "products between promotions to FP32; none; auto (default): the blocks of binary32 "
                              "scales, else never");
  options.add("order", "NAME", "where binary32 scales enter: auto (default): deepgemm; cutlass_vector, cublas_1d1d, ...");
  options.add("try-recipes", "A,B,...", "recipes to try where words differ, default all");
  options.flag("nan-bits", "NaNs must agree in every bit");
  if (!options.parse(args)) return 0;
  const h5::Group root = h5::open_file(options.words()[0]);
  const bool nan_bits = options.has("nan-bits");
  const std::vector<std::string> to_try = recipes_to_try(options);
  const auto only = options.text("group");
  std::size_t groups = 0, rows = 0, differ = 0;
  for (const h5::Entry& entry : root.entries()) {
    if (!entry.is_group || (only && entry.name != *only)) continue;
    const Dump dump = read_dump(root.group(entry.name), entry.name);
    const auto recipe = options.text("recipe");
    if (recipe && !has_sources(dump))
      throw DataError(fmt::format("{}: --recipe casts fp32, fp16 or bf16 words without scales; these are {}", dump.where, dump.a_format));
    const Dump& given = recipe ? cast_by(dump, *recipe) : dump;
    const DumpModel model = asked_model(options, given);
    fmt::print("{}: {} x {} products, {} into {}, {}\n", dump.name, dump.rows, dump.k,
               given.a_format == given.b_format ? given.a_format : given.a_format + " by " + given.b_format, dump.output,
               model.text());
    const Verdict verdict = compare(given, model, nan_bits);
    fmt::print("  {} of {} words differ\n", verdict.differ, dump.rows);
    if (verdict.differ > 0) explain(dump, verdict, to_try, nan_bits);
    ++groups, rows += dump.rows, differ += verdict.differ;
  }
  if (groups == 0)
    throw DataError(fmt::format("{}: {}", options.words()[0],
                                only ? "there is no group '" + *only + "'" : "there are no groups to validate"));
  fmt::print("{} group(s), {} words, {} differ\n", groups, rows, differ);
  return static_cast<int>(differ == 0 ? Exit::ok : Exit::differs);
}

}  // namespace fp8scope
