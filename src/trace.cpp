#include "src/trace.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <charconv>

#include "src/errors.hpp"

namespace fp8scope {

namespace {

constexpr std::int64_t most_cols = std::int64_t{1} << 24;
constexpr std::string_view gemm_names[] = {"fprop", "dgrad", "wgrad"};

template <class T>
std::int64_t index_of(const std::vector<T>& all, const auto& one) {
  const auto at = std::ranges::find(all, one);
  return at == all.end() ? -1 : at - all.begin();
}

void require_ascending(const std::vector<std::int64_t>& steps, const std::string& where) {
  if (std::ranges::adjacent_find(steps, std::greater_equal<>{}) != steps.end())
    throw DataError(where + ": the step numbers do not ascend");
}

std::vector<GemmUse> gemms_of(const h5::Dataset& dataset) {
  std::vector<GemmUse> uses;
  const std::string list = dataset.text("gemms").value_or("");
  for (std::size_t at = 0; at < list.size();) {
    const std::size_t end = std::min(list.find(',', at), list.size());
    const std::string gemm = list.substr(at, end - at);
    if (std::ranges::find(gemm_names, gemm) == std::end(gemm_names))
      throw DataError(
          fmt::format("{}: attribute 'gemms' names '{}'; expected fprop, dgrad or wgrad",
                      dataset.where(), gemm));
    const auto axis = dataset.integer("contraction_axis_" + gemm).value_or(0);
    if (axis != 1 && axis != 2)
      throw DataError(
          fmt::format("{}: attribute 'contraction_axis_{}' must be 1 or 2", dataset.where(), gemm));
    uses.push_back({gemm, static_cast<int>(axis)});
    at = end + 1;
  }
  return uses;
}

/// What the attributes of a tensor's dataset say.
TensorInfo info_of(const h5::Group& group, const h5::Dataset& dataset, const std::string& layer,
                   const std::string& operand, std::int64_t steps) {
  if (dataset.shape().size() != 3)
    throw DataError(fmt::format("{}: has shape {}; expected [step, row, col]", dataset.where(),
                                h5::shape_text(dataset.shape())));
  if (dataset.shape()[2] > most_cols)
    throw DataError(fmt::format("{}: has rows of {} elements, at most {} are possible", dataset.where(),
                                dataset.shape()[2], most_cols));
  TensorInfo info;
  info.layer = layer, info.operand = operand;
  info.layer_index = static_cast<int>(group.integer("index").value_or(0));
  info.kind = group.text("kind").value_or("linear");
  info.name_in_framework = group.text("name_in_framework").value_or("");
  info.steps = dataset.shape()[0], info.rows = dataset.shape()[1], info.cols = dataset.shape()[2];
  info.constant = dataset.integer("constant").value_or(0) != 0;
  info.gemms = gemms_of(dataset);
  info.row_sampling = dataset.text("row_sampling").value_or("all");
  info.rows_total = dataset.integer("rows_total").value_or(info.rows);
  info.panel_rows = dataset.chunk().size() == 3 ? dataset.chunk()[1] : 1;
  info.sha256 = dataset.text("sha256").value_or("");
  info.long_name = dataset.text("long_name").value_or(info.name());
  if (const std::int64_t want = info.constant ? 1 : steps; info.steps != want)
    throw DataError(fmt::format("{}: holds {} steps; /steps has {}{}", dataset.where(), info.steps,
                                steps, info.constant ? " and a constant tensor needs 1" : ""));
  return info;
}

bool is_tensor(const h5::Dataset& dataset) {
  return dataset.has_attribute("operand") && dataset.type() != h5::Type::text;
}

}  // namespace

std::int64_t AmaxHistory::find_slot(std::string_view name) const { return index_of(slot, name); }
std::int64_t AmaxHistory::find_step(std::int64_t number) const { return index_of(step, number); }

Trace::Trace(const std::string& path) : path_(path) {
  const h5::Group root = h5::open_file(path);
  const std::string schema = root.text("schema").value_or("");
  const std::string version = root.text("schema_version").value_or("1.0");
  if (schema != "fp8trace")
    throw DataError(fmt::format(
        "'{}': is not a trace: its attribute 'schema' is '{}', not 'fp8trace'", path, schema));
  if (!version.starts_with("1."))
    throw DataError(fmt::format("'{}': fp8trace {} is newer than this program, which reads 1.x",
                                path, version));
  attributes_ = root.attributes();
  if (root.has("model"))
    for (h5::Attribute& a : root.group("model").attributes())
      attributes_.push_back({"model." + a.name, std::move(a.value)});
  steps_ = root.dataset("steps").values<std::int64_t>();
  require_ascending(steps_, root.dataset("steps").where());
  if (root.has("history")) read_history(root);
  const h5::Group tensors = root.group("tensors");
  for (const h5::Entry& entry : tensors.entries())
    if (entry.is_group) read_layer(tensors.group(entry.name));
}

void Trace::read_history(const h5::Group& root) {
  const h5::Group group = root.group("history");
  const h5::Dataset amax = group.dataset("amax");
  history_.step = group.dataset("step").values<std::int64_t>();
  history_.slot = group.dataset("slot_name").values<std::string>();
  require_ascending(history_.step, group.dataset("step").where());
  const h5::Shape want{std::ssize(history_.step), std::ssize(history_.slot)};
  if (amax.shape() != want)
    throw DataError(fmt::format("{}: has shape {}; {} steps and {} slots need {}", amax.where(),
                                h5::shape_text(amax.shape()), want[0], want[1],
                                h5::shape_text(want)));
  history_.amax = amax.values<float>();
  for (const std::int64_t step : steps_)
    if (history_.find_step(step) < 0)
      throw DataError(
          fmt::format("{}: the recorded step {} is not in the history", amax.where(), step));
}

void Trace::read_layer(const h5::Group& group) {
  const std::string layer = group.path().substr(group.path().rfind('/') + 1);
  for (const h5::Entry& entry : group.entries()) {
    if (entry.is_group) continue;
    h5::Dataset dataset = group.dataset(entry.name);
    if (!is_tensor(dataset)) continue;
    TensorInfo info = info_of(group, dataset, layer, entry.name, std::ssize(steps_));
    decoders_.emplace_back(dataset.type(), dataset.text("encoding").value_or(""), dataset.where());
    info.dtype = decoders_.back().name();
    info.format = decoders_.back().format();
    tensors_.push_back(std::move(info));
    datasets_.push_back(std::move(dataset));
  }
}

void Trace::read_stored(std::size_t tensor, std::size_t step, std::int64_t first,
                        std::int64_t count, void* out) const {
  const TensorInfo& info = tensors_.at(tensor);
  if (step >= steps_.size() || first < 0 || count < 0 || first + count > info.rows)
    throw std::invalid_argument(fmt::format("{}: step {}, rows {} to {} of {}", info.name(), step,
                                            first, first + count, info.rows));
  const auto at = static_cast<std::int64_t>(info.constant ? 0 : step);
  datasets_[tensor].read({at, first, 0}, {1, count, info.cols}, out);
}

void Trace::read_rows(std::size_t tensor, std::size_t step, std::int64_t first, std::int64_t count,
                      float* out) const {
  const std::int64_t size = count * tensors_.at(tensor).cols;
  buffer_.resize(static_cast<std::size_t>(size) * decoders_[tensor].bytes());
  read_stored(tensor, step, first, count, buffer_.data());
  decoders_[tensor].decode(buffer_.data(), size, out);
}

}  // namespace fp8scope
