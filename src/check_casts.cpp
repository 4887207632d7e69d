#include <fmt/format.h>

#include <algorithm>

#include "sim/delayed_state.hpp"
#include "sim/recipe.hpp"
#include "sim/recipe_delayed.hpp"
#include "src/device_pass.hpp"
#include "src/kernel_checks.hpp"

namespace fp8scope {
namespace {

using cuda::BlockCast;
using cuda::Quantized;
using cuda::ScaleLayout;

/// The cast by sim/.
Quantized emulate(const CheckTensor& t, const BlockCast& cast) {
  const BlockGrid grid(t.rows, t.cols, cast.block);
  std::vector<float> amax(grid.blocks());
  block_amax(cast.amax_rule, grid, t.x, amax);
  Quantized out;
  for (const float a : amax) {
    out.scales.push_back(cast.given ? cast.scales : block_scales(cast.scale_rule, a));
    out.amax.push_back(cast.given ? 0u : float_bits(a));
  }
  out.codes.resize(t.x.size());
  quantize(cast.format, cast.rule, grid, t.x, out.scales, out.codes, cast.seed, cast.first, cast.apply);
  const std::int64_t stride = cast.layout == ScaleLayout::tma ? (grid.down() + 3) / 4 * 4 : grid.across();
  out.inverse.resize(cast.layout == ScaleLayout::tma ? grid.across() * stride : grid.blocks());
  const bool bytes = cast.storage == ScaleStorage::e8m0 || cast.storage == ScaleStorage::e4m3;
  out.inverse_code.resize(bytes ? out.inverse.size() : 0);
  for (std::int64_t r = 0; r < grid.down(); ++r)
    for (std::int64_t c = 0; c < grid.across(); ++c) {
      const std::int64_t block = r * grid.across() + c;
      const std::int64_t at = cast.layout == ScaleLayout::tma ? c * stride + r : r * stride + c;
      out.inverse[at] = out.scales[block].scale_inv;
      if (bytes) out.inverse_code[at] = static_cast<std::uint8_t>(stored_scale(cast.scale_rule, cast.storage, amax[block]));
    }
  if (!cast.transposed) return out;
  for (std::int64_t c = 0; c < t.cols; ++c)
    for (std::int64_t r = 0; r < t.rows; ++r) out.transposed.push_back(out.codes[r * t.cols + c]);
  return out;
}

/// A NaN is a NaN: the emulator writes the quiet one, a kernel keeps the pattern it met.
std::vector<std::uint32_t> canonical(std::vector<std::uint32_t> amax) {
  for (std::uint32_t& a : amax) a = a > inf_bits ? 0x7fc00000u : a;
  return amax;
}

std::unique_ptr<cuda::DeviceTensor> uploaded(cuda::Engine& engine, const CheckTensor& t) {
  auto tensor = engine.tensor(t.element, t.rows, t.cols);
  tensor->upload(0, t.rows, t.bytes().data());
  return tensor;
}

void compare(WordCount& count, const Quantized& want, const Quantized& got) {
  count.compare("codes", want.codes, got.codes);
  count.compare("transposed codes", want.transposed, got.transposed);
  count.compare("scales", want.scales, got.scales);
  count.compare("scale_inv", want.inverse, got.inverse);
  count.compare("scale_inv codes", want.inverse_code, got.inverse_code);
}

std::string describe(const CheckTensor& t, const std::string& cast) {
  return fmt::format("{} {}, {}", cuda::elements[static_cast<int>(t.element)].name, t.name, cast);
}

void check_cast(cuda::DeviceTensor& tensor, const CheckTensor& t, const BlockCast& cast, const std::string& name,
                const TakeCheck& take) {
  WordCount count(cuda::kernel_name(cast, t.rows, t.cols), describe(t, name));
  const Quantized want = emulate(t, cast), got = tensor.quantize(cast);
  compare(count, want, got);
  count.compare("amax", canonical(want.amax), canonical(got.amax));
  take(count.result());
}

bool fits(const Plan& plan, const BlockShape& block, const CheckTensor& t) {
  return !plan.whole_blocks || ((block.rows == 0 || t.rows % block.rows == 0) && (block.cols == 0 || t.cols % block.cols == 0));
}

/// Three steps of a recipe with a memory: the tensor, half of it, the tensor.
void check_delayed(cuda::Engine& engine, const CheckTensor& t, const std::string& spec, const TensorKind& kind,
                   const TakeCheck& take) {
  const auto recipe = make_recipe(spec, kind);
  const auto* delayed = dynamic_cast<const DelayedRecipe*>(recipe.get());
  if (!delayed) return take({"none, the CPU casts these", spec, 0, 0, ""});
  const Plan& plan = recipe->plan();
  const cuda::DelayedRule rule{std::ssize(delayed->history()), delayed->algorithm() == AmaxAlgorithm::most_recent,
                               delayed->max(), delayed->options().roll_on_zero,
                               delayed->options().guard_tiny ? float_max : bits_float(inf_bits)};
  const auto state = engine.delayed(rule);
  CheckTensor half = t;
  for (std::size_t i = 0; i < half.x.size(); ++i)
    if (i % 3 == 0) half.x[i] = 0.0f, half.stored[i] = 0;
  WordCount count("tensor, history", describe(t, spec));
  for (const CheckTensor* step : {&t, static_cast<const CheckTensor*>(&half), &t}) {
    BlockCast cast;
    cast.format = plan.format, cast.rule = plan.cast, cast.amax_rule = plan.amax_rule;
    cast.given = true;
    const float a = amax(plan.amax_rule, step->x);
    recipe->step({&a, 1}, {&cast.scales, 1});
    compare(count, emulate(*step, cast), uploaded(engine, *step)->quantize_delayed(cast, *state));
    count.compare("history", delayed->history(), state->history());
    count.compare("next scale", std::vector<float>{delayed->scale()}, std::vector<float>{state->scales().scale});
  }
  take(count.result());
}

/// Passes of two casts each, of TE's bulk kernel and of that for one tensor, which rolls on zero.
void check_recorded(cuda::Engine& engine, const CheckTensor& t, const TakeCheck& take) {
  CheckTensor zeros = t, half = t;
  for (std::size_t i = 0; i < t.x.size(); ++i) {
    zeros.x[i] = 0.0f, zeros.stored[i] = 0;
    if (i % 3 == 0) half.x[i] = 0.0f, half.stored[i] = 0;
  }
  const CheckTensor* casts[] = {&half, &t, &half, &half, &zeros, &zeros, &zeros, &half};
  for (const bool single : {false, true})
    for (const bool most_recent : {false, true}) {
      const DelayedRule rule{HistoryKind::te_fused, single, most_recent, e4m3.max_value(), 1};
      DelayedState want{1.0f, std::vector<float>(3)};
      const auto state = engine.delayed({std::ssize(want.history), most_recent, rule.max * pow2(-rule.margin), single, float_max});
      WordCount count("tensor, recorded", describe(t, fmt::format("{} kernel, {}", single ? "non-bulk" : "bulk", most_recent ? "most_recent" : "max")));
      for (std::size_t i = 0; i < std::size(casts); ++i) {
        BlockCast cast;
        cast.given = true, cast.scales = {want.scale, 1.0f / want.scale};
        record_amax(want, amax(cast.amax_rule, casts[i]->x));
        compare(count, emulate(*casts[i], cast), uploaded(engine, *casts[i])->quantize_recorded(cast, *state));
        if (i % 2 == 1) update(want, rule), state->update();
        count.compare("history", want.history, state->history());
        count.compare("next scale", std::vector<float>{want.scale}, std::vector<float>{state->scales().scale});
      }
      take(count.result());
    }
}

Format input_of(const CheckTensor& t) {
  return t.element == cuda::Element::bf16 ? bf16 : t.element == cuda::Element::fp16 ? fp16 : TensorKind{}.input;
}

void check_recipe(cuda::Engine& engine, cuda::DeviceTensor& tensor, const CheckTensor& t, const std::string& spec,
                  const TakeCheck& take) {
  for (const NamedRole& role : roles) {
    const TensorKind kind{role.role, input_of(t)};
    const auto recipe = make_recipe(spec, kind);
    const ScaleRule* rule = recipe->block_rule();
    if (!rule) {
      check_delayed(engine, t, spec, kind, take);
      continue;
    }
    const Plan& plan = recipe->plan();
    if (!on_kernels(plan)) {
      take({"none, the CPU casts these", spec, 0, 0, ""});
      continue;
    }
    for (const bool rows_contracted : {false, true}) {
      BlockShape block = plan.block;
      if (rows_contracted) std::swap(block.rows, block.cols);
      BlockCast cast = block_cast(plan, block, rule, amax(plan.amax_rule, t.x));
      if (rows_contracted && cast.block == plan.block) continue;
      if (!fits(plan, cast.block, t)) continue;
      cast.transposed = cuda::one_kernel_transposes(cast.block) && plan.format.bits() <= 8;
      check_cast(tensor, t, cast, fmt::format("{} {} {}", spec, role.name, block_name(cast.block)), take);
    }
  }
}

/// Options that lead to other arithmetic; recipes of the table come with their defaults besides.
constexpr const char* variants[] = {
    "te_delayed:amax_history_len=1", "te_delayed:amax_history_len=4:amax_compute_algo=most_recent",
    "te_current:pow2=1:format=e5m2", "te_block:scales=fp32",        "te_block:block=1x32",
    "dsv3:scales=ue8m0",             "dsv3:format=e5m2",            "mxfp8:scale=floor",
    "mxfp8:block=16:format=e2m1",    "mxfp8:specials=torchao:format=e5m2"};

struct CastRow {
  const char* name;
  BlockCast cast;
};

std::vector<CastRow> cast_rows() {
  const ScaleRule te, e8m0{ScaleRule::Kind::e8m0_ceil};
  CastRule stochastic, special, away, signed_nan = ml_dtypes_rule(Rounding::nearest_even, Overflow::saturate);
  stochastic.rounding = Rounding::stochastic;
  special.overflow = Overflow::special;
  away.rounding = Rounding::nearest_away;
  const auto propagate = AmaxRule::propagate_nan;
  std::vector<CastRow> rows;
  const auto add = [&](const char* name, const Format& f, const CastRule& rule, BlockShape block, AmaxRule amax,
                       const ScaleRule& scale) -> BlockCast& {
    rows.push_back({name, {f, rule, block, amax, scale}});
    if (scale.kind == ScaleRule::Kind::e8m0_ceil) rows.back().cast.storage = ScaleStorage::e8m0;
    return rows.back().cast;
  };
  for (const Format& f : {e4m3, e5m2, parse_format("e4m3fnuz"), parse_format("e2m1"), parse_format("e3m2"), bf16})
    for (const BlockShape block : {BlockShape{1, 128}, {128, 1}, {128, 128}, {}})
      add("format", f, {}, block, propagate, te);
  for (const CastRule& rule : {stochastic, special, away, signed_nan})
    for (const BlockShape block : {BlockShape{1, 32}, {32, 1}, {128, 128}, {1, 0}, {}})
      add("rule", rule == stochastic ? e5m2 : e4m3, rule, block, AmaxRule::ignore_nan, e8m0).seed = 77;
  add("first", e4m3, stochastic, {1, 128}, propagate, te).first = (std::uint64_t{1} << 34) + 3;
  for (const BlockShape block : {BlockShape{1, 0}, {0, 1}, {3, 5}, {1, 16}, {1, 512}, {1, 48}, {16, 1}, {64, 1}, {64, 32}, {256, 256}, {0, 128}})
    add("block", e4m3, {}, block, propagate, te);
  for (const BlockShape block : {BlockShape{1, 128}, {128, 128}, {128, 1}, {1, 0}})
    add("tma scales", e4m3, {}, block, propagate, te).layout = ScaleLayout::tma;
  for (const BlockShape block : {BlockShape{16, 1}, {32, 1}, {64, 1}, {128, 1}})
    add("transposed", e4m3, stochastic, block, propagate, te).transposed = true;
  for (const float scale : {0.0f, 3.7f, 0x1p-140f, 3e38f, bits_float(inf_bits), bits_float(0x7fc00000u)}) {
    BlockCast& cast = add("given scale", e4m3, {}, {}, propagate, te);
    cast.given = true, cast.scales = {scale, 1.0f};
  }
  return rows;
}

}  // namespace

void check_conversions(cuda::Engine& engine, std::span<const CheckTensor>, const TakeCheck& take) {
  CastRule no_inf;
  no_inf.inf = InfRule::special;
  for (const char* name : {"e4m3", "e5m2", "e4m3fnuz", "e5m2fnuz", "e2m1", "e3m2"})
    for (const CastRule& rule : {CastRule{}, no_inf}) {
      const Format f = parse_format(name);
      const cuda::Conversions found = engine.conversions(f, rule, engine.is_gpu() ? 1 : 4093);
      take({"conversions", fmt::format("{}, {}", name, rule == no_inf ? "infinity kept" : "saturating"), found.tried, found.differ,
            fmt::format("the lowest float that differs is {:08x}", found.lowest)});
    }
}

void check_recipes(cuda::Engine& engine, std::span<const CheckTensor> tensors, const TakeCheck& take) {
  for (const CheckTensor& t : tensors) {
    const auto tensor = uploaded(engine, t);
    for (const NamedRecipe& recipe : recipes()) check_recipe(engine, *tensor, t, std::string(recipe.name), take);
    for (const char* spec : variants) check_recipe(engine, *tensor, t, spec, take);
    check_recorded(engine, t, take);
  }
}

void check_casts(cuda::Engine& engine, std::span<const CheckTensor> tensors, const TakeCheck& take) {
  for (const CheckTensor& t : tensors) {
    const auto tensor = uploaded(engine, t);
    for (const auto& [name, cast] : cast_rows())
      check_cast(*tensor, t, cast, fmt::format("{} {} {} {}", name, format_name(cast.format),
                                               rounding_word(cast.rule.rounding), block_name(cast.block)),
                 take);
  }
}

}  // namespace fp8scope
