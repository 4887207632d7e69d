#include <fmt/format.h>

#include <algorithm>

#include "sim/convert.hpp"
#include "src/coded/code_diff.hpp"
#include "src/coded/coded_tensor.hpp"
#include "src/command.hpp"
#include "src/diff/recipe_diff.hpp"
#include "src/diff/result_diff.hpp"
#include "src/errors.hpp"
#include "src/options.hpp"
#include "src/parallel.hpp"
#include "src/replay_tables.hpp"
#include "src/run_options.hpp"
#include "src/stable_log.hpp"

namespace fp8scope {
namespace {

struct How {
  std::size_t listed;
  bool quiet;
};

void list_names(const std::vector<std::string>& names, const char* what, const char* side) {
  for (const std::string& name : names) fmt::print("only in {}: {} {}\n", side, what, name);
}

int report(const ResultDiff& diff, const How& how) {
  if (how.quiet) return static_cast<int>(diff.same() ? Exit::ok : Exit::differs);
  list_names(diff.tables_only_a, "table", "A");
  list_names(diff.tables_only_b, "table", "B");
  std::size_t listed = 0;
  for (const TableDiff& t : diff.tables) {
    fmt::print("{}: {} rows in A, {} in B, {} matched\n", t.table, t.rows_a, t.rows_b, t.matched);
    if (t.only_a + t.only_b > 0)
      fmt::print("  without a partner: {} in A, {} in B; the first: {}\n", t.only_a, t.only_b, t.first_only);
    if (t.ambiguous > 0) fmt::print("  {} rows of B share a key with an earlier one\n", t.ambiguous);
    for (const std::string& name : t.columns_only_a) fmt::print("  only in A: column {}\n", name);
    for (const std::string& name : t.columns_only_b) fmt::print("  only in B: column {}\n", name);
    if (t.scales > 0) {
      std::uint64_t differ = 0;
      for (const std::uint64_t n : t.scale_steps) differ += n;
      fmt::print("  stored scales: {} of {} differ: {} by 1, {} by 2, {} by 3-4, {} by more\n", differ, t.scales,
                 t.scale_steps[0], t.scale_steps[1], t.scale_steps[2], t.scale_steps[3]);
    }
    for (const ColumnDiff& c : t.columns) {
      if (listed++ >= how.listed) continue;
      fmt::print("  {}: {} of {} differ, by at most {:.6g} ({:.3g} of the larger); the first at {}\n", c.column, c.differ,
                 c.compared, c.largest, c.largest_relative, c.first);
    }
  }
  if (listed > how.listed) fmt::print("... and {} more columns; -n lists them\n", listed - how.listed);
  fmt::print("{}\n", diff.same() ? "no differences" : "the results differ");
  return static_cast<int>(diff.same() ? Exit::ok : Exit::differs);
}

std::string element_place(const BlockGrid& grid, std::int64_t i) {
  return fmt::format("[{}, {}]", i / grid.cols, i % grid.cols);
}

std::string scale_text(const CodedTensor& t, std::size_t i) {
  return t.scale_codes ? fmt::format("{:#04x} ({:g})", t.stored[i], t.factors[i]) : fmt::format("{:g} ({:#010x})", t.factors[i], t.stored[i]);
}

/// Two files of codes and scales, as `cast` writes them.
int diff_coded(const CodedTensor& a, const CodedTensor& b, const How& how) {
  if (a.rows != b.rows || a.cols != b.cols || a.format != b.format)
    throw DataError(fmt::format("{} holds [{}, {}] of {}, {} [{}, {}] of {}: nothing to compare element by element", a.where,
                                a.rows, a.cols, format_name(a.format), b.where, b.rows, b.cols, format_name(b.format)));
  const bool same_blocks = a.grid().down() == b.grid().down() && a.grid().across() == b.grid().across();
  CodeDiff scales;
  if (same_blocks) {
    const bool bytes = a.scale_codes && a.scale_codes == b.scale_codes;
    const Format f = bytes ? *a.scale_codes : fp32;
    for (std::size_t i = 0; i < a.stored.size(); ++i)
      scales.add(f, static_cast<std::int64_t>(i), bytes ? a.stored[i] : float_bits(a.factors[i]),
                 bytes ? b.stored[i] : float_bits(b.factors[i]));
  }
  const CodeDiff codes = diff_codes(a.format, a.codes, b.codes);
  const bool same = same_blocks && scales.differ == 0 && codes.differ == 0 && codes.zero_signs == 0;
  if (how.quiet) return static_cast<int>(same ? Exit::ok : Exit::differs);
  if (same_blocks) fmt::print("scales: {}\n", scales.text());
  else fmt::print("scales: {} blocks in A, {} in B: not comparable one by one\n", block_name(a.block), block_name(b.block));
  for (const std::int64_t i : scales.first)
    fmt::print("  block [{}, {}]: {} against {}\n", i / a.grid().across(), i % a.grid().across(), scale_text(a, i), scale_text(b, i));
  fmt::print("codes: {}\n", codes.text());
  for (const std::int64_t i : codes.first)
    fmt::print("  {}: {:#04x} ({:g}) against {:#04x} ({:g})\n", element_place(a.grid(), i), a.codes[i],
               decode(a.format, a.codes[i]), b.codes[i], decode(b.format, b.codes[i]));
  return static_cast<int>(same ? Exit::ok : Exit::differs);
}

/// Sums over the tensors of one class.
struct ClassDiff {
  std::uint64_t casts = 0, other_blocks = 0, other_formats = 0, values = 0, elements = 0;
  CodeDiff scales, codes, same_scale;
  double first_noise = 0.0, second_noise = 0.0, power = 0.0;

