#include "src/dump_model.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "sim/convert.hpp"
#include "sim/models.hpp"
#include "src/errors.hpp"
#include "src/gemm_error.hpp"
#include "src/requested_cast.hpp"

namespace fp8scope {
namespace {

/// The output that the table of models knows: a kernel rounds binary32 to bfloat16 itself.
std::string unit_output(const Dump& dump) { return dump.output == "bf16" ? "f32" : dump.output; }

/// What recompute() needs for every row, allocated once.
struct RowScales {
  std::vector<Operand> a, b;
};

std::uint32_t recompute_row(const Dump& dump, const DumpModel& m, std::size_t row, RowScales& scales) {
  const float c = dump.c_used ? decode(dump.output_format(), dump.c[row]) : 0.0f;
  const std::span a(&dump.a[row * dump.k], dump.k), b(&dump.b[row * dump.k], dump.k);
  const bool inside = m.model.scale_block > 0;
  const std::size_t block = inside ? static_cast<std::size_t>(m.model.scale_block) : 1;
  scales.a.clear(), scales.b.clear();
  for (std::size_t s = 0; inside && s < dump.scales_per_row; ++s) {
    scales.a.push_back(unpack_scale(m.model.scale_format, dump.scale_a[row * dump.scales_per_row + s]));
    scales.b.push_back(unpack_scale(m.model.scale_format, dump.scale_b[row * dump.scales_per_row + s]));
  }
  const bool outside = !inside && dump.factors_per_row > 0;
  if (m.promote == 0 && !outside) return dump.output_word(dot(m.model, {a, scales.a}, {b, scales.b}, c));

  const auto factor = [&](const std::vector<float>& of, std::size_t k) {
    return of[row * dump.factors_per_row + k / dump.factor_block];
  };
  const std::size_t interval = m.promote == 0 ? dump.k : m.promote;
  float total = 0.0f;
  for (std::size_t k = 0; k < dump.k; k += interval) {
    const std::size_t count = std::min(interval, dump.k - k), blocks = (count + block - 1) / block;
    const auto part = [&](std::span<const Operand> x, const std::vector<Operand>& s) {
      return Terms{x.subspan(k, count), inside ? std::span(s).subspan(k / block, blocks) : std::span<const Operand>{}};
    };
    const float p = dot(m.model, part(a, scales.a), part(b, scales.b), 0.0f);
    const bool now = outside && m.order != ScaleOrder::plain;
    total = promote(m.order, total, p, now ? factor(dump.factor_a, k) : 1.0f, now ? factor(dump.factor_b, k) : 1.0f);
  }
  if (outside && m.order == ScaleOrder::plain) total *= factor(dump.factor_a, 0) * factor(dump.factor_b, 0);
  const std::uint32_t word = dump.output_word(total);
  return dump.c_used ? dump.output_word(decode(dump.output_format(), word) + c) : word;
}

/// Throws where recompute_row() would read what is not there.
void require_scales(const Dump& dump, const DumpModel& m) {
  if (m.model.scale_block > 0) {
    const auto block = static_cast<std::size_t>(m.model.scale_block);
    if (dump.scales_per_row * block != dump.k)
      throw DataError(fmt::format("{}: {} takes {} scale codes a row; the dump has {}", dump.where, m.name,
                                  dump.k / block, dump.scales_per_row));
    if (m.promote % block != 0) throw std::invalid_argument("the promotion interval must hold whole blocks of scales");
    return;
  }
  if (dump.scales_per_row > 0 && dump.factors_per_row == 0)
    throw DataError(fmt::format("{}: {} takes no scales; the dump has {} a row", dump.where, m.name, dump.scales_per_row));
  if (dump.factors_per_row > 1 && (m.promote == 0 || dump.factor_block % m.promote != 0))
    throw std::invalid_argument(fmt::format("the promotion interval must divide the {} products that share a scale", dump.factor_block));
  if (dump.factors_per_row > 1 && m.order == ScaleOrder::plain)
    throw std::invalid_argument("block scales need an order that applies them");
}

/// Intervals and orders with which a model can compute the dump.
void add_candidates(const Dump& dump, const ModelRow& row, const std::string& recipe, std::vector<DumpModel>& out) {
  std::vector<ScaleOrder> orders{ScaleOrder::plain};
  const bool outside = row.model.scale_block == 0 && dump.factors_per_row > 0;
  if (outside) orders = {ScaleOrder::plain, ScaleOrder::product, ScaleOrder::first_a, ScaleOrder::first_b};
  const std::size_t step = static_cast<std::size_t>(std::max({1, row.model.terms, row.model.scale_block}));
  std::vector<std::size_t> intervals{0};
  for (std::size_t n = 32; n < dump.k; n *= 2)
    if (n % step == 0) intervals.push_back(n);
  if (outside && dump.factor_block % step == 0) intervals.push_back(dump.factor_block);
  std::ranges::sort(intervals);
  intervals.erase(std::unique(intervals.begin(), intervals.end()), intervals.end());
  for (const std::size_t interval : intervals)
    for (const ScaleOrder order : orders) {
      DumpModel candidate{std::string(row.name), row.model, interval, order, recipe};
      try {
        require_scales(dump, candidate);
        out.push_back(std::move(candidate));
      } catch (const std::invalid_argument&) {
      } catch (const DataError&) {
      }
    }
}

void add_fits(const Dump& dump, const std::string& recipe, bool nan_bits, std::vector<DumpModel>& fits) {
  std::vector<DumpModel> candidates;
  for (const ModelRow& row : model_rows())
    if (row.output == unit_output(dump) && accepts(row, dump.a_format, dump.b_format))
      add_candidates(dump, row, recipe, candidates);
  RowScales scales;
  for (DumpModel& candidate : candidates) {
    std::size_t row = 0;
    while (row < dump.rows && same_word(dump, dump.d[row], recompute_row(dump, candidate, row, scales), nan_bits)) ++row;
    if (row == dump.rows) fits.push_back(std::move(candidate));
  }
}

std::vector<float> values_of(const std::vector<std::uint32_t>& words, const std::string& format) {
  const Format f = format == "fp32" ? fp32 : parse_format(format);
  std::vector<float> values;
  for (const std::uint32_t word : words) values.push_back(decode(f, word));
  return values;
}

}  // namespace

std::string DumpModel::text() const {
  std::string text = recipe.empty() ? name : recipe + ", " + name;
  if (promote > 0) text += fmt::format(" promoted every {}", promote);
  if (order == ScaleOrder::plain) return text;
  const char* before = ", ";
  for (const NamedScaleOrder& o : scale_orders)
    if (o.order == order) text += before + std::string(o.name), before = " = ";
  return text;
}

std::string model_named_by(const std::string& group) {
  std::string_view best;
  for (const ModelRow& row : model_rows())
    if (group.starts_with(row.name) && row.name.size() > best.size()) best = row.name;
  for (const ModelAlias& alias : model_aliases())
    if (group.starts_with(alias.name) && alias.name.size() > best.size()) best = alias.name;
  return std::string(best);
}

DumpModel default_model(const Dump& dump, const std::string& name) {
  DumpModel m{name, parse_model(name, dump.a_format, dump.b_format, unit_output(dump))};
  if (m.model.scale_block == 0 && dump.factors_per_row > 1) m.promote = dump.factor_block, m.order = ScaleOrder::product;
  return m;
}

std::vector<std::uint32_t> recompute(const Dump& dump, const DumpModel& model) {
  require_scales(dump, model);
  std::vector<std::uint32_t> words(dump.rows);
  RowScales scales;
  for (std::size_t row = 0; row < dump.rows; ++row) words[row] = recompute_row(dump, model, row, scales);
  return words;
}

bool has_sources(const Dump& dump) {
  const auto source = [](const std::string& f) { return f == "fp32" || f == "fp16" || f == "bf16"; };
  return source(dump.a_format) && source(dump.b_format) && dump.scales_per_row + dump.factors_per_row == 0;
}

Dump cast_by(const Dump& dump, const std::string& recipe) {
  Dump cast = dump;
  const auto one_side = [&](Role role, bool second, const std::string& format, const std::vector<std::uint32_t>& words,
                            std::vector<Operand>& operands, std::vector<float>& factors) {
    const TensorKind kind{role, format == "fp32" ? fp32 : parse_format(format)};
    const RequestedCast request = request_cast(recipe, std::nullopt, kind);
    const std::vector<float> x = values_of(words, format);
    const GemmOperand operand{static_cast<std::int64_t>(dump.rows), static_cast<std::int64_t>(dump.k), x, request.cast};
    CastPass::require_whole_blocks(request.cast.plan, request.cast.block, operand.rows, operand.k, dump.where + ": " + recipe);
    const CastOperand side = cast_operand(operand);
    const std::string name = format_name(request.cast.plan.format);
    operands = unpack_words({side.codes.begin(), side.codes.end()}, name);
    const BlockGrid grid(operand.rows, operand.k, request.cast.block);
    if (second && cast.factor_block != static_cast<std::size_t>(grid.block_cols))
      throw std::invalid_argument(recipe + " casts a and b in blocks of different length");
    cast.factors_per_row = static_cast<std::size_t>(grid.across());
    cast.factor_block = static_cast<std::size_t>(grid.block_cols);
    factors.clear();
    for (std::int64_t r = 0; r < grid.rows; ++r)
      for (std::int64_t k = 0; k < grid.cols; k += grid.block_cols) factors.push_back(side.scale_inv[grid.block(r, k)]);
    return std::pair(name, request.cast.plan.storage);
  };
  const RequestedCast weight = request_cast(recipe, std::nullopt, {Role::weight, fp32});
  if (weight.cast.plan.delayed) throw std::invalid_argument(recipe + " scales by earlier steps, which a dump does not have");
  const Role role_b = weight.cast.block.rows > 1 ? Role::activation : Role::weight;
  const auto [a_name, a_storage] = one_side(Role::activation, false, dump.a_format, dump.a_words, cast.a, cast.factor_a);
  const auto [b_name, b_storage] = one_side(role_b, true, dump.b_format, dump.b_words, cast.b, cast.factor_b);
  cast.a_format = a_name, cast.b_format = b_name;
  if (a_storage == ScaleStorage::e8m0 && b_storage == ScaleStorage::e8m0) {
    cast.scales_per_row = cast.factors_per_row;
    for (const float f : cast.factor_a) cast.scale_a.push_back(e8m0_code(f));
    for (const float f : cast.factor_b) cast.scale_b.push_back(e8m0_code(f));
  }
  return cast;
}

std::vector<DumpModel> models_that_fit(const Dump& dump, std::span<const std::string> recipes, bool nan_bits) {
  std::vector<DumpModel> fits;
  add_fits(dump, "", nan_bits, fits);
  for (const std::string& recipe : recipes) {
    if (!has_sources(dump)) break;
    try {
      add_fits(cast_by(dump, recipe), recipe, nan_bits, fits);
    } catch (const std::invalid_argument&) {  // a recipe that cannot cast these operands explains nothing
    } catch (const DataError&) {
    }
  }
  return fits;
}

}  // namespace fp8scope
