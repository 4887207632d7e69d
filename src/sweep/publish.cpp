#include "src/sweep/publish.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <optional>

#include "src/errors.hpp"
#include "src/gemm_tables.hpp"
#include "src/replay_tables.hpp"

namespace fp8scope {
namespace {

constexpr std::uint64_t most_summary_rows = 4'000'000;
constexpr const char* status_meaning = "0 ok; 1 skipped: the recipe or unit cannot be applied; 2 failed: unreadable or not finite";

/// Rows that go to the file whenever there are enough of them.
class BlockTable {
 public:
  BlockTable(ResultWriter& file, Table shape, std::uint64_t rows, std::size_t block_rows = TableWriter::block_rows)
      : empty_(shape), block_(std::move(shape)), writer_(file.root(), block_, rows), most_(block_rows) {}
  /// To which one row is to be appended; then comes next().
  Table& row() { return block_; }
  void next() {
    if (++filled_ == most_) flush();
  }
  void flush() {
    writer_.append(block_);
    block_ = empty_;
    filled_ = 0;
  }

 private:
  Table empty_, block_;
  TableWriter writer_;
  std::size_t most_, filled_ = 0;
};

class Publisher {
 public:
  Publisher(const SweepPlan& plan, const Ledger& ledger, const std::string& path)
      : plan_(plan), ledger_(ledger), file_(path, header(), "results") {
    result_.items = plan.items();
    result_.found = ledger.found();
    for (std::size_t p = 0; p < plan.grid().points.size(); ++p) {
      const Point& point = plan.grid().points[p];
      cast_point_.try_emplace({point.source, point.gemms, point.recipe}, p);
      if (point.unit >= 0)
        gemm_point_.try_emplace({point.source, point.requantise, point.recipe, static_cast<std::size_t>(point.unit)}, p);
    }
  }

  Published run(const RunInfo& info, bool reproducible) {
    write_casts();
    write_histograms();
    write_lookups();
    if (!plan_.gemms().empty()) write_products();
    write_points();
    std::vector<InputFile> inputs;
    if (!plan_.spec().synthetic) inputs.push_back(plan_.trace());
    file_.commit(inputs, info, reproducible);
    result_.summary = summary_.table(labels());
    return std::move(result_);
  }

 private:
  Results header() const {
    Results header;
    header.title = plan_.spec().title.empty() ? "sweep of recipes over tensors" : plan_.spec().title;
    header.attributes.push_back({"status", std::string(ledger_.found() == plan_.items() ? "complete" : "partial")});
    header.attributes.push_back({"items", static_cast<std::int64_t>(plan_.items())});
    header.attributes.push_back({"items_done", static_cast<std::int64_t>(ledger_.found())});
    header.attributes.push_back({"points", static_cast<std::int64_t>(plan_.grid().points.size())});
    header.attributes.push_back({"spec_toml", plan_.spec().text});
    header.attributes.push_back({"plan_sha256", plan_.hash()});
    return header;
  }

  /// Calls visit(group, tensor, step, items) for every selected step of every tensor.
  void for_each_tensor_step(const auto& visit) const {
    for (const CastGroup& group : plan_.casts()) {
      const Layout& layout = plan_.layout(group.source);
      for (std::size_t t = 0; t < layout.catalog.tensors.size(); ++t)
        for (std::size_t place = 0; place < layout.steps_of(t); ++place) visit(group, layout, t, layout.step_at(t, place));
    }
  }

  std::uint64_t row_count(std::uint64_t first, std::uint64_t last) const {
    std::uint64_t rows = 0;
    for (std::uint64_t item = first; item < last; ++item)
      if (ledger_.has(item)) rows += ledger_.rows(item);
    return rows;
  }

  void note(RowStatus status, const std::string& why) {
    ++result_.rows;
    if (status == RowStatus::skipped && ++result_.skipped == 1) result_.first_skip = why;
    if (status == RowStatus::failed && ++result_.failed == 1) result_.first_failure = why;
  }

