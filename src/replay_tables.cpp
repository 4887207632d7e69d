#include "src/replay_tables.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

#include "sim/names.hpp"
#include "sim/recipes/record.hpp"
#include "src/cast_stats.hpp"

namespace fp8scope {
namespace {

constexpr std::string_view gemm_names[] = {"", "fprop", "dgrad", "wgrad"};

Axis exponent_axis() {
  Axis axis{"exponent", "floor(log2 |x|); the first bin holds everything smaller", {}};
  for (int i = 0; i < exponent_bins; ++i) axis.values.push_back(i - 127);
  return axis;
}

std::size_t index_of(std::string_view name) {
  return static_cast<std::size_t>(&by_name(statistics(), name, "statistic") - statistics().data());
}

/// The lower middle value; NaN if there is none.
double median(std::vector<double> values) {
  if (values.empty()) return std::numeric_limits<double>::quiet_NaN();
  const auto middle = values.begin() + (values.size() - 1) / 2;
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

/// What the operands of a role are cast to, and the range of it before scales.
void add_formats(Table& table, const NamedRole& role, std::span<const std::string> names) {
  const std::string prefix = std::string(role.operand) + "_", of = " of " + std::string(role.name) + "s";
  auto& format = table.add<std::string>(prefix + "format", "1", "element format" + of + "; empty: no floating-point format");
  auto& most = table.add<double>(prefix + "max", "1", "its largest value");
  auto& normal = table.add<double>(prefix + "min_normal", "1", "its smallest normal value");
  auto& least = table.add<double>(prefix + "min_subnormal", "1", "its smallest value above zero");
  for (const std::string& recipe : names) {
    const Plan plan = make_recipe(recipe, {role.role})->plan();
    const bool floats = plan.codec == Codec::none;
    const int exponent = plan.format.min_exponent();
    format.push_back(floats ? format_name(plan.format) : "");
    most.push_back(floats ? plan.format.max_value() : std::numeric_limits<double>::quiet_NaN());
    normal.push_back(floats ? std::ldexp(1.0, exponent) : std::numeric_limits<double>::quiet_NaN());
    least.push_back(floats ? std::ldexp(1.0, exponent - plan.format.mantissa_bits) : std::numeric_limits<double>::quiet_NaN());
  }
}

double smallest(const std::vector<double>& values) {
  return values.empty() ? std::numeric_limits<double>::quiet_NaN() : *std::ranges::min_element(values);
}

}  // namespace

std::int64_t gemm_id(std::string_view name) {
  return std::ranges::find(gemm_names, name) - std::begin(gemm_names);
}

std::string_view gemm_name(std::int64_t id) { return gemm_names[id]; }

MeasuredCast cast_row(const ReplayItem& item, std::size_t cast, std::int64_t tensor, std::int64_t step) {
  MeasuredCast row{tensor, step, static_cast<std::int64_t>(item.casts[cast].recipe), gemm_id(item.casts[cast].gemm), {}, {}};
  for (const Statistic& s : statistics()) row.statistics.push_back(s.value(*item.facts, item.results[cast]));
  for (const Count& c : counts()) row.counts.push_back(c.value(*item.facts, item.results[cast]));
  return row;
}

Table empty_cast_table() {
  Table table("results", "one row per cast of one tensor of one step");
  table.signal = "sqnr_db";
  table.add<std::int64_t>("tensor_id", "1", "row of lookup/tensor");
  table.add<std::int64_t>("step", "1", "recorded step");
  table.add<std::int64_t>("recipe_id", "1", "row of lookup/recipe");
  table.add<std::int64_t>("gemm_id", "1", "row of lookup/gemm: blocks lie along its contracted dimension");
  for (const Count& c : counts()) table.add<std::uint64_t>(std::string(c.name), "1", std::string(c.long_name));
  for (const Statistic& s : statistics())
    table.add<double>(std::string(s.name), std::string(s.unit), std::string(s.long_name));
  return table;
}

void append(Table& table, const MeasuredCast& row) {
  RowWriter writer(table);
  for (const std::int64_t id : {row.tensor, row.step, row.recipe, row.gemm}) writer.put(id);
  for (const std::uint64_t count : row.counts) writer.put(count);
  for (const double statistic : row.statistics) writer.put(statistic);
}

Table empty_hist_table() {
  Table hist("hist", "exponents of every tensor of every step, before any cast");
  hist.add<std::int64_t>("tensor_id", "1", "row of lookup/tensor");
  hist.add<std::int64_t>("step", "1", "recorded step");
  hist.add<std::uint64_t>("count", "1", "elements", exponent_axis());
  return hist;
}

void append(Table& table, std::int64_t tensor, std::int64_t step, std::span<const std::uint64_t> exponents) {
  RowWriter writer(table);
  writer.put(tensor);
  writer.put(step);
  writer.put_all(exponents);
}

Table empty_tensor_table() {
  Table tensors("lookup/tensor", "operands of the trace");
  tensors.add<std::string>("name", "1", "layer/operand");
  tensors.add<std::string>("class", "1", "what it is to the GEMMs of its layer");
  tensors.add<std::string>("dtype", "1", "type it was recorded in");
  tensors.add<std::int64_t>("rows", "1", "recorded rows of one step");
  tensors.add<std::int64_t>("cols", "1", "columns");
  return tensors;
}

void append(Table& table, const TensorInfo& info) {
  RowWriter writer(table);
  const auto* role = std::ranges::find(roles, info.operand, &NamedRole::operand);
  writer.put(info.name());
  writer.put(role == std::end(roles) ? std::string() : std::string(role->name));
  writer.put(info.dtype);
  writer.put(info.rows);
  writer.put(info.cols);
}

Table recipe_table(std::span<const std::string> names) {
  Table table("lookup/recipe", "recipes as they were asked for");
  auto& spec = table.add<std::string>("name", "1", "recipe and options");
  auto& version = table.add<std::string>("version", "1", "behaviour that is reproduced");
  for (const std::string& recipe : names) {
    spec.push_back(recipe);
    version.push_back(find_recipe(recipe_name(recipe)).version);
  }
  for (const NamedRole& role : roles) add_formats(table, role, names);
  return table;
}

Table gemm_name_table() {
  Table gemms("lookup/gemm", "matrix products of a linear layer");
  gemms.add<std::string>("name", "1", "empty: the trace does not say").assign(std::begin(gemm_names), std::end(gemm_names));
  return gemms;
}

void CastSummary::add(std::size_t label, const std::string& operand, const MeasuredCast& row) {
  static const std::size_t sqnr = index_of("sqnr_db"), bulk = index_of("bulk_sqnr_db");
  static const std::size_t underflow = index_of("underflow"), clipped = index_of("clipped");
  OfClass& of = classes_[{operand, label}];
  const auto n = static_cast<double>(row.counts[0]);
  of.sqnr.push_back(row.statistics[sqnr]);
  of.bulk.push_back(row.statistics[bulk]);
  of.underflow += row.statistics[underflow] * n;
  of.clipped += row.statistics[clipped] * n;
  of.elements += n;
}

Table CastSummary::table(const std::vector<std::string>& labels) const {
  Table table("summary", "by recipe and operand class");
  table.add<std::string>("recipe", "1", "recipe and options") = labels;
  const OfClass none;
  for (const NamedRole& role : roles) {
    std::vector<const OfClass*> of(labels.size(), &none);
    bool any = false;
    for (std::size_t label = 0; label < labels.size(); ++label)
      if (const auto found = classes_.find({std::string(role.operand), label}); found != classes_.end())
        of[label] = &found->second, any = true;
    if (!any) continue;
    const std::string prefix = std::string(role.operand) + " ";
    const auto add = [&](const char* name, const char* unit, auto value) {
      auto& column = table.add<double>(prefix + name, unit, std::string(role.name) + "s");
      for (const OfClass* c : of) column.push_back(value(*c));
    };
    add("sqnr", "dB", [](const OfClass& c) { return median(c.sqnr); });
    add("worst", "dB", [](const OfClass& c) { return smallest(c.sqnr); });
    add("bulk", "dB", [](const OfClass& c) { return median(c.bulk); });
    add("underflow", "%", [](const OfClass& c) { return 100.0 * c.underflow / c.elements; });
    add("clipped", "%", [](const OfClass& c) { return 100.0 * c.clipped / c.elements; });
  }
  return table;
}

ReplayTables::ReplayTables(const ReplayInput& input, const ReplayOptions& options)
    : input_(input), options_(options) {}

void ReplayTables::take(const ReplayItem& item) {
  const auto tensor = static_cast<std::int64_t>(item.tensor);
  const std::int64_t step = input_.steps[item.step];
  const auto& exponents = item.facts->exponents();
  histograms_.push_back({tensor, step, {exponents.begin(), exponents.end()}});
  for (std::size_t i = 0; i < item.casts.size(); ++i) rows_.push_back(cast_row(item, i, tensor, step));
}

void ReplayTables::write_to(Results& results) const {
  Table& table = results.tables.emplace_back(empty_cast_table());
  for (const MeasuredCast& row : rows_) append(table, row);
  Table& hist = results.tables.emplace_back(empty_hist_table());
  for (const Histogram& h : histograms_) append(hist, h.tensor, h.step, h.exponents);
  Table& tensors = results.tables.emplace_back(empty_tensor_table());
  for (const TensorInfo& info : input_.tensors) append(tensors, info);
  results.tables.push_back(recipe_table(options_.recipes));
  results.tables.push_back(gemm_name_table());
}

Table ReplayTables::summary() const {
  CastSummary summary;
  for (const MeasuredCast& row : rows_) summary.add(row.recipe, input_.tensors[row.tensor].operand, row);
  return summary.table(options_.recipes);
}

}  // namespace fp8scope
