#include "src/result_file.hpp"

#include <fmt/chrono.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <ctime>
#include <filesystem>
#include <numeric>

#include "src/errors.hpp"
#include "src/sha256.hpp"
#include "src/version.hpp"

namespace fp8scope {

namespace {

constexpr int deflate_level = 4;
constexpr int deepest_group = 8;

template <class T>
constexpr h5::Type element_of() {
  if constexpr (std::is_same_v<T, std::int64_t>)
    return h5::Type::i64;
  else if constexpr (std::is_same_v<T, std::uint64_t>)
    return h5::Type::u64;
  else if constexpr (std::is_same_v<T, double>)
    return h5::Type::f64;
  else if constexpr (std::is_same_v<T, float>)
    return h5::Type::f32;
  else
    return h5::Type::text;
}

void label(h5::Dataset& dataset, const std::string& units, const std::string& long_name) {
  dataset.set("units", units);
  dataset.set("long_name", long_name);
}

h5::Dataset write_scale(h5::Group& group, const std::string& name,
                        const std::vector<std::int64_t>& values, const std::string& long_name) {
  const h5::Shape shape{std::ssize(values)};
  h5::Storage storage;  // a chunk costs 2 KiB of index
  if (values.size() > 1024) storage = {h5::row_chunk(shape, sizeof(std::int64_t)), deflate_level};
  h5::Dataset scale = group.create_dataset(name, h5::Type::i64, shape, storage);
  scale.write_all<std::int64_t>(values);
  scale.make_scale(name);
  label(scale, "1", long_name);
  return scale;
}

/// The scales of a table's group: "row", and one for each axis of its columns.
class Scales {
 public:
  Scales(h5::Group& group, const Table& table) {
    std::vector<std::int64_t> numbers(table.rows());
    for (std::size_t i = 0; i < numbers.size(); ++i) numbers[i] = static_cast<std::int64_t>(i);
    scales_.emplace_back("row", write_scale(group, "row", numbers, "row of the table"));
    for (const Column& column : table.columns)
      if (column.axis && !find(column.axis->name))
        scales_.emplace_back(
            column.axis->name,
            write_scale(group, column.axis->name, column.axis->values, column.axis->long_name));
  }
  const h5::Dataset* find(const std::string& name) const {
    for (const auto& [known, scale] : scales_)
      if (known == name) return &scale;
    return nullptr;
  }