  void write_casts() {
    const std::uint64_t last = plan_.gemms().empty() ? plan_.items() : plan_.gemms().front().first;
    const std::uint64_t rows = row_count(0, last);
    Table shape = empty_cast_table();
    const std::size_t extra = shape.columns.size();
    shape.add<std::int64_t>("point_id", "1", "row of point: the first of those that share this cast");
    shape.add<std::int64_t>("status", "1", status_meaning);
    BlockTable table(file_, std::move(shape), rows);
    for_each_tensor_step([&](const CastGroup& group, const Layout& layout, std::size_t tensor, std::size_t step) {
      std::vector<CastRecord::Row> all;
      std::string why;
      for (std::size_t batch = 0; batch < SweepPlan::batches(group); ++batch) {
        const std::uint64_t item = *plan_.cast_item(group, tensor, step, batch);
        if (!ledger_.has(item)) continue;
        CastRecord record = decode_casts(ledger_.payload(item), ledger_.where(item));
        std::ranges::move(record.rows, std::back_inserter(all));
        if (why.empty()) why = record.why;
      }
      std::ranges::stable_sort(all, {}, [](const CastRecord::Row& row) { return std::pair(row.cast.gemm, row.cast.recipe); });
      for (CastRecord::Row& row : all) {
        if (row.cast.recipe < 0 || row.cast.recipe >= std::ssize(plan_.grid().recipes))
          throw DataError(fmt::format("{}: names a recipe that the plan has not", ledger_.where(*plan_.cast_item(group, tensor, step, 0))));
        row.cast.tensor = static_cast<std::int64_t>(plan_.tensor_id(group.source, tensor));
        row.cast.step = layout.catalog.steps[step];
        append(table.row(), row.cast);
        const auto recipe = static_cast<std::size_t>(row.cast.recipe);
        const auto point = cast_point_.find({group.source, group.gemms, recipe});
        RowWriter writer(table.row(), extra);
        writer.put(point == cast_point_.end() ? std::int64_t{-1} : static_cast<std::int64_t>(point->second));
        writer.put(static_cast<std::int64_t>(row.status));
        table.next();
        note(row.status, why);
        if (row.status == RowStatus::ok && rows <= most_summary_rows)
          summary_.add(label_of(group, recipe), layout.catalog.tensors[tensor].operand, row.cast);
      }
    });
    table.flush();
  }

  /// Of each tensor and step of a source once, however many groups cast it.
  void write_histograms() {
    std::vector<std::uint64_t> items;
    std::vector<std::pair<std::int64_t, std::int64_t>> ids;
    std::vector<char> seen(plan_.grid().sources.size(), 0);
    const CastGroup* current = nullptr;
    bool first = false;
    for_each_tensor_step([&](const CastGroup& group, const Layout& layout, std::size_t tensor, std::size_t step) {
      if (&group != current) current = &group, first = !seen[group.source], seen[group.source] = 1;
      const std::uint64_t item = *plan_.cast_item(group, tensor, step, 0);
      if (!first || !ledger_.has(item) || decode_casts(ledger_.payload(item), ledger_.where(item)).exponents.empty()) return;
      items.push_back(item);
      ids.emplace_back(plan_.tensor_id(group.source, tensor), layout.catalog.steps[step]);
    });
    BlockTable table(file_, empty_hist_table(), items.size(), 1024);
    for (std::size_t i = 0; i < items.size(); ++i) {
      append(table.row(), ids[i].first, ids[i].second, decode_casts(ledger_.payload(items[i]), ledger_.where(items[i])).exponents);
      table.next();
    }
    table.flush();
  }

  void write_products() {
    const std::uint64_t first = plan_.gemms().front().first;
    Table shape = empty_gemm_table();
    const std::size_t extra = shape.columns.size();
    shape.add<std::int64_t>("requantise", "1", "1: operands that contract rows were cast before along their columns");
    shape.add<std::int64_t>("point_id", "1", "row of point: the first of those that share this product");
    shape.add<std::int64_t>("status", "1", status_meaning);
    BlockTable table(file_, std::move(shape), row_count(first, plan_.items()));
    for (const GemmGroup& group : plan_.gemms()) {
      const Layout& layout = plan_.layout(group.source);
      for (std::size_t p = 0; p < layout.pairs.size(); ++p)
        for (std::size_t place = 0; place < layout.steps_of(layout.pairs[p].a); ++place)
          for (std::size_t r = 0; r < group.recipes.size(); ++r)
            write_product(table, extra, group, layout, p, layout.step_at(layout.pairs[p].a, place), r);
    }
    table.flush();
    file_.write(accumulator_table(plan_.grid().units));
  }

