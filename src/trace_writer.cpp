#include <fmt/format.h>

#include <algorithm>
#include <stdexcept>

#include "src/trace.hpp"

namespace fp8scope {

namespace {

constexpr std::int64_t chunk_rows = 128;
/// Rows of more than 32768 elements share a chunk with fewer others; HDF5 allows 4 GiB.
constexpr std::int64_t chunk_elements = std::int64_t{1} << 22;
constexpr int history_deflate = 1;

h5::Type element_of(const std::string& dtype) {
  for (const h5::Type type : {h5::Type::bf16, h5::Type::fp16, h5::Type::f32})
    if (h5::type_name(type) == dtype) return type;
  for (const NamedFormat& row : formats)
    if (row.format.bits() <= 8 && (row.torch_name == dtype || row.name == dtype))
      return h5::Type::u8;
  throw std::invalid_argument(fmt::format("a trace cannot hold elements of type '{}'", dtype));
}

std::string torch_name_of(const std::string& dtype) {
  for (const NamedFormat& row : formats)
    if (row.name == dtype) return std::string(row.torch_name);
  return dtype;
}

void label(h5::Dataset& dataset, const std::string& units, const std::string& long_name) {
  dataset.set("units", units);
  dataset.set("long_name", long_name);
}

h5::Dataset column(h5::Group& group, const std::string& name,
                   const std::vector<std::int64_t>& values, const std::string& long_name) {
  h5::Dataset dataset = group.create_dataset(name, h5::Type::i64, {std::ssize(values)});
  dataset.write_all<std::int64_t>(values);
  dataset.make_scale(name);
  label(dataset, "1", long_name);
  return dataset;
}

void write_history(h5::Group& root, const AmaxHistory& history) {
  h5::Group group = root.create_group("history");
  group.set("NX_class", std::string("NXdata"));
  group.set("signal", std::string("amax"));
  group.set("axes", std::vector<std::string>{"step", "slot"});
  std::vector<std::int64_t> numbers(history.slot.size());
  for (std::size_t i = 0; i < numbers.size(); ++i) numbers[i] = static_cast<std::int64_t>(i);
  const h5::Dataset step = column(group, "step", history.step, "step");
  const h5::Dataset slot = column(group, "slot", numbers, "index of the operand, see slot_name");

  h5::Dataset name = group.create_dataset("slot_name", h5::Type::text, {std::ssize(history.slot)});
  name.write_all<std::string>(history.slot);
  name.attach_scales({&slot});
  label(name, "1", "operand as layer/operand");

  const h5::Shape shape{std::ssize(history.step), std::ssize(history.slot)};
  h5::Dataset amax = group.create_dataset("amax", h5::Type::f32, shape,
                                          {h5::row_chunk(shape, 4), history_deflate});
  amax.write_all<float>(history.amax);
  amax.attach_scales({&step, &slot});
  label(amax, "1", "maximum magnitude of the whole operand in the step");
}

std::string joined_gemms(const std::vector<GemmUse>& uses) {
  std::string text;
  for (const GemmUse& use : uses) text += (text.empty() ? "" : ",") + use.gemm;
  return text;
}

}  // namespace

TraceWriter::TraceWriter(const std::string& path, const std::vector<std::int64_t>& steps,
                         const AmaxHistory& history, const std::vector<h5::Attribute>& attributes,
                         int deflate)
    : file_(path), step_count_(std::ssize(steps)), deflate_(deflate) {
  h5::Group& root = file_.root();
  root.set("schema", std::string("fp8trace"));
  root.set("schema_version", std::string("1.0"));
  root.set("default", std::string("history"));
  h5::Group model = root.create_group("model");
  for (const h5::Attribute& a : attributes) {
    if (a.name == "schema" || a.name == "schema_version" || a.name == "default") continue;
    if (a.name.starts_with("model."))
      model.set(a.name.substr(6), a.value);
    else
      root.set(a.name, a.value);
  }
  step_scale_ = std::make_unique<h5::Dataset>(column(root, "steps", steps, "recorded step"));
  set_history(history);
  root.create_group("tensors");
}

const h5::Dataset& TraceWriter::scale(const std::string& stem, std::int64_t size) {
  const std::string name = fmt::format("{}_{}", stem, size);
  for (const auto& [known, dataset] : scales_)
    if (known == name) return *dataset;
  std::vector<std::int64_t> numbers(static_cast<std::size_t>(size));
  for (std::int64_t i = 0; i < size; ++i) numbers[static_cast<std::size_t>(i)] = i;
  h5::Group tensors = file_.root().group("tensors");
  scales_.emplace_back(name, std::make_unique<h5::Dataset>(column(tensors, name, numbers, stem)));
  return *scales_.back().second;
}

int TraceWriter::add(const TensorInfo& info) {
  const h5::Type type = element_of(info.dtype);
  if ((info.layer + info.operand).find('/') != std::string::npos)
    throw std::invalid_argument(info.name() + ": a layer's or operand's name must not hold '/'");
  h5::Group group = file_.root().create_group("tensors/" + info.layer);
  const bool weight = info.operand == "w";
  if (!group.has_attribute("index")) {
    group.set("index", std::int64_t{info.layer_index});
    group.set("kind", info.kind);
    if (!info.name_in_framework.empty()) group.set("name_in_framework", info.name_in_framework);
  }
  const h5::Shape shape{info.constant ? 1 : step_count_, info.rows, info.cols};
  h5::Storage storage;
  if (h5::element_count(shape) > 0)
    storage = {{1,
                std::min({chunk_rows, info.rows, std::max<std::int64_t>(1, chunk_elements / info.cols)}),
                info.cols},
               deflate_};
  h5::Dataset dataset = group.create_dataset(info.operand, type, shape, storage);
  dataset.attach_scales({info.constant ? &scale("version", 1) : step_scale_.get(),
                         &scale(weight ? "out_row" : "token", info.rows),
                         &scale(info.operand == "dy" ? "out_features" : "in_features", info.cols)});
  dataset.set("operand", info.operand);
  dataset.set("gemms", joined_gemms(info.gemms));
  for (const GemmUse& use : info.gemms)
    dataset.set("contraction_axis_" + use.gemm, std::int64_t{use.axis});
  label(dataset, "1", info.long_name.empty() ? info.name() : info.long_name);
  if (type == h5::Type::u8) dataset.set("encoding", torch_name_of(info.dtype));
  dataset.set("logical_dtype", torch_name_of(info.dtype));
  dataset.set("row_sampling", info.row_sampling);
  dataset.set("rows_total", info.rows_total > 0 ? info.rows_total : info.rows);
  if (info.constant) dataset.set("constant", std::int64_t{1});
  open_.push_back({info, std::move(dataset), 0, Sha256()});
  return static_cast<int>(open_.size()) - 1;
}

void TraceWriter::write_rows(int tensor, std::size_t step, std::int64_t first, std::int64_t count,
                             const void* stored) {
  Open& open = open_.at(static_cast<std::size_t>(tensor));
  const auto at = static_cast<std::int64_t>(step);
  if (first + count > open.info.rows || at * open.info.rows + first != open.written)
    throw std::invalid_argument(
        fmt::format("{}: step {}, row {} was written out of order", open.info.name(), at, first));
  open.dataset.write({at, first, 0}, {1, count, open.info.cols}, stored);
  open.hash.add(stored, static_cast<std::size_t>(count * open.info.cols) *
                            h5::type_bytes(open.dataset.type()));
  open.written += count;
}

void TraceWriter::set_history(const AmaxHistory& history) {
  if (history.amax.size() != history.step.size() * history.slot.size())
    throw std::invalid_argument("TraceWriter: the history's amax is not [steps, slots]");
  if (!history.step.empty()) write_history(file_.root(), history);
}

void TraceWriter::add_column(const std::string& group, const std::string& name,
                             const std::vector<std::int64_t>& values, const std::string& long_name) {
  h5::Group parent = file_.root().create_group(group);
  h5::Dataset dataset = parent.create_dataset(name, h5::Type::i64, {std::ssize(values)});
  dataset.write_all<std::int64_t>(values);
  label(dataset, "1", long_name);
}

void TraceWriter::commit() {
  for (Open& open : open_) {
    if (open.written != open.dataset.shape()[0] * open.info.rows)
      throw std::invalid_argument(open.info.name() + ": not all rows were written");
    open.dataset.set("sha256", open.hash.hex());
  }
  file_.commit();
}

}  // namespace fp8scope
