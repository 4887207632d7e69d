#include "src/replay_tables.hpp"

#include <algorithm>
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

}  // namespace

std::int64_t gemm_id(std::string_view name) {
  return std::ranges::find(gemm_names, name) - std::begin(gemm_names);
}

std::string_view gemm_name(std::int64_t id) { return gemm_names[id]; }

ReplayTables::ReplayTables(const ReplayInput& input, const ReplayOptions& options)
    : input_(input), options_(options) {}

void ReplayTables::take(const ReplayItem& item) {
  const auto tensor = static_cast<std::int64_t>(item.tensor);
  const std::int64_t step = input_.steps[item.step];
  const auto& exponents = item.facts->exponents();
  histograms_.push_back({tensor, step, {exponents.begin(), exponents.end()}});
  for (std::size_t i = 0; i < item.casts.size(); ++i) {
    Row row{tensor, step, static_cast<std::int64_t>(item.casts[i].recipe),
            gemm_id(item.casts[i].gemm), {}, {}};
    for (const Statistic& s : statistics())
      row.statistics.push_back(s.value(*item.facts, item.results[i]));
    for (const Count& c : counts()) row.counts.push_back(c.value(*item.facts, item.results[i]));
    rows_.push_back(std::move(row));
  }
}

void ReplayTables::write_to(Results& results) const {
  Table& table = results.add("results", "one row per cast of one tensor of one step");
  table.signal = "sqnr_db";
  const auto ids = [&](const char* name, const char* meaning, auto member) {
    auto& column = table.add<std::int64_t>(name, "1", meaning);
    for (const Row& row : rows_) column.push_back(row.*member);
  };
  ids("tensor_id", "row of lookup/tensor", &Row::tensor);
  ids("step", "recorded step", &Row::step);
  ids("recipe_id", "row of lookup/recipe", &Row::recipe);
  ids("gemm_id", "row of lookup/gemm: blocks lie along its contracted dimension", &Row::gemm);
  for (std::size_t i = 0; i < counts().size(); ++i) {
    auto& column = table.add<std::uint64_t>(std::string(counts()[i].name), "1",
                                            std::string(counts()[i].long_name));
    for (const Row& row : rows_) column.push_back(row.counts[i]);
  }
  for (std::size_t i = 0; i < statistics().size(); ++i) {
    const Statistic& s = statistics()[i];
    auto& column = table.add<double>(std::string(s.name), std::string(s.unit), std::string(s.long_name));
    for (const Row& row : rows_) column.push_back(row.statistics[i]);
  }

  Table& hist = results.add("hist", "exponents of every tensor of every step, before any cast");
  auto& tensor = hist.add<std::int64_t>("tensor_id", "1", "row of lookup/tensor");
  auto& step = hist.add<std::int64_t>("step", "1", "recorded step");
  auto& count = hist.add<std::uint64_t>("count", "1", "elements", exponent_axis());
  for (const Histogram& h : histograms_) {
    tensor.push_back(h.tensor);
    step.push_back(h.step);
    count.insert(count.end(), h.exponents.begin(), h.exponents.end());
  }

  Table& tensors = results.add("lookup/tensor", "operands of the trace");
  auto& name = tensors.add<std::string>("name", "1", "layer/operand");
  auto& role = tensors.add<std::string>("class", "1", "what it is to the GEMMs of its layer");
  auto& dtype = tensors.add<std::string>("dtype", "1", "type it was recorded in");
  auto& rows = tensors.add<std::int64_t>("rows", "1", "recorded rows of one step");
  auto& cols = tensors.add<std::int64_t>("cols", "1", "columns");
  for (const TensorInfo& info : input_.tensors) {
    name.push_back(info.name());
    const auto* row = std::ranges::find(roles, info.operand, &NamedRole::operand);
    role.push_back(row == std::end(roles) ? "" : std::string(row->name));
    dtype.push_back(info.dtype);
    rows.push_back(info.rows);
    cols.push_back(info.cols);
  }

  Table& recipe_table = results.add("lookup/recipe", "recipes as they were asked for");
  auto& spec = recipe_table.add<std::string>("name", "1", "recipe and options");
  auto& version = recipe_table.add<std::string>("version", "1", "behaviour that is reproduced");
  for (const std::string& recipe : options_.recipes) {
    spec.push_back(recipe);
    version.push_back(find_recipe(recipe_name(recipe)).version);
  }

  Table& gemms = results.add("lookup/gemm", "matrix products of a linear layer");
  auto& gemm = gemms.add<std::string>("name", "1", "empty: the trace does not say");
  gemm.assign(std::begin(gemm_names), std::end(gemm_names));
}

Table ReplayTables::summary() const {
  const std::size_t sqnr = index_of("sqnr_db"), bulk = index_of("bulk_sqnr_db");
  const std::size_t underflow = index_of("underflow"), clipped = index_of("clipped");
  Table table("summary", "by recipe and operand class");
  auto& recipe_column = table.add<std::string>("recipe", "1", "recipe and options");
  recipe_column = options_.recipes;
  for (const NamedRole& role : roles) {
    std::vector<std::vector<double>> of_class[5];  // [what][recipe]
    for (auto& what : of_class) what.resize(options_.recipes.size());
    std::vector<double> elements(options_.recipes.size(), 0.0);
    bool any = false;
    for (const Row& row : rows_) {
      if (input_.tensors[row.tensor].operand != role.operand) continue;
      any = true;
      const auto n = static_cast<double>(row.counts[0]);
      of_class[0][row.recipe].push_back(row.statistics[sqnr]);
      of_class[1][row.recipe].push_back(row.statistics[bulk]);
      of_class[2][row.recipe].push_back(row.statistics[underflow] * n);
      of_class[3][row.recipe].push_back(row.statistics[clipped] * n);
      elements[row.recipe] += n;
    }
    if (!any) continue;
    const std::string prefix = std::string(role.operand) + " ";
    const auto add = [&](const char* name, const char* unit, auto value) {
      auto& column = table.add<double>(prefix + name, unit, std::string(role.name) + "s");
      for (std::size_t r = 0; r < options_.recipes.size(); ++r) column.push_back(value(r));
    };
    const auto share = [&](std::size_t what) {
      return [&, what](std::size_t r) {
        double sum = 0.0;
        for (const double count : of_class[what][r]) sum += count;
        return 100.0 * sum / elements[r];
      };
    };
    add("sqnr", "dB", [&](std::size_t r) { return median(of_class[0][r]); });
    add("worst", "dB", [&](std::size_t r) { return *std::ranges::min_element(of_class[0][r]); });
    add("bulk", "dB", [&](std::size_t r) { return median(of_class[1][r]); });
    add("underflow", "%", share(2));
    add("clipped", "%", share(3));
  }
  return table;
}

}  // namespace fp8scope
