#include "src/gemm_tables.hpp"

#include <algorithm>
#include <map>
#include <tuple>

namespace fp8scope {
namespace {

/// A number of GemmError: a column of the table.
struct GemmStatistic {
  const char* name;
  const char* long_name;
  double (*value)(const GemmError&);
};

constexpr GemmStatistic statistics_of_gemm[] = {
    {"total", "||D - P|| / ||P||, Frobenius, P in binary64", [](const GemmError& e) { return e.total; }},
    {"from_a", "of A'B - AB: what casting A owns", [](const GemmError& e) { return e.from_a; }},
    {"from_b", "of A'B' - A'B: what casting B owns", [](const GemmError& e) { return e.from_b; }},
    {"from_accumulator", "of unit - A'B': what the matrix unit owns",
     [](const GemmError& e) { return e.from_accumulator; }},
    {"from_output", "of D - unit: what rounding the output owns", [](const GemmError& e) { return e.from_output; }},
    {"max", "largest |D - P| / rms(P)", [](const GemmError& e) { return e.max; }},
    {"p50", "median |D - P| / |P|", [](const GemmError& e) { return e.p50; }},
    {"p99", "99th percentile of |D - P| / |P|", [](const GemmError& e) { return e.p99; }},
    {"p999", "99.9th percentile of |D - P| / |P|", [](const GemmError& e) { return e.p999; }},
    {"bias", "mean (D - P) / rms(P)", [](const GemmError& e) { return e.bias; }},
};

double median(std::vector<double> values) {
  const auto middle = values.begin() + (values.size() - 1) / 2;
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

}  // namespace

void GemmTables::write_to(Results& results) const {
  Table& table = results.add("gemm", "one row per product of one layer, step, recipe and matrix unit");
  table.signal = "total";
  const auto integers = [&](const char* name, const char* meaning, auto value) {
    auto& column = table.add<std::int64_t>(name, "1", meaning);
    for (const GemmRecord& r : records_) column.push_back(static_cast<std::int64_t>(value(r)));
  };
  integers("a_tensor_id", "row of lookup/tensor", [](const GemmRecord& r) { return r.a; });
  integers("b_tensor_id", "row of lookup/tensor", [](const GemmRecord& r) { return r.b; });
  integers("step", "recorded step", [&](const GemmRecord& r) { return input_.steps[r.step]; });
  integers("recipe_id", "row of lookup/recipe", [](const GemmRecord& r) { return r.recipe; });
  integers("accumulator_id", "row of lookup/accumulator", [](const GemmRecord& r) { return r.request; });
  integers("m", "rows of D", [](const GemmRecord& r) { return r.m; });
  integers("n", "columns of D", [](const GemmRecord& r) { return r.n; });
  integers("k", "products of an element", [](const GemmRecord& r) { return r.k; });
  integers("promote", "N_C; 0: never promoted", [](const GemmRecord& r) { return r.promote; });
  integers("nonfinite_count", "elements left out", [](const GemmRecord& r) { return r.error.nonfinite; });
  auto& gemm = table.add<std::string>("gemm", "1", "fprop, dgrad or wgrad");
  for (const GemmRecord& r : records_) gemm.push_back(r.gemm);
  for (const GemmStatistic& s : statistics_of_gemm) {
    auto& column = table.add<double>(s.name, "1", s.long_name);
    for (const GemmRecord& r : records_) column.push_back(s.value(r.error));
  }
  Table& lookup = results.add("lookup/accumulator", "matrix units as they were asked for");
  auto& name = lookup.add<std::string>("name", "1", "model and options");
  auto& promote = lookup.add<std::string>("promote", "1", "N_C as it was asked for");
  auto& order = lookup.add<std::string>("order", "1", "where the scales enter, as it was asked for");
  auto& output = lookup.add<std::string>("output_format", "1", "format of D");
  auto& parts = lookup.add<std::int64_t>("split_k", "1", "parts of K summed apart");
  for (const GemmRequest& r : requests_) {
    name.push_back(r.accumulator), promote.push_back(r.promote), order.push_back(r.order);
    output.emplace_back(r.bf16_output ? "bfloat16" : "float32"), parts.push_back(r.split_k);
  }
}

Table GemmTables::summary() const {
  Table table("gemm", "errors of products, medians over layers and steps");
  auto& gemm = table.add<std::string>("gemm", "1", "");
  auto& terms = table.add<std::int64_t>("k", "1", "");
  auto& recipe = table.add<std::string>("recipe", "1", "");
  auto& unit = table.add<std::string>("accumulator", "1", "");
  auto& promoted = table.add<std::string>("N_C", "1", "");
  std::vector<std::vector<double>*> columns;
  for (const GemmStatistic& s : statistics_of_gemm)
    columns.push_back(&table.add<double>(std::string(s.name) + " %", "%", s.long_name));

  // Rows in the order of products, K, recipes, accumulators; the intervals are those that were used.
  const auto unit_of = [&](std::size_t request) {
    return std::ranges::find(requests_, requests_[request].accumulator, &GemmRequest::accumulator) - requests_.begin();
  };
  using Key = std::tuple<std::ptrdiff_t, std::int64_t, std::size_t, std::ptrdiff_t, std::int64_t>;
  std::map<Key, std::vector<const GemmRecord*>> rows;
  constexpr std::string_view names[] = {"fprop", "dgrad", "wgrad"};
  for (const GemmRecord& r : records_)
    rows[{std::ranges::find(names, r.gemm) - std::begin(names), r.k, r.recipe, unit_of(r.request), r.promote}].push_back(&r);
  for (const auto& [key, records] : rows) {
    const auto& [product, k, of_recipe, request, promote] = key;
    gemm.emplace_back(names[product]), terms.push_back(k), recipe.push_back(options_.recipes[of_recipe]);
    unit.push_back(requests_[request].accumulator);
    promoted.push_back(promote == 0 ? "none" : std::to_string(promote));
    for (std::size_t s = 0; s < columns.size(); ++s) {
      std::vector<double> values;
      for (const GemmRecord* r : records) values.push_back(100.0 * statistics_of_gemm[s].value(r->error));
      columns[s]->push_back(median(values));
    }
  }
  return table;
}

}  // namespace fp8scope