  void write_product(BlockTable& table, std::size_t extra, const GemmGroup& group, const Layout& layout, std::size_t pair,
                     std::size_t step, std::size_t recipe) {
    const std::uint64_t item = *plan_.gemm_item(group, pair, step, recipe);
    if (!ledger_.has(item)) return;
    ProductRecord record = decode_products(ledger_.payload(item), ledger_.where(item));
    std::ranges::stable_sort(record.rows, {}, &ProductRecord::Row::unit);
    for (const ProductRecord::Row& row : record.rows) {
      const GemmPair& p = layout.pairs[pair];
      const auto unit = static_cast<std::size_t>(row.unit);
      append(table.row(),
             {plan_.tensor_id(group.source, p.a), plan_.tensor_id(group.source, p.b), step, p.gemm, group.recipes[recipe], unit,
              row.m, row.n, row.k, row.promote, row.error},
             layout.catalog.steps[step]);
      const auto point = gemm_point_.find({group.source, group.requantise, group.recipes[recipe], unit});
      RowWriter writer(table.row(), extra);
      writer.put(std::int64_t{group.requantise});
      writer.put(point == gemm_point_.end() ? std::int64_t{-1} : static_cast<std::int64_t>(point->second));
      writer.put(static_cast<std::int64_t>(row.status));
      table.next();
      note(row.status, record.why);
    }
  }

  void write_lookups() {
    Table tensors = empty_tensor_table();
    const std::size_t extra = tensors.columns.size();
    tensors.add<std::int64_t>("source_id", "1", "row of lookup/source");
    for (std::size_t s = 0; s < plan_.grid().sources.size(); ++s)
      for (const TensorInfo& info : plan_.layout(s).catalog.tensors) {
        append(tensors, info);
        RowWriter(tensors, extra).put(static_cast<std::int64_t>(s));
      }
    file_.write(tensors);
    file_.write(recipe_table(plan_.grid().recipes));
    file_.write(gemm_name_table());
    Table sources("lookup/source", "where the tensors come from, and what was injected");
    sources.add<std::string>("name", "1", "what differs from the defaults");
    for (const auto& [key, value] : plan_.grid().sources.front()) sources.add<std::string>(key, "1", "as asked for");
    for (const SourceSettings& settings : plan_.grid().sources) {
      RowWriter row(sources);
      row.put(source_name(settings));
      for (const auto& [key, value] : settings) row.put(value);
    }
    file_.write(sources);
  }

  void write_points() {
    const Grid& grid = plan_.grid();
    Table table("point", "combinations of the axes, in planned order");
    for (const char* column : {"source_id", "recipe_id", "accumulator_id", "requantise"})
      table.add<std::int64_t>(column, "1", "row of the lookup table; -1: none");
    table.columns.back().long_name = "1: see the table gemm";
    table.add<std::string>("gemms", "1", "uses of the operands that their blocks lie along");
    for (const std::string& axis : grid.axes)
      table.add<std::string>("axis." + axis, "1", "value of the axis; empty: does not apply to this recipe or unit");
    for (const Point& point : grid.points) {
      RowWriter row(table);
      for (const std::int64_t id : {static_cast<std::int64_t>(point.source), static_cast<std::int64_t>(point.recipe), point.unit,
                                    std::int64_t{point.requantise}})
        row.put(id);
      row.put(point.gemms);
      for (const std::string& value : point.values) row.put(value);
    }
    file_.write(table);
  }

  std::size_t label_of(const CastGroup& group, std::size_t recipe) {
    return label_ids_.try_emplace({group.source, group.gemms, recipe}, label_ids_.size()).first->second;
  }

  std::vector<std::string> labels() const {
    std::vector<std::string> names(label_ids_.size());
    for (const auto& [key, id] : label_ids_) {
      const auto& [source, gemms, recipe] = key;
      names[id] = plan_.grid().recipes[recipe];
      if (plan_.grid().sources.size() > 1) names[id] += " [" + source_name(plan_.grid().sources[source]) + "]";
      if (plan_.casts().size() > plan_.grid().sources.size()) names[id] += " (" + gemms + ")";
    }
    return names;
  }

  const SweepPlan& plan_;
  const Ledger& ledger_;
  ResultWriter file_;
  Published result_;
  CastSummary summary_;
  std::map<std::tuple<std::size_t, std::string, std::size_t>, std::size_t> cast_point_, label_ids_;
  std::map<std::tuple<std::size_t, bool, std::size_t, std::size_t>, std::size_t> gemm_point_;
};

}  // namespace

Published publish(const SweepPlan& plan, const Ledger& ledger, const std::string& path, const RunInfo& run, bool reproducible) {
  return Publisher(plan, ledger, path).run(run, reproducible);
}

}  // namespace fp8scope
