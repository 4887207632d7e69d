#include "src/import/import.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "src/import/import_plan.hpp"
#include "src/import/safetensors.hpp"
#include "src/import/step_reader.hpp"
#include "src/output_file.hpp"

namespace fp8scope {

namespace {

constexpr std::string_view known_sources[] = {"recorded", "synthetic", "recorded+injected"};
constexpr std::int64_t panel_bytes = std::int64_t{8} << 20;

/// Largest magnitude of every tensor and step of the plan, in its order.
AmaxHistory empty_history(const ImportPlan& plan) {
  AmaxHistory history;
  history.step = plan.steps;
  for (const PlannedTensor& tensor : plan.tensors) history.slot.push_back(tensor.info.name());
  history.amax.assign(history.step.size() * history.slot.size(), 0.0f);
  return history;
}

/// Copies one tensor. Writes its column of the history.
void copy_tensor(const PlannedTensor& planned, std::size_t slot, TraceWriter& writer,
                 AmaxHistory& history) {
  const TensorInfo& info = planned.info;
  const int tensor = writer.add(info);
  const std::int64_t panel = std::clamp<std::int64_t>(panel_bytes / (8 * info.cols), 1, info.rows);
  const std::size_t slots = history.slot.size(), steps = info.constant ? 1 : history.step.size();
  for (std::size_t step = 0; step < steps; ++step) {
    StepReader reader(info, info.constant ? planned.steps.begin()->second
                                          : planned.steps.at(history.step[step]));
    for (std::int64_t row = 0; row < info.rows; row += panel) {
      const std::int64_t count = std::min(panel, info.rows - row);
      writer.write_rows(tensor, step, row, count, reader.read(row, count));
    }
    const std::size_t last = info.constant ? history.step.size() : step + 1;
    for (std::size_t t = step; t < last; ++t) history.amax[t * slots + slot] = reader.amax();
  }
}

}  // namespace

std::vector<h5::Attribute> stated_provenance(const std::vector<std::string>& files) {
  std::vector<h5::Attribute> stated;
  for (const std::string& file : files) {
    if (!file.ends_with(".safetensors")) continue;
    const auto metadata = read_safetensors(*open_bytes(file)).metadata;
    const auto source = metadata.find("source");
    if (source == metadata.end() || std::ranges::find(known_sources, source->second) == std::end(known_sources)) continue;
    for (const char* name : {"source", "injected_outliers", "injected_seed"})
      if (const auto at = metadata.find(name); at != metadata.end()) stated.push_back({name, at->second});
    return stated;
  }
  return stated;
}

ImportReport import_trace(const std::vector<std::string>& files, const std::string& output,
                          const NameMap& names, const TraceSelection& selection,
                          const ImportOptions& options) {
  std::vector<SourceTensor> sources;
  for (const std::string& file : files) {
    require_other_file(output, file);
    for (SourceTensor& tensor : open_source(file, options.source)) sources.push_back(std::move(tensor));
  }
  ImportPlan plan = plan_import(sources, names, selection, options);
  AmaxHistory history = empty_history(plan);
  TraceWriter writer(output, plan.steps, {}, options.attributes, options.deflate);
  for (std::size_t slot = 0; slot < plan.tensors.size(); ++slot)
    copy_tensor(plan.tensors[slot], slot, writer, history);
  writer.set_history(history);
  writer.commit();
  return {std::move(plan.notes)};
}

}  // namespace fp8scope
