#include "src/tiles/tile_tables.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <limits>

#include "sim/names.hpp"
#include "src/errors.hpp"
#include "src/replay_tables.hpp"
#include "src/stable_log.hpp"

namespace fp8scope {
namespace {

using Row = TileTables::Row;

constexpr std::size_t listed_when_all = 10;
constexpr std::size_t chunk_rows = 1u << 16;

double share(std::uint64_t count, const TileRow& t) { return static_cast<double>(count) / static_cast<double>(t.n); }
double measured(const TileRow& t) { return static_cast<double>(t.n - t.nans - t.infs - t.lost); }
double mse(const TileRow& t) { return t.noise / measured(t); }

/// How bad a tile is; what cannot be measured is worst, an empty tile is not bad.
struct Badness {
  std::string_view name;
  double (*value)(const TileRow&);
};
constexpr Badness badnesses[] = {
    {"sqnr_db", [](const TileRow& t) { return t.noise / t.power; }},
    {"mse", mse},
    {"underflow", [](const TileRow& t) { return share(t.underflow, t); }},
    {"clipped", [](const TileRow& t) { return share(t.clipped, t); }},
    {"max_rel_error", [](const TileRow& t) { return double{t.max_rel}; }},
};

double badness(std::string_view by, const TileRow& t) {
  if (t.lost > 0) return std::numeric_limits<double>::infinity();
  const double value = by_name(badnesses, by, "measure of tiles").value(t);
  return value >= 0.0 ? value : 0.0;
}

/// A column of the table of tiles: a row of the list below. To add one, add a row.
struct TileColumn {
  enum class Kind { index, count, f32, f64 } kind;
  bool scale;  ///< also in the table of scales
  std::string_view name, unit, long_name;
  double (*value)(const Row&);
};
using Kind = TileColumn::Kind;

constexpr TileColumn columns[] = {
    {Kind::index, true, "tensor_id", "1", "row of lookup/tensor", [](const Row& r) { return double(r.tensor); }},
    {Kind::index, true, "step", "1", "recorded step", [](const Row& r) { return double(r.step); }},
    {Kind::index, true, "recipe_id", "1", "row of lookup/recipe", [](const Row& r) { return double(r.recipe); }},
    {Kind::index, true, "gemm_id", "1", "row of lookup/gemm", [](const Row& r) { return double(r.gemm); }},
    {Kind::index, true, "tile_row", "1", "of the tile, in tiles", [](const Row& r) { return double(r.tile.row); }},
    {Kind::index, true, "tile_col", "1", "of the tile, in tiles", [](const Row& r) { return double(r.tile.col); }},
    {Kind::index, false, "block_rows", "1", "rows of a full tile", [](const Row& r) { return double(r.block_rows); }},
    {Kind::index, false, "block_cols", "1", "columns of a full tile", [](const Row& r) { return double(r.block_cols); }},
    {Kind::count, true, "scale_stored", "1", "dequantise factor as stored: E8M0 byte or binary32 bits",
     [](const Row& r) { return double(r.tile.stored); }},
    {Kind::f32, true, "scale_inv", "1", "dequantise factor", [](const Row& r) { return double{r.tile.scales.scale_inv}; }},
    {Kind::f32, false, "scale", "1", "quantise multiplier", [](const Row& r) { return double{r.tile.scales.scale}; }},
    {Kind::f32, true, "amax", "1", "max |x| by the recipe's NaN rule", [](const Row& r) { return double{r.tile.amax}; }},
    {Kind::f32, false, "min_nonzero", "1", "min |x| over x != 0; 0 if there is none",
     [](const Row& r) { return double{r.tile.min_nonzero}; }},
    {Kind::count, true, "floored", "1", "1: amax lies below the recipe's floor", [](const Row& r) { return double(r.tile.floored); }},
    {Kind::count, false, "n", "1", "elements", [](const Row& r) { return double(r.tile.n); }},
    {Kind::count, false, "nan_count", "1", "NaN among them", [](const Row& r) { return double(r.tile.nans); }},
    {Kind::count, false, "inf_count", "1", "infinities among them", [](const Row& r) { return double(r.tile.infs); }},
    {Kind::count, false, "lost_count", "1", "finite elements that the cast made NaN or infinite",
     [](const Row& r) { return double(r.tile.lost); }},
    {Kind::count, false, "underflow_count", "1", "x != 0 with code +-0", [](const Row& r) { return double(r.tile.underflow); }},
    {Kind::count, false, "subnormal_count", "1", "codes subnormal in the element format",
     [](const Row& r) { return double(r.tile.subnormal); }},
    {Kind::count, false, "clipped_count", "1", "elements that saturation changed",
     [](const Row& r) { return double(r.tile.clipped); }},
    {Kind::count, false, "overflow_count", "1", "|x| > MAX scale_inv", [](const Row& r) { return double(r.tile.overflow); }},
    {Kind::f64, false, "mse", "1", "sum e^2 / n", [](const Row& r) { return mse(r.tile); }},
    {Kind::f64, false, "sqnr_db", "dB", "10 log10(sum x^2 / sum e^2)",
     [](const Row& r) { return decibels(r.tile.power / r.tile.noise); }},
    {Kind::f64, false, "calc_diff", "1", "1 - 2 sum xy / (sum x^2 + sum y^2)",
     [](const Row& r) {
       return r.tile.noise / (2.0 * r.tile.power - 2.0 * r.tile.cross + r.tile.noise);
     }},
    {Kind::f64, false, "bias", "1", "mean of y - x", [](const Row& r) { return -r.tile.error / measured(r.tile); }},
    {Kind::f64, false, "clipped_mass", "1", "sum (|x| - |y|) over clipped elements / sum |x|",
     [](const Row& r) { return r.tile.clipped_loss / r.tile.absolute; }},
    {Kind::f32, false, "max_abs_error", "1", "max |e|", [](const Row& r) { return double{r.tile.max_abs}; }},
    {Kind::f32, false, "max_rel_error", "1", "max |e| / |x| over x != 0", [](const Row& r) { return double{r.tile.max_rel}; }},
};

Table empty_table(const std::string& name, const std::string& long_name, bool scales_only) {
  Table table(name, long_name);
  if (!scales_only) table.signal = "sqnr_db";
  for (const TileColumn& c : columns) {
    if (scales_only && !c.scale) continue;
    const std::string column(c.name), unit(c.unit), meaning(c.long_name);
    switch (c.kind) {
      case Kind::index: table.add<std::int64_t>(column, unit, meaning); break;
      case Kind::count: table.add<std::uint64_t>(column, unit, meaning); break;
      case Kind::f32: table.add<float>(column, unit, meaning); break;
      case Kind::f64: table.add<double>(column, unit, meaning); break;
    }
  }
  return table;
}

void append(Table& table, const Row& row, bool scales_only) {
  auto column = table.columns.begin();
  for (const TileColumn& c : columns) {
    if (scales_only && !c.scale) continue;
    std::visit(
        [&]<class T>(std::vector<T>& values) {
          if constexpr (!std::is_same_v<T, std::string>) values.push_back(static_cast<T>(c.value(row)));
        },
        (column++)->values);
  }
}

/// Worst first; equal ones in the order of the file.
bool worse(std::string_view by, const Row& a, const Row& b) {
  const double x = badness(by, a.tile), y = badness(by, b.tile);
  if (x != y) return x > y;
  const auto place = [](const Row& r) { return std::tuple(r.tensor, r.step, r.gemm, r.tile.row, r.tile.col); };
  return place(a) < place(b);
}

}  // namespace

TileChoice parse_tile_choice(std::string_view text) {
  TileChoice choice;
  if (text == "all") return choice.all = true, choice.worst = listed_when_all, choice;
  const auto fail = [&]() -> TileChoice {
    throw UsageError(fmt::format("--tiles {}: wanted all, worst:N or worst:N:BY with N from 1 to 1000000 and BY sqnr_db, "
                                 "mse, underflow, clipped or max_rel_error", text));
  };
  if (!text.starts_with("worst:")) return fail();
  text.remove_prefix(6);
  const std::size_t colon = std::min(text.find(':'), text.size());
  const auto [end, error] = std::from_chars(text.data(), text.data() + colon, choice.worst);
  if (error != std::errc{} || end != text.data() + colon || choice.worst < 1 || choice.worst > 1000000) return fail();
  if (colon < text.size()) choice.by = text.substr(colon + 1);
  if (std::ranges::find(badnesses, choice.by, &Badness::name) == std::end(badnesses)) return fail();
  return choice;
}

TileTables::TileTables(const ReplayInput& input, const ReplayOptions& options, TileChoice choice)
    : input_(input), options_(options), choice_(std::move(choice)), worst_(options.recipes.size()) {}

void TileTables::consider(const Row& row) {
  if (choice_.worst == 0) return;
  std::vector<Row>& heap = worst_[row.recipe];
  const auto order = [&](const Row& a, const Row& b) { return worse(choice_.by, a, b); };
  if (heap.size() == choice_.worst) {
    if (!order(row, heap.front())) return;
    std::ranges::pop_heap(heap, order);
    heap.pop_back();
  }
  heap.push_back(row);
  std::ranges::push_heap(heap, order);
}

void TileTables::take(const ReplayItem& item) {
  for (std::size_t i = 0; i < item.tiles.size(); ++i) {
    const ReplayCast& cast = item.casts[i];
    const TensorInfo& info = input_.tensors[item.tensor];
    const BlockGrid grid(info.rows, info.cols, options_.tiles->shape.value_or(cast.block));
    Row row{input_.steps[item.step], static_cast<std::int32_t>(item.tensor), static_cast<std::int32_t>(cast.recipe),
            static_cast<std::int32_t>(gemm_id(cast.gemm)), static_cast<std::int32_t>(grid.block_rows),
            static_cast<std::int32_t>(grid.block_cols), {}};
    item.tiles[i].tiles.for_each([&](const TileRow& tile) {
      row.tile = tile;
      if (choice_.all || choice_.scales) all_.push(row);
      consider(row);
    });
    histograms_.push_back({row.tensor, row.step, row.recipe, row.gemm, item.tiles[i].exponents});
  }
}

std::vector<Row> TileTables::worst_first(std::size_t recipe) const {
  std::vector<Row> rows = worst_[recipe];
  std::ranges::sort(rows, [&](const Row& a, const Row& b) { return worse(choice_.by, a, b); });
  return rows;
}

void TileTables::write_to(Results& results) const {
  const auto long_table = [&](const std::string& name, const std::string& long_name, bool scales_only) {
    LongTable& table = results.long_tables.emplace_back();
    table.layout = empty_table(name, long_name, scales_only);
    table.rows = static_cast<std::int64_t>(all_.size());
    table.for_each_chunk = [this, layout = table.layout, scales_only](const std::function<void(const Table&)>& take) {
      Table chunk = layout;
      std::size_t held = 0;
      all_.for_each([&](const Row& row) {
        append(chunk, row, scales_only);
        if (++held == chunk_rows) take(chunk), chunk = layout, held = 0;
      });
      if (held > 0) take(chunk);
    };
  };
  if (choice_.all) long_table("tiles", "one row per tile of every cast", false);
  if (choice_.scales) long_table("scales", "the scale of every tile of every cast", true);
  if (!choice_.all && choice_.worst > 0) {
    Table& table = results.add("tiles", "the worst tiles of every recipe, worst first");
    table = empty_table("tiles", table.long_name, false);
    for (std::size_t recipe = 0; recipe < worst_.size(); ++recipe)
      for (const Row& row : worst_first(recipe)) append(table, row, false);
  }
  Axis axis{"scaled_exponent", "floor(log2 |x|) - floor(log2 scale_inv); the ends hold what lies beyond", {}};
  for (int i = 0; i < scaled_exponent_bins; ++i) axis.values.push_back(i + scaled_exponent_low);
  Table& hist = results.add("hist_scaled", "exponents of every cast as its element format sees them");
  const auto ids = [&](const char* name, const char* meaning, auto member) {
    auto& column = hist.add<std::int64_t>(name, "1", meaning);
    for (const Histogram& h : histograms_) column.push_back(h.*member);
  };
  ids("tensor_id", "row of lookup/tensor", &Histogram::tensor);
  ids("step", "recorded step", &Histogram::step);
  ids("recipe_id", "row of lookup/recipe", &Histogram::recipe);
  ids("gemm_id", "row of lookup/gemm", &Histogram::gemm);
  auto& count = hist.add<std::uint64_t>("count", "1", "elements that are not 0, infinite or NaN", axis);
  for (const Histogram& h : histograms_) count.insert(count.end(), h.exponents.begin(), h.exponents.end());
}

Table TileTables::definitions() {
  Table table("tiles", "one row per tile");
  auto& name = table.add<std::string>("name", "1", "");
  auto& unit = table.add<std::string>("unit", "1", "");
  auto& meaning = table.add<std::string>("definition", "1", "");
  for (const TileColumn& c : columns) name.emplace_back(c.name), unit.emplace_back(c.unit), meaning.emplace_back(c.long_name);
  return table;
}

Table TileTables::worst(std::size_t rows) const {
  Table table("worst", "the worst tiles of every recipe by " + choice_.by + ", worst first");
  auto& recipe = table.add<std::string>("recipe", "1", "");
  auto& tensor = table.add<std::string>("tensor", "1", "");
  auto& step = table.add<std::int64_t>("step", "1", "");
  auto& gemm = table.add<std::string>("gemm", "1", "");
  auto& where = table.add<std::string>("elements", "1", "rows and columns of the tensor");
  auto& amax = table.add<float>("amax", "1", "");
  auto& factor = table.add<float>("scale_inv", "1", "");
  auto& stored = table.add<std::string>("stored", "1", "");
  auto& sqnr = table.add<double>("sqnr_db", "dB", "");
  auto& underflow = table.add<double>("underflow", "%", "");
  auto& clipped = table.add<double>("clipped", "%", "");
  auto& relative = table.add<float>("max_rel_error", "1", "");
  auto& lost = table.add<std::uint64_t>("lost", "1", "");
  for (std::size_t r = 0; r < worst_.size(); ++r)
    for (std::size_t i = 0; const Row& row : worst_first(r)) {
      if (i++ == rows) break;
      const TileRow& t = row.tile;
      const TensorInfo& info = input_.tensors[row.tensor];
      const std::int64_t top = std::int64_t{t.row} * row.block_rows, left = std::int64_t{t.col} * row.block_cols;
      recipe.push_back(options_.recipes[r]), tensor.push_back(info.name()), step.push_back(row.step);
      gemm.push_back(std::string(gemm_name(row.gemm)));
      where.push_back(fmt::format("[{}:{}, {}:{}]", top, std::min(top + row.block_rows, info.rows), left,
                                  std::min(left + row.block_cols, info.cols)));
      amax.push_back(t.amax), factor.push_back(t.scales.scale_inv);
      stored.push_back(fmt::format("{:#04x}", t.stored));
      sqnr.push_back(decibels(t.power / t.noise));
      underflow.push_back(100.0 * share(t.underflow, t)), clipped.push_back(100.0 * share(t.clipped, t));
      relative.push_back(t.max_rel), lost.push_back(t.lost);
    }
  return table;
}

}  // namespace fp8scope
