#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "sim/models.hpp"
#include "sim/names.hpp"
#include "sim/recipe.hpp"
#include "src/command.hpp"
#include "src/dump_model.hpp"
#include "src/device_option.hpp"
#include "src/errors.hpp"
#include "src/golden.hpp"
#include "src/options.hpp"
#include "src/product_fit.hpp"
#include "src/validate.hpp"
#include "src/validate_gpu.hpp"

namespace fp8scope {
namespace {

constexpr int shown = 5;  // mismatches printed in full

constexpr const char* ulp_bins[] = {"1", "2", "3-4", "5-8", "9-64", "65-1024", "more", "not finite"};

std::size_t ulp_bin(std::int64_t ulps) {
  if (ulps < 0) return 7;
  constexpr std::int64_t ends[] = {1, 2, 4, 8, 64, 1024};
  return static_cast<std::size_t>(std::ranges::lower_bound(ends, ulps) - std::begin(ends));
}

/// Words that differ, the first of them printed.  place(i): where word i is
Verdict compare_words(const RecordedWords& dump, const std::vector<std::uint32_t>& got, bool nan_bits, const auto& place) {
  const int digits = dump.output == "f32" ? 8 : 4;
  Verdict verdict;
  for (std::size_t i = 0; i < got.size(); ++i) {
    if (same_word(dump, dump.d[i], got[i], nan_bits)) continue;
    if (verdict.differ++ < shown) {
      const std::string c = dump.c.empty() ? "" : fmt::format("c {:0{}x}, ", dump.c[i], digits);
      fmt::print("  {}: {}recorded {:0{}x}, computed {:0{}x}\n", place(i), c, dump.d[i], digits, got[i], digits);
    }
    ++verdict.ulps[ulp_bin(ulps_between(dump, dump.d[i], got[i]))];
  }
  if (verdict.differ > shown) fmt::print("  ... and {} more\n", verdict.differ - shown);
  return verdict;
}

/// recipes  that might have cast the operands
void explain(const Dump& dump, const Verdict& verdict, std::span<const std::string> recipes, bool nan_bits) {
  print_ulps(verdict);
  const auto fits = models_that_fit(dump, recipes, nan_bits);
  fmt::print("  no mismatches with:");
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

/// "d[1, 5]" of a product, "d[3, 1, 5]" of tiles.
std::string place(const RecordedProduct& dump, std::size_t i) {
  const TileShape& s = dump.shape;
  const std::size_t m = i / s.n % s.m, n = i % s.n;
  return s.tiles == 1 ? fmt::format("d[{}, {}]", m, n) : fmt::format("d[{}, {}, {}]", i / (s.m * s.n), m, n);
}

/// The model for a group; the words of another one if none is asked for.
std::string model_text_for(const h5::Group& group, const std::string& name, const Options& options) {
  return options.text_or("model", group.text("model").value_or(model_named_by(name)));
}

ProductModel model_for(const RecordedProduct& dump, const h5::Group& group, const Options& options) {
  const std::string name = model_text_for(group, dump.name, options);
  if (name.empty())
    throw UsageError(fmt::format("{}: no model's name begins the group's; name one with --model", dump.where));
  ProductModel model{name, parse_model(name, dump.a_format, dump.b_format, dump.output == "f16" ? "f16" : "f32"), {}};
  // Scales that change along K cannot be applied but at a promotion.
  model.schedule = schedule_of(options, dump.block_scaled() ? 128 : 0, dump.block_scaled() ? "deepgemm" : "plain");
  return model;
}

/// Who made the words, where the file says so: a model's are no evidence of a GPU.
void print_source(const h5::Group& root) {
  const std::string source = root.text("source").value_or("");
  if (const auto gpu = root.text("gpu_name"); gpu && source == "recorded")
    fmt::print("recorded on {}, driver {}, {}\n", *gpu, root.text("driver").value_or("?"), root.text("date").value_or("?"));
  if (source == "modelled") fmt::print("modelled: a regression test of the model, no evidence of hardware\n");
}

/// Words of which only hashes are stored, computed again from their inputs' seed.
DigestVerdict validate_digests(const h5::Group& group, const std::string& name, const Options& options) {
  const std::string model = model_text_for(group, name, options);
  if (model.empty()) throw UsageError(fmt::format("{}: no model's name begins the group's; name one with --model", group.where()));
  DigestVerdict verdict = check_digests(group, model);
  fmt::print("{}: {} words in {} digests, {}\n  {} of {} digests differ", name, verdict.words, verdict.blocks, model, verdict.differ, verdict.blocks);
  fmt::print("{}\n", verdict.differ > 0 ? fmt::format(", the first at tile {}", verdict.first_tile) : "");
  return verdict;
}

/// A product of matrices, or tiles of one.
Verdict validate_product(const h5::Group& group, const std::string& name, const Options& options, std::size_t& words) {
  const RecordedProduct product = read_product(group, name);
  const ProductModel model = model_for(product, group, options);
  const bool nan_bits = options.has("nan-bits"), scaled = model.model.scale_block > 0;
  if (scaled != (product.scales_per_row > 0) || (scaled && product.scales_per_row * model.model.scale_block != product.k))
    throw DataError(fmt::format("{}: {} takes {} scales a row; the dump has {}", product.where, model.name,
                                scaled ? product.k / model.model.scale_block : 0, product.scales_per_row));
  fmt::print("{}: {} x {} products, {} into {}, {}\n", product.name, product.words(), product.k, product.a_format, product.output, model.text());
  const Verdict verdict = compare_and_print(product, model, nan_bits);
  fmt::print("  {} of {} words differ\n", verdict.differ, product.words());
  if (verdict.differ > 0) {
    print_ulps(verdict);
    print_fits({&product}, model, nan_bits);
  }
  words += product.words();
  return verdict;
}

/// Every recipe that needs no earlier steps, or those asked for.
std::vector<std::string> recipes_to_try(const Options& options) {
  std::vector<std::string> names = options.list("try-recipes");
  for (const std::string& name : names) make_recipe(name, {});  // misspelt
  if (!names.empty()) return names;
  for (const NamedRecipe& recipe : recipes())
    if (make_recipe(recipe.name, {})->plan().codec == Codec::none) names.emplace_back(recipe.name);  // has codes to multiply
  return names;
}

int validate_dumps(const Options& options) {
  const h5::Group root = h5::open_file(options.words()[0]);
  const bool nan_bits = options.has("nan-bits");
  print_source(root);
  const std::vector<std::string> to_try = recipes_to_try(options);
  const auto only = options.text("group");
  std::size_t groups = 0, rows = 0, differ = 0;
  for (const h5::Entry& entry : root.entries()) {
    if (!entry.is_group || (only && entry.name != *only)) continue;
    const h5::Group group = root.group(entry.name);
    if (has_digests(group)) {
      const DigestVerdict verdict = validate_digests(group, entry.name, options);
      rows += verdict.words, differ += verdict.differ;
      if (!group.has("d")) {
        ++groups;
        continue;
      }
    }
    if (is_product(group)) {
      differ += validate_product(group, entry.name, options, rows).differ;
      ++groups;
      continue;
    }
    const Dump dump = read_dump(group, entry.name);
    const auto recipe = options.text("recipe");
    if (recipe && !has_sources(dump))
      throw DataError(fmt::format("{}: --recipe casts fp32, fp16 or bf16 words without scales; these are {}", dump.where, dump.a_format));
    const Dump& given = recipe ? cast_by(dump, *recipe) : dump;
    const DumpModel model = asked_model(options, given);
    fmt::print("{}: {} x {} products, {} into {}, {}\n", dump.name, dump.rows, dump.k,
               given.a_format == given.b_format ? given.a_format : given.a_format + " by " + given.b_format, dump.output,
               model.text());
    const Verdict verdict = compare_words(given, recompute(given, model), nan_bits, [](std::size_t i) { return fmt::format("row {:6}", i); });
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

}  // namespace

Verdict compare_and_print(const RecordedProduct& dump, const ProductModel& model, bool nan_bits) {
  return compare_words(dump, recompute(dump, model), nan_bits, [&](std::size_t i) { return place(dump, i); });
}

void print_ulps(const Verdict& verdict) {
  fmt::print("  ulps apart:");
  for (std::size_t bin = 0; bin < verdict.ulps.size(); ++bin)
    if (verdict.ulps[bin] > 0) fmt::print("  {}: {}", ulp_bins[bin], verdict.ulps[bin]);
  fmt::print("\n");
}

void print_fits(const std::vector<const RecordedProduct*>& dumps, const ProductModel& expected, bool nan_bits) {
  const ProductFits found = models_that_fit(dumps, expected, nan_bits);
  fmt::print("  no mismatches with:");
  for (const ProductModel& fit : found.fits) fmt::print(" {};", fit.text());
  fmt::print("{}\n", found.fits.empty() ? " no model of the table, promoted or not" : "");
  if (!found.fits.empty()) {
    const std::string difference = difference_text(expected, found.fits.front());
    if (!difference.empty()) fmt::print("  that is: {}\n", difference);
    return;
  }
  fmt::print("  closest, {} of a sample of {} words differ:", found.sample_differ, found.sample);
  for (const ProductModel& model : found.closest) fmt::print(" {};", model.text());
  fmt::print("\n");
}

Schedule schedule_of(const Options& options, std::size_t promote, std::string_view order) {
  Schedule schedule;
  const std::string every = options.text_or("promote", "auto"), name = options.text_or("order", "auto");
  schedule.every = every == "none" ? 0 : every == "auto" ? promote : options.number_or("promote", promote);
  schedule.order = by_name(scale_orders, name == "auto" ? order : name, "order of scales").order;
  if (schedule.every == 0) schedule.order = ScaleOrder::plain;
  return schedule;
}

int run_validate(const Args& args) {
  Options options("validate", "[DUMP.h5]");
  options.add("kernel", "LIBRARY.so:FUNCTION", "runs this function and judges it, instead of a dump; src/kernel_abi.h says what it is");
  options.flag("gpu", "runs this program's CUDA kernels and compares them with the emulator, also on the tensors of TRACE.h5");
  add_device_option(options);
  options.add("group,g", "NAME", "only this group");
  options.add("model,m", "NAME[:KEY=VALUE...]", "matrix unit; of a dump, by default the longest name that the group's begins with; of a kernel, hopper_wgmma");
  options.add("recipe,r", "NAME[:KEY=VALUE...]", "a and b are cast by this recipe first; they are fp32, fp16 or bf16 words. Of a kernel: it is a quantiser, held against this recipe");
  options.add("promote", "N", "products between promotions to FP32; none; auto (default): the blocks of binary32 "
                              "scales, else never; of a kernel 128");
  options.add("order", "NAME", "where binary32 scales enter: auto (default): deepgemm; cutlass_vector, cublas_1d1d, ...");
  options.add("try-recipes", "A,B,...", "recipes to try where words differ, default all");
  options.flag("nan-bits", "NaNs must agree in every bit");
  options.add("scales", "A,B", "of a kernel: blocks that share a scale, default 1x128,128x128; tensor, 1xall");
  options.add("formats", "A,B", "of a kernel: e4m3 (default) or e5m2");
  options.add("d-format", "NAME", "of a kernel: f32 (default) or bf16");
  options.add("shape", "MxNxK", "of a kernel: default 128x128x1024");
  options.add("dtype", "NAME", "of a quantiser (--kernel with --recipe): bfloat16 (default), float16 or float32");
  options.add("role", "NAME", "of a quantiser: activation (default), weight, gradient");
  options.add("time-limit", "SECONDS", "of one call of a kernel, default 60");
  if (!options.parse(args)) return 0;
  if (options.has("gpu")) return validate_gpu(options);
  if (options.has("kernel") == !options.words().empty())
    throw UsageError("validate: wanted a DUMP.h5, --kernel LIBRARY.so:FUNCTION or --gpu (see 'fp8scope validate --help')");
  if (!options.has("kernel")) return validate_dumps(options);
  return options.has("recipe") ? validate_quantizer(options) : validate_kernel(options);
}

}  // namespace fp8scope