 private:
  std::deque<std::pair<std::string, h5::Dataset>> scales_;
};

void write_column(h5::Group& group, const Column& column, const Scales& scales) {
  std::visit(
      [&]<class T>(const std::vector<T>& values) {
        h5::Shape shape{static_cast<std::int64_t>(column.rows())};
        std::vector<const h5::Dataset*> axes{scales.find("row")};
        if (column.axis)
          shape.push_back(std::ssize(column.axis->values)),
              axes.push_back(scales.find(column.axis->name));
        h5::Storage storage;
        if (!column.is_text()) storage = {h5::row_chunk(shape, sizeof(T)), deflate_level};
        h5::Dataset dataset = group.create_dataset(column.name, element_of<T>(), shape, storage);
        dataset.write_all<T>(values);
        dataset.attach_scales(axes);
        label(dataset, column.unit, column.long_name);
      },
      column.values);
}

std::string signal_of(const Table& table) {
  if (!table.signal.empty()) return table.column(table.signal).name;
  for (const Column& column : table.columns)
    if (std::holds_alternative<std::vector<double>>(column.values) ||
        std::holds_alternative<std::vector<float>>(column.values))
      return column.name;
  return table.columns.empty() ? "" : table.columns.front().name;
}

void write_table(h5::Group& root, const Table& table) {
  h5::Group group = root.create_group(table.name);
  group.set("long_name", table.long_name);
  if (const std::string signal = signal_of(table); !signal.empty()) {
    group.set("NX_class", std::string("NXdata"));
    group.set("signal", signal);
    group.set("axes", std::vector<std::string>{"row"});
  }
  const Scales scales(group, table);
  for (const Column& column : table.columns) write_column(group, column, scales);
}

/// Only a piece of it is in memory at any time.
void write_long_table(h5::Group& root, const LongTable& table) {
  h5::Group group = root.create_group(table.layout.name);
  group.set("long_name", table.layout.long_name);
  group.set("NX_class", std::string("NXdata"));
  group.set("signal", signal_of(table.layout));
  group.set("axes", std::vector<std::string>{"row"});
  const h5::Shape shape{table.rows};
  const auto create = [&](const std::string& name, h5::Type type) {
    return group.create_dataset(name, type, shape, {h5::row_chunk(shape, h5::type_bytes(type)), deflate_level});
  };
  h5::Dataset row = create("row", h5::Type::i64);
  std::deque<h5::Dataset> columns;
  for (const Column& column : table.layout.columns)
    columns.push_back(create(column.name, std::visit([]<class T>(const std::vector<T>&) { return element_of<T>(); },
                                                     column.values)));
  std::int64_t first = 0;
  table.for_each_chunk([&](const Table& chunk) {
    const auto count = static_cast<std::int64_t>(chunk.rows());
    std::vector<std::int64_t> numbers(count);
    std::iota(numbers.begin(), numbers.end(), first);
    row.write({first}, {count}, numbers.data());
    for (std::size_t c = 0; c < columns.size(); ++c)
      std::visit([&](const auto& values) { columns[c].write({first}, {count}, values.data()); }, chunk.columns[c].values);
    first += count;
  });
  row.make_scale("row");
  label(row, "1", "row of the table");
  for (std::size_t c = 0; c < columns.size(); ++c) {
    columns[c].attach_scales({&row});
    label(columns[c], table.layout.columns[c].unit, table.layout.columns[c].long_name);
  }
}

Table inputs_table(const std::vector<InputFile>& inputs) {
  Table table("inputs", "files that were read");
  auto& name = table.add<std::string>("name", "1", "file name without its folder");
  auto& bytes = table.add<std::uint64_t>("bytes", "byte", "size");
  auto& hash = table.add<std::string>("sha256", "1", "SHA-256 of the content");
  for (const InputFile& input : inputs) {
    name.push_back(input.name), bytes.push_back(input.bytes), hash.push_back(input.sha256);
  }
  return table;
}

std::string host_name() {
  char name[256] = {};
  return gethostname(name, sizeof name - 1) == 0 ? name : "unknown";
}

void write_run_info(h5::Group& root, const RunInfo& run) {
  h5::Group group = root.create_group("run_info");
  group.set("created", fmt::format("{:%Y-%m-%dT%H:%M:%SZ}", fmt::gmtime(std::time(nullptr))));
  group.set("host", host_name());
  group.set("compiler", std::string(compiler));
  group.set("build_type", std::string(build_type));
  group.set("isa", run.isa);
  group.set("threads", std::int64_t{run.threads});
  if (!run.argv.empty()) group.set("argv", run.argv);
}

Column read_column(const h5::Dataset& dataset, const std::string& name) {
  Column column{
      name, dataset.text("units").value_or("1"), dataset.text("long_name").value_or(""), {}, {}};
  switch (dataset.type()) {
    case h5::Type::u64: column.values = dataset.values<std::uint64_t>(); break;
    case h5::Type::f32: column.values = dataset.values<float>(); break;
    case h5::Type::f64: column.values = dataset.values<double>(); break;
    case h5::Type::text: column.values = dataset.values<std::string>(); break;
    default: column.values = dataset.values<std::int64_t>();
  }
  return column;
}

/// The scale of a column's second axis, which is the one of its name and length in the group.
Axis read_axis(const h5::Group& group, const h5::Dataset& column) {
  const std::string name = column.scale_name(1);
  const h5::Dataset scale = group.dataset(name);
  return {name, scale.text("long_name").value_or(""), scale.values<std::int64_t>()};
}

Table read_table(const h5::Group& group) {
  Table table(group.path().substr(1), group.text("long_name").value_or(""));
  table.signal = group.text("signal").value_or("");
  const std::int64_t rows = h5::element_count(group.dataset("row").shape());
  for (const h5::Entry& entry : group.entries()) {
    if (entry.is_group) continue;
    const h5::Dataset dataset = group.dataset(entry.name);
    if (dataset.is_scale()) continue;
    if (dataset.shape().empty() || dataset.shape().size() > 2 || dataset.shape()[0] != rows)
      throw DataError(fmt::format("{}: has shape {}; the table has {} rows", dataset.where(),
                                  h5::shape_text(dataset.shape()), rows));
    Column column = read_column(dataset, entry.name);
    if (dataset.shape().size() == 2) column.axis = read_axis(group, dataset);
    table.columns.push_back(std::move(column));
  }
  return table;
}

void read_tables(const h5::Group& group, Results& results, int depth) {
  if (depth > deepest_group) throw DataError(group.where() + ": groups are nested too deep");
  for (const h5::Entry& entry : group.entries()) {
    if (!entry.is_group) continue;
    const h5::Group inner = group.group(entry.name);
    if (inner.has("row"))
      results.tables.push_back(read_table(inner));
    else
      read_tables(inner, results, depth + 1);
  }
}

}  // namespace

InputFile identify(const std::string& path) {
  const std::string hash = sha256_of_file(path);
  return {std::filesystem::path(path).filename().string(), std::filesystem::file_size(path), hash};
}

void write_results(const std::string& path, const Results& results, const RunInfo& run,
                   bool reproducible) {
  h5::NewFile file(path);
  h5::Group& root = file.root();
  root.set("schema", results.schema);
  root.set("schema_version", results.schema_version);
  root.set("title", results.title);
  root.set("tool", std::string("fp8scope"));
  root.set("tool_version", std::string(version));
  root.set("git_commit", std::string(git_commit));
  if (!results.tables.empty()) root.set("default", results.tables.front().name);
  for (const h5::Attribute& a : results.attributes) root.set(a.name, a.value);
  for (const Table& table : results.tables) write_table(root, table);
  for (const LongTable& table : results.long_tables) write_long_table(root, table);
  if (!results.inputs.empty()) write_table(root, inputs_table(results.inputs));
  if (!reproducible) write_run_info(root, run);
  file.commit();
}

bool is_result_file(const std::string& path) {
  const std::string schema = h5::open_file(path).text("schema").value_or("");
  return !schema.empty() && schema != "fp8trace";
}

Results read_results(const std::string& path) {
  const h5::Group root = h5::open_file(path);
  Results results;
  results.attributes = root.attributes();
  results.schema = root.text("schema").value_or("");
  results.schema_version = root.text("schema_version").value_or("");
  results.title = root.text("title").value_or("");
  if (results.schema.empty() || results.schema == "fp8trace")
    throw DataError(fmt::format("'{}': is not a result file (its attribute 'schema' is '{}')", path,
                                results.schema));
  read_tables(root, results, 0);
  return results;
}

}  // namespace fp8scope
