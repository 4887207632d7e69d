// A user's quantiser against a recipe.
#include <fmt/format.h>

#include <algorithm>
#include <optional>

#include "sim/names.hpp"
#include "sim/operand.hpp"
#include "sim/recipe.hpp"
#include "sim/recipes/record.hpp"
#include "src/coded/whole_cast.hpp"
#include "src/errors.hpp"
#include "src/identify/identify.hpp"
#include "src/identify/suspects.hpp"
#include "src/kernel_quantize.hpp"
#include "src/parallel.hpp"
#include "src/requested_cast.hpp"
#include "src/validate.hpp"

namespace fp8scope {
namespace {

constexpr std::size_t shown = 3;  // differences printed in full, of scales and of codes

/// How a kernel's scales and codes differ from a recipe's.
struct Difference {
  CodeDiff scales, codes;
  std::uint64_t beside_scales = 0;  ///< codes that differ in tiles whose scale agrees
  std::uint64_t nan_bits = 0;       ///< NaNs of another pattern, where that counts

  std::uint64_t differ() const { return scales.differ + codes.differ + codes.zero_signs + nan_bits; }
};

/// A tensor, what the kernel made of it and how that differs from the recipe.
struct Judged {
  QuantizeCase asked;
  QuantizeResult got;
  Difference from_recipe;

