#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "sim/names.hpp"
#include "src/array.hpp"
#include "src/coded/coded_tensor.hpp"
#include "src/coded/layout.hpp"
#include "src/coded/rewrite.hpp"
#include "src/coded/whole_cast.hpp"
#include "src/command.hpp"
#include "src/errors.hpp"
#include "src/options.hpp"
#include "src/output_file.hpp"
#include "src/requested_cast.hpp"
#include "src/stable_log.hpp"

namespace fp8scope {
namespace {

std::vector<float> values_of(const CodedTensor& t) {
  std::vector<float> values(t.codes.size());
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = static_cast<float>(decoded(t, static_cast<std::int64_t>(i)));
  return values;
}

/// Casts x under `recipe` with its tiles turned to columns.
CodedTensor cast_turned(const CodedTensor& like, std::span<const float> x, const std::string& recipe) {
  RequestedCast request = request_cast(recipe, std::nullopt, {});
  if (request.cast.plan.format != like.format) request = request_cast(recipe, format_name(like.format), {});
  TensorCast& cast = request.cast;
  if (cast.given) throw UsageError(fmt::format("--recipe {}: scales by earlier steps; name one with tiles, e.g. dsv3", recipe));
  // Where one tile is a whole row, the shapes of the file do not tell its length: then that of the recipe counts.
  const BlockShape row_tile = like.block.rows == 1 && like.block.cols > 0 ? like.block : cast.block;
  if (row_tile.rows == 1 && row_tile.cols > 0) cast.block = {row_tile.cols, 1}, cast.turned = true;
  const WholeCast made = whole_cast(cast, like.rows, like.cols, x);
  CodedTensor out = like;
  out.block = cast.block, out.codes = made.codes, out.scales_turned = false;
  out.stored.clear(), out.factors.clear(), out.scale_codes.reset();
  if (made.plan.storage == ScaleStorage::e8m0) out.scale_codes = e8m0;
  out.stored = made.stored;
  for (const Scales& s : made.scales) out.factors.push_back(s.scale_inv);
  return out;
}

bool all_powers_of_two(const CodedTensor& t) {
  for (const float s : t.factors)
    if (to_power_of_two(s, ScaleRounding::down) != s) return false;
  return true;
}

CodedTensor rewritten(const CodedTensor& before, const Options& options) {
  if (const auto rule = options.text("transpose")) {
    const TransposeRule how = by_name(transpose_rules, *rule, "--transpose").rule;
    if (how != TransposeRule::requantise) return transpose_by_shift(before, how);
    const std::string recipe = options.text_or("recipe", all_powers_of_two(before) ? "dsv3:scales=ue8m0" : "dsv3");
    return cast_turned(before, values_of(before), recipe);
  }
  if (const auto block = options.text("lossless-e4m3")) {
    bool within = true;
    const CodedTensor made = lossless_e4m3(before, parse_block(*block, "--lossless-e4m3"), within);
    if (!within) fmt::print("E2M1 factors of some block lie further apart than 2^11: TileKernels stops here\n");
    return made;
  }
  if (!options.has("scales-to-e8m0")) return before;  // only laid out
  const ScaleRounding rounding = by_name(scale_roundings, options.required("scales-to-e8m0"), "--scales-to-e8m0").rounding;
  return rewrite_scales(before, rounding, options.has("requantise"));
}

/// SQNR of a coded tensor against x, in dB.
double sqnr(const CodedTensor& t, std::span<const float> x) {
  double power = 0.0, noise = 0.0;
  for (std::size_t i = 0; i < x.size(); ++i) {
    const double y = decoded(t, static_cast<std::int64_t>(i));
    if (!is_finite(x[i]) || !std::isfinite(y)) continue;
    power += static_cast<double>(x[i]) * x[i], noise += (x[i] - y) * (x[i] - y);
  }
  return decibels(power / noise);
}

int report(const CodedTensor& before, const CodedTensor& after, const RewriteCheck& check) {
  const auto percent = [](std::uint64_t part, std::uint64_t all) { return 100.0 * static_cast<double>(part) / static_cast<double>(all); };
  fmt::print("before: [{}, {}] {}, {} blocks\nafter:  {} blocks\n", before.rows, before.cols, format_name(before.format),
             block_name(before.block), block_name(after.block));
  fmt::print("codes changed   {} of {} ({:.4g} %)\n", check.codes_changed, check.elements, percent(check.codes_changed, check.elements));
  fmt::print("values equal    {} ({:.4g} %)\n", check.same, percent(check.same, check.elements));
  fmt::print("rounded again   {} ({:.4g} %)\n", check.rounded, percent(check.rounded, check.elements));
  fmt::print("wrong           {} ({:.4g} %), {} of them saturated\n", check.wrong, percent(check.wrong, check.elements), check.saturated);
  fmt::print("flushed to zero {}\n", check.flushed);
  fmt::print("second rounding {:.4f} dB, {:.4g} % of the norm, apart from the first\n", decibels(check.power / check.noise),
             100.0 * std::sqrt(check.noise / check.power));
  if (before.has_x)
    fmt::print("against x       {:.4f} dB before, {:.4f} dB after\n", sqnr(before, before.x), sqnr(after, before.x));
  if (check.describes_the_same()) {
    fmt::print("codes and scales still describe the same tensor{}\n", check.rounded > 0 ? ", rounded once more" : ", bit for bit");
    return static_cast<int>(Exit::ok);
  }
  fmt::print("codes and scales no longer describe the same tensor: {} of {} blocks are wrong", check.blocks_wrong, check.blocks);
  if (check.blocks_scaled > 0)
    fmt::print(", {} of them by one factor throughout, {:.4g} to {:.4g}: their scales were changed and their codes were not",
               check.blocks_scaled, check.factor_low, check.factor_high);
  const std::int64_t i = check.first_wrong;
  fmt::print("\nthe first: element [{}, {}] was {:g}, is {:g}\n", i / before.cols, i % before.cols, decoded(before, i), decoded(after, i));
  return static_cast<int>(Exit::differs);
}

void write_layout(ArrayFile& file, const NamedLayout& layout, const CodedTensor& t) {
  const LaidOut out = layout.make(t);
  const std::string name = (layout.of_codes ? "codes_" : "scale_inv_") + std::string(layout.name);
  const std::string summary(layout.summary), word(layout.name);
  const auto write = [&](int array, const auto& values) {
    file.set(array, "layout", word);
    const std::int64_t width = out.shape.size() > 1 ? out.shape[1] : 1;
    file.write_rows(array, 0, static_cast<std::int64_t>(values.size()) / std::max<std::int64_t>(1, width), values.data());
  };
  if (const auto* floats = std::get_if<std::vector<float>>(&out.values))
    return write(file.add_floats(name, out.shape, "1", summary), *floats);
  if (const auto* packed = std::get_if<std::vector<std::uint32_t>>(&out.values))
    return write(file.add_words(name, out.shape, summary), *packed);
  const int array = file.add_codes(name, layout.of_codes ? t.format : *t.scale_codes, out.shape, summary);
  write(array, std::get<std::vector<std::uint8_t>>(out.values));
}

void write_coded(const std::string& path, const CodedTensor& t, const std::string& how,
                 const std::vector<const NamedLayout*>& layouts) {
  const BlockGrid grid = t.grid();
  ArrayFile file(path);
  const int codes = file.add_codes("codes", t.format, {t.rows, t.cols}, "codes of the elements");
  const int factors = file.add_floats("scale_inv", {grid.down(), grid.across()}, "1", "dequantise factor of each block");
  file.set(factors, "block", block_name(t.block));
  file.set_root("rewrite", how);
  file.set_root("format", format_name(t.format));
  if (t.format.bits() <= 8) {
    const std::vector<std::uint8_t> bytes(t.codes.begin(), t.codes.end());
    file.write_rows(codes, 0, t.rows, bytes.data());
  } else {
    file.write_rows(codes, 0, t.rows, t.codes.data());
  }
  file.write_rows(factors, 0, grid.down(), t.factors.data());
  if (t.scale_codes == e8m0) {
    const int stored = file.add_codes("scale_inv_codes", e8m0, {grid.down(), grid.across()}, "the same as E8M0 bytes");
    const std::vector<std::uint8_t> bytes(t.stored.begin(), t.stored.end());
    file.write_rows(stored, 0, grid.down(), bytes.data());
  }
  for (const NamedLayout* layout : layouts) write_layout(file, *layout, t);
  file.commit();
}

}  // namespace

int run_rewrite(const Args& args) {
  Options options("rewrite", "CODED.h5");
  options.add("transpose,t", "RULE", "row tiles to column tiles: requantise, exact_shift, exponent_only");
  options.add("scales-to-e8m0,s", "ROUNDING", "factors to powers of two: up, down (truncated), nearest");
  options.flag("requantise", "with --scales-to-e8m0: also cast the codes again");
  options.add("lossless-e4m3", "BLOCK", "E2M1 codes under E8M0 factors of 1x32 as E4M3 codes in larger blocks, e.g. 128x128");
  std::string layout_help = "also write scales or codes as kernels read them:";
  for (const NamedLayout& layout : layouts()) layout_help += (layout_help.back() == ':' ? " " : ", ") + std::string(layout.name);
  options.add("layout,l", "A,B,...", layout_help.c_str());
  options.add("check,c", "FILE", "do these codes and scales still describe the tensor of CODED.h5?");
  options.add("recipe,r", "NAME", "of --transpose requantise; dsv3, with UE8M0 where the factors are powers of two");
  options.add("codes", "DATASET", "codes, where the name is none of codes, q, ...");
  options.add("scales", "DATASET", "dequantise factors");
  options.add("x", "DATASET|FILE", "what was cast, to measure both roundings against it");
  options.add("format,f", "NAME", "element format, where the file does not say");
  options.add("block", "ROWSxCOLS", "block shape, where the shapes leave it open");
  options.flag("packed", "codes of four bits lie two to a byte");
  options.add("output,o", "FILE", "HDF5 file for the rewritten codes and scales");
  if (!options.parse(args)) return 0;
  const int asked = options.has("transpose") + options.has("scales-to-e8m0") + options.has("check") + options.has("lossless-e4m3");
  if (asked != 1 && !(asked == 0 && options.has("layout")))
    throw UsageError("rewrite takes one of --transpose, --scales-to-e8m0, --lossless-e4m3 and --check, or --layout");
  if (options.has("requantise") && !options.has("scales-to-e8m0")) throw UsageError("--requantise goes with --scales-to-e8m0");
  const std::string& path = options.words()[0];
  const auto output = options.text("output");
  if (output) require_other_file(*output, path);
  std::vector<const NamedLayout*> wanted;
  for (const std::string& name : options.list("layout")) wanted.push_back(&by_name(layouts(), name, "--layout"));
  if (!wanted.empty() && !output) throw UsageError("--layout writes: name a file with --output");
  if (output && options.has("check")) throw UsageError("--check writes nothing: leave out --output");
  const CodedNames names{options.text_or("codes", ""), options.text_or("scales", ""), options.text_or("x", ""),
                         options.text_or("format", ""), "", options.text_or("block", ""), options.has("packed")};
  const CodedTensor before = read_coded(path, names);
  CodedNames found = names;
  found.x.clear();
  const CodedTensor after = options.has("check") ? read_coded(*options.text("check"), found) : rewritten(before, options);
  const RewriteCheck check = check_rewrite(before, after);
  int code = report(before, after, check);
  if (options.has("lossless-e4m3") && check.same != check.elements) {
    fmt::print("the change is not lossless: {} values are rounded\n", check.elements - check.same);
    code = static_cast<int>(Exit::differs);
  }
  if (before.has_x && options.has("transpose")) {
    const std::string recipe = options.text_or("recipe", all_powers_of_two(before) ? "dsv3:scales=ue8m0" : "dsv3");
    fmt::print("cast from x     {:.4f} dB: column tiles made from the source, one rounding\n",
               sqnr(cast_turned(before, before.x, recipe), before.x));
  }
  if (output) {
    std::string how = options.has("transpose") ? "transpose " + *options.text("transpose") : "none";
    if (options.has("lossless-e4m3")) how = "lossless e4m3, " + *options.text("lossless-e4m3");
    if (options.has("scales-to-e8m0"))
      how = "scales to e8m0, " + *options.text("scales-to-e8m0") + (options.has("requantise") ? ", requantised" : "");
    write_coded(*output, after, how, wanted);
  }
  return code;
}

}  // namespace fp8scope