  void add(const RecipeDiff& d) {
    ++casts, other_blocks += !d.same_blocks, other_formats += !d.same_format;
    values += d.values, elements += d.x.size();
    scales.merge(d.scales), codes.merge(d.codes), same_scale.merge(d.codes_same_scale);
    first_noise += d.first_noise, second_noise += d.second_noise, power += d.power;
  }
};

void print_class(std::string_view name, const ClassDiff& d, const std::vector<std::string>& recipes) {
  fmt::print("{} ({} casts, {} elements)\n", name, d.casts, d.elements);
  if (d.other_blocks > 0) fmt::print("  scales: {} casts have other blocks: not comparable one by one\n", d.other_blocks);
  if (d.scales.compared > 0) fmt::print("  scales: {}\n", d.scales.text());
  if (d.other_formats > 0) fmt::print("  codes: {} casts have another element format\n", d.other_formats);
  if (d.codes.compared > 0) fmt::print("  codes: {}\n", d.codes.text());
  if (d.same_scale.compared > 0 && d.same_scale.compared < d.codes.compared)
    fmt::print("  codes under the same multiplier: {}\n", d.same_scale.text());
  fmt::print("  dequantised values: {} of {} differ; SQNR {:.4f} dB ({}) and {:.4f} dB ({})\n", d.values, d.elements,
             decibels(d.power / d.first_noise), recipes[0], decibels(d.power / d.second_noise), recipes[1]);
}

void print_first(const ReplayInput& input, const RecipeDiff& d) {
  const WholeCast &a = *d.first, &b = *d.second;
  const std::string where = fmt::format("{} step {}{}", input.tensors[d.tensor].name(), input.steps[d.step],
                                        d.gemm.empty() ? "" : " " + d.gemm);
  for (const std::int64_t i : d.scales.first)
    fmt::print("  {}, block [{}, {}]: scale_inv {:g} ({:#x}) against {:g} ({:#x})\n", where, i / a.grid.across(),
               i % a.grid.across(), a.scales[i].scale_inv, a.stored[i], b.scales[i].scale_inv, b.stored[i]);
  for (const std::int64_t i : d.codes.first) {
    const std::int64_t r = i / a.grid.cols, c = i % a.grid.cols;
    fmt::print("  {}, element [{}, {}]: x {:g}: code {:#04x} at scale {:g} against {:#04x} at scale {:g}\n", where, r, c,
               d.x[i], a.codes[i], a.scales[a.grid.block(r, c)].scale, b.codes[i], b.scales[b.grid.block(r, c)].scale);
  }
}

int diff_over_trace(const Options& options, const std::vector<std::string>& recipes, const How& how) {
  for (const std::string& recipe : recipes)
    for (const NamedRole& role : roles) make_recipe(recipe, {role.role});
  const Trace trace(options.words()[0]);
  const ReplayInput input = replay_input(trace);
  ReplayOptions replay;
  replay.gemms = options.text_or("gemms", "first");
  std::vector<ClassDiff> classes(std::size(roles));
  std::size_t listed = 0;
  run_in_arena(thread_count(options), [&] {
    diff_recipes(input, recipes[0], recipes[1], replay, [&](const RecipeDiff& d) {
      const auto* role = std::ranges::find(roles, input.tensors[d.tensor].operand, &NamedRole::operand);
      classes[role - roles].add(d);
      if (how.quiet || (d.scales.differ == 0 && d.codes.differ == 0) || listed >= how.listed) return;
      if (listed == 0) fmt::print("first differences\n");
      print_first(input, d);
      ++listed;
    });
  });
  bool same = true;
  for (std::size_t r = 0; r < classes.size(); ++r) {
    const ClassDiff& d = classes[r];
    if (d.casts == 0) continue;
    same = same && d.other_blocks == 0 && d.other_formats == 0 && d.scales.differ == 0 && d.codes.differ == 0 &&
           d.codes.zero_signs == 0 && d.values == 0;
    if (!how.quiet) print_class(roles[r].name, d, recipes);
  }
  if (!how.quiet) fmt::print("{} and {} {}\n", recipes[0], recipes[1], same ? "agree in every scale and code" : "differ");
  return static_cast<int>(same ? Exit::ok : Exit::differs);
}

}  // namespace

int run_diff(const Args& args) {
  Options options("diff", "A [B]");
  options.add("recipes,r", "A,B", "compare two recipes over a trace (the only file): scales, then codes");
  options.add("gemms", "WHICH", "as in replay, default first");
  options.add("count,n", "N", "differences listed, default 10");
  options.flag("quiet,q", "print nothing, only the exit code");
  options.add("delta,d", "D", "results: numbers that differ by at most D are equal");
  options.add("relative,p", "R", "results: or by at most R of the larger");
  options.add("ignore", "COLUMN,...", "results: leave these columns out, also of the rows' key: recipe_id compares two recipes");
  options.add("threads,j", "N", "threads; 0, the default, is one per processor");
  if (!options.parse(args)) return 0;
  const How how{options.number_or("count", 10), options.has("quiet")};
  const std::vector<std::string>& files = options.words();
  if (const auto recipes = options.list("recipes"); !recipes.empty()) {
    if (recipes.size() != 2 || files.size() != 1) throw UsageError("diff --recipes A,B takes two recipes and one trace");
    return diff_over_trace(options, recipes, how);
  }
  if (files.size() != 2) throw UsageError("diff takes two files A and B, or --recipes A,B and one trace");
  if (!is_result_file(files[0])) return diff_coded(read_coded(files[0], {}), read_coded(files[1], {}), how);
  ResultDiffOptions tolerance{options.real_or("delta", 0.0), options.real_or("relative", 0.0), options.list("ignore")};
  return report(diff_results(read_results(files[0]), read_results(files[1]), tolerance), how);
}

}  // namespace fp8scope