  std::uint64_t words() const { return got.scales.size() + got.codes.size(); }
  std::uint64_t differ() const { return from_recipe.differ(); }
};

std::string dtype_of(const CheckTensor& tensor) { return std::string(cuda::elements[static_cast<int>(tensor.element)].name); }

/// The cast that a spec says, of a tensor of this type.
RequestedCast cast_by(const std::string& spec, const TensorKind& kind) {
  RequestedCast request = request_cast(spec, std::nullopt, kind);
  const Plan& plan = request.cast.plan;
  const auto refuse = [&](const char* why) { throw UsageError(fmt::format("validate --kernel --recipe {}: {}", spec, why)); };
  if (request.cast.given || plan.delayed) refuse("its scales come from earlier steps, which a kernel is not given");
  if (draws_bits(plan.cast.rounding)) refuse("it draws random bits, which a kernel is not given");
  if (plan.scope != Scope::none) refuse("scales of two levels are beyond src/kernel_abi.h");
  if (plan.hadamard.size > 0) refuse("a Hadamard transform is beyond src/kernel_abi.h");
  if (plan.storage == ScaleStorage::bf16 || plan.format.bits() > 8) refuse("its codes or scales are beyond src/kernel_abi.h");
  return request;
}

bool fits(const Plan& plan, const BlockShape& block, const CheckTensor& t) {
  return !plan.whole_blocks || ((block.rows == 0 || t.rows % block.rows == 0) && (block.cols == 0 || t.cols % block.cols == 0));
}

Difference compare(const Judged& j, const WholeCast& want, bool nan_bits) {
  Difference d;
  std::vector<bool> scale_differs(j.got.scales.size());
  for (std::size_t b = 0; b < j.got.scales.size(); ++b) {
    const std::uint64_t before = d.scales.differ;
    d.scales.add(j.asked.scale_format, static_cast<std::int64_t>(b), want.stored[b], j.got.scales[b]);
    scale_differs[b] = d.scales.differ != before;
  }
  const BlockGrid& grid = j.asked.grid;
  for (std::int64_t i = 0; i < grid.size(); ++i) {
    const auto at = static_cast<std::size_t>(i);
    if (want.codes[at] == j.got.codes[at]) {
      ++d.codes.compared;
      continue;
    }
    const std::uint64_t before = d.codes.differ;
    d.codes.add(j.asked.code_format, i, want.codes[at], j.got.codes[at]);
    const bool differs = d.codes.differ != before;
    d.beside_scales += differs && !scale_differs[static_cast<std::size_t>(grid.block(i / grid.cols, i % grid.cols))];
    d.nan_bits += nan_bits && is_nan(decode(j.asked.code_format, want.codes[at])) && !differs;
  }
  return d;
}

std::string scale_text(const Format& f, std::uint32_t word) {
  return fmt::format("{:0{}x} = {:.9g}", word, f == fp32 ? 8 : 2, decode(f, word));
}

std::string tile_text(const BlockGrid& grid, std::int64_t block) { return fmt::format("[{}, {}]", block / grid.across(), block % grid.across()); }

void print_differences(const Judged& j, const WholeCast& want, const std::string& recipe) {
  const BlockGrid& grid = j.asked.grid;
  const Difference& d = j.from_recipe;
  const auto& scales = d.scales.first;
  for (std::size_t i = 0; i < std::min(shown, scales.size()); ++i) {
    const auto b = static_cast<std::size_t>(scales[i]);
    fmt::print("  scale of tile {}: kernel {}, {} {}\n", tile_text(grid, scales[i]), scale_text(j.asked.scale_format, j.got.scales[b]), recipe,
               scale_text(j.asked.scale_format, want.stored[b]));
  }
  const auto& codes = d.codes.first;
  for (std::size_t i = 0; i < std::min(shown, codes.size()); ++i) {
    const auto at = static_cast<std::size_t>(codes[i]);
    const std::int64_t r = codes[i] / grid.cols, c = codes[i] % grid.cols, block = grid.block(r, c);
    const Format& f = j.asked.code_format;
    fmt::print("  code [{}, {}] in tile {}: x {:.9g}, scale {}; kernel {:02x} = {:g}, {} {:02x} = {:g}\n", r, c, tile_text(grid, block),
               j.asked.tensor.x[at], scale_text(j.asked.scale_format, j.got.scales[static_cast<std::size_t>(block)]), j.got.codes[at],
               decode(f, j.got.codes[at]), recipe, want.codes[at], decode(f, want.codes[at]));
  }
  fmt::print("  scales: {}\n  codes: {}\n", d.scales.text(), d.codes.text());
  if (d.scales.differ > 0 && d.codes.differ > 0) fmt::print("  {} of these codes are in tiles whose scale agrees\n", d.beside_scales);
  if (d.codes.zero_signs > 0) fmt::print("  {} zeros have the other sign\n", d.codes.zero_signs);
  if (d.nan_bits > 0) fmt::print("  {} NaNs have another pattern\n", d.nan_bits);
}

CodedTensor dump_of(const Judged& j) {
  CodedTensor dump;
  dump.where = j.asked.tensor.name;
  dump.format = j.asked.code_format;
  dump.rows = j.asked.grid.rows, dump.cols = j.asked.grid.cols;
  dump.block = {j.asked.grid.block_rows, j.asked.grid.block_cols};
  dump.codes = j.got.codes, dump.stored = j.got.scales;
  if (!(j.asked.scale_format == fp32)) dump.scale_codes = j.asked.scale_format;
  for (const std::uint32_t word : dump.stored) dump.factors.push_back(decode(j.asked.scale_format, word));
  dump.has_x = true, dump.x = j.asked.tensor.x, dump.x_dtype = dtype_of(j.asked.tensor);
  return dump;
}

/// Tensors that a suspect reproduces. `all`: 0 unless it is every one.
std::size_t reproduced(const Suspect& suspect, const std::vector<const Judged*>& judged, bool all) {
  std::size_t n = 0;
  try {
    const RequestedCast request = cast_by(suspect.spec, suspect.kind);
    for (const Judged* j : judged) {
      const WholeCast made = whole_cast(request.cast, j->asked.grid.rows, j->asked.grid.cols, j->asked.tensor.x);
      const bool same = made.grid.blocks() == j->asked.grid.blocks() && compare(*j, made, false).differ() == 0;
      if (all && !same) return 0;
      n += same;
    }
  } catch (const std::invalid_argument&) {  // no cast at all
    return 0;
  } catch (const UsageError&) {  // found, but not by a rule that could be asked for here
    return 0;
  }
  return n;
}

/// The asked recipe with the fewest keys changed, one or two, that the kernel is.
std::vector<Suspect> changed_recipes(const std::string& spec, const TensorKind& kind, const std::vector<const Judged*>& judged) {
  Suspect asked;
  asked.spec = spec, asked.kind = kind, asked.role = kind.role;
  const std::string_view name = recipe_name(spec);
  asked.cast = resolve(find_recipe(name), kind, spec.substr(std::min(name.size() + 1, spec.size())));
  std::vector<Suspect> tried = changed_suspects(asked, {});
  for (int keys = 1; keys <= 2; ++keys) {
    std::vector<std::uint8_t> fits(tried.size());
    run_in_parallel(tried.size(), [&](std::size_t i) { fits[i] = reproduced(tried[i], judged, true) > 0; });
    std::vector<Suspect> found, more;
    for (std::size_t i = 0; i < tried.size(); ++i)
      if (fits[i] != 0) found.push_back(tried[i]);
    if (!found.empty() || keys == 2) return found;
    for (const Suspect& one : tried)
      for (Suspect& two : changed_suspects(one, {})) more.push_back(std::move(two));
    tried = std::move(more);
  }
  return {};
}

/// A suspect and the tensors that it reproduces.
struct Fit {
  Suspect suspect;
  std::size_t tensors;
};

void print_fits(const std::vector<Fit>& fits, std::size_t of) {
  constexpr std::size_t named = 6;
  const std::size_t most = fits.front().tensors;
  fmt::print("{}:", most == of ? "no mismatches with" : fmt::format("no mismatches in {} of {} tensors with", most, of));
  for (std::size_t i = 0; i < std::min(named, fits.size()); ++i)
    if (fits[i].tensors == most) fmt::print(" {};", fits[i].suspect.spec);
  fmt::print("\n");
  for (const std::string& line : explain(fits.front().suspect)) fmt::print("  that is: {}\n", line);
}

/// Which recipe, or recipe with a key or two changed, the kernel is.
void name_the_kernel(const std::vector<Judged>& judged, const std::string& spec, const TensorKind& kind) {
  std::vector<const Judged*> small_first;
  for (const Judged& j : judged) small_first.push_back(&j);
  std::ranges::stable_sort(small_first, {}, [](const Judged* j) { return std::pair(j->differ() == 0, j->words()); });
  std::vector<Fit> fits;
  for (Suspect& s : changed_recipes(spec, kind, small_first)) fits.push_back({std::move(s), judged.size()});
  const auto differing = std::ranges::find_if(judged, [](const Judged& j) { return j.differ() > 0; });
  const Identity identity = identify(dump_of(*differing), {.search_elements = 1 << 15});
  for (const Match& match : identity.exact) fits.push_back({match.suspect, reproduced(match.suspect, small_first, false)});
  for (const Match& match : identity.changed)
    if (match.exact() && fits.empty()) fits.push_back({match.suspect, reproduced(match.suspect, small_first, false)});
  std::ranges::stable_sort(fits, {}, [](const Fit& f) { return -static_cast<std::int64_t>(f.tensors); });
  if (!fits.empty() && fits.front().tensors > 0) return print_fits(fits, judged.size());
  fmt::print("no recipe makes these scales and codes, nor one with two keys changed\n");
  if (identity.nearest.empty()) return;
  const Match& near = identity.nearest.front();
  fmt::print("  nearest: {}: scales {}; codes {}\n", near.suspect.spec, near.scales.text(), near.codes.text());
}

std::vector<QuantizeCase> cases_of(const RequestedCast& request, cuda::Element element) {
  const Plan& plan = request.cast.plan;
  std::vector<QuantizeCase> cases;
  for (CheckTensor& tensor : check_tensors()) {
    if (tensor.element != element || !fits(plan, request.cast.block, tensor)) continue;
    const BlockGrid grid(tensor.rows, tensor.cols, request.cast.block);
    cases.push_back({std::move(tensor), grid, plan.format, stored_format(plan)});
  }
  return cases;
}

}  // namespace

int validate_quantizer(const Options& options) {
  const KernelName kernel = parse_kernel_name(options.required("kernel"));
  const std::string spec = options.required("recipe"), dtype = options.text_or("dtype", "bfloat16");
  const std::string recipe(recipe_name(spec));
  const auto* element = std::ranges::find(cuda::elements, dtype, &cuda::NamedElement::name);
  if (element == std::end(cuda::elements)) throw UsageError(fmt::format("--dtype {}: wanted bfloat16, float16 or float32", dtype));
  const TensorKind kind{by_name(roles, options.text_or("role", "activation"), "--role").role, input_format(dtype)};
  const RequestedCast request = cast_by(spec, kind);
  const bool nan_bits = options.has("nan-bits");
  const auto seconds = static_cast<unsigned>(std::clamp<std::uint64_t>(options.number_or("time-limit", 60), 1, 86400));
  const Format code_format = request.cast.plan.format, scale_format = stored_format(request.cast.plan);
  fmt::print("{}:{} against {}: {} to {}, tiles of {}, {} scales\n", kernel.library, kernel.symbol, spec, dtype, format_name(code_format),
             block_name(request.cast.block), scale_format == fp32 ? "float32" : format_name(scale_format));

  std::vector<Judged> judged;
  std::uint64_t words = 0, differ = 0;
  std::size_t moved = 0, unwritten = 0, skipped = 0;
  for (QuantizeCase& asked : cases_of(request, element->element)) {
    Judged j{std::move(asked), {}, {}};
    j.got = run_quantizer(kernel, j.asked, seconds);
    const std::string& name = j.asked.tensor.name;
    if (!j.got.supported) {
      fmt::print("{}: skipped, the kernel says that it does not support it\n", name), ++skipped;
      continue;
    }
    const WholeCast want = whole_cast(request.cast, j.asked.grid.rows, j.asked.grid.cols, j.asked.tensor.x);
    j.from_recipe = compare(j, want, nan_bits);
    fmt::print("{}: {} of {} scales and codes differ\n", name, j.differ(), j.words());
    if (j.got.unwritten > 0) fmt::print("  {} words were never written\n", j.got.unwritten);
    if (j.got.moved > 0) fmt::print("  {} words differ between two runs on the same data\n", j.got.moved);
    if (j.differ() > 0) print_differences(j, want, recipe);
    words += j.words(), differ += j.differ(), moved += j.got.moved, unwritten += j.got.unwritten;
    judged.push_back(std::move(j));
  }
  if (judged.empty()) throw SkippedError(fmt::format("{}:{}: skipped: the kernel supports none of the tensors", kernel.library, kernel.symbol));
  if (differ > 0 && moved + unwritten == 0) name_the_kernel(judged, spec, kind);
  fmt::print("{} tensor(s){}, {} words, {} differ\n", judged.size(), skipped > 0 ? fmt::format(", {} skipped", skipped) : "", words, differ);
  return static_cast<int>(differ + moved + unwritten == 0 ? Exit::ok : Exit::differs);
}

}  // namespace fp8scope
