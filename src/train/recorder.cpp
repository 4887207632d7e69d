#include "src/train/recorder.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>

#include "sim/bits.hpp"
#include "sim/simd/row_math.hpp"
#include "src/errors.hpp"
#include "src/trace.hpp"

namespace fp8scope::train {
namespace {

std::vector<GemmUse> uses(const std::string& operand) {
  if (operand == "x") return {{"fprop", 2}, {"wgrad", 1}};
  if (operand == "w") return {{"fprop", 2}, {"dgrad", 1}};
  return {{"dgrad", 2}, {"wgrad", 1}};
}

}  // namespace

void Recorder::begin_step(std::int64_t step) {
  history_steps_.push_back(step);
  amax_.emplace_back(slots_.size(), 0.0f);
  recording_ = std::ranges::binary_search(options_.steps, step);
}

std::size_t Recorder::slot(const std::string& name) {
  const auto [entry, fresh] = slot_of_.try_emplace(name, slots_.size());
  if (fresh) {
    slots_.push_back(name);
    for (auto& row : amax_) row.resize(slots_.size(), 0.0f);
  }
  return entry->second;
}

void Recorder::see(const Executor& execute, const LinearShape& layer, const char* operand, const Matrix& values) {
  if (history_steps_.empty()) return;
  const std::string name = layer.name + "/" + operand;
  float& place = amax_.back()[slot(name)];
  place = std::max(place, largest_magnitude(execute, values));
  const auto wanted = [&](const std::string& start) { return layer.name.starts_with(start); };
  if (recording_ && (options_.layers.empty() || std::ranges::any_of(options_.layers, wanted))) keep(layer, operand, values);
}

void Recorder::keep(const LinearShape& layer, const char* operand, const Matrix& values) {
  const bool weight = std::strcmp(operand, "w") == 0;
  const std::int64_t rows = weight || options_.rows == 0 ? values.rows : std::min(values.rows, options_.rows);
  const auto [entry, fresh] = kept_of_.try_emplace(layer.name + "/" + operand, kept_.size());
  if (fresh) {
    const int index = layer.name.starts_with("L") ? std::atoi(layer.name.c_str() + 1) : 1000;
    kept_.push_back({operand, index, layer.name, rows, values.cols, values.rows, {}});
  }
  Kept& kept = kept_[entry->second];
  // A layer of experts sees another number of rows at every step.
  if (kept.rows != rows)
    throw UsageError(fmt::format("{}/{}: {} rows in one step, {} in another; a trace needs as many in each: use --record-rows "
                                 "or leave the layer out", layer.name, operand, kept.rows, rows));
  std::vector<std::uint16_t> bits(static_cast<std::size_t>(rows * values.cols));
  std::vector<float> rounded(bits.size());  // most are in BF16 already
  simd::row_math().round_bf16(values.data(), rounded.size(), rounded.data());
  for (std::size_t i = 0; i < bits.size(); ++i) bits[i] = static_cast<std::uint16_t>(float_bits(rounded[i]) >> 16);
  kept.steps.push_back(std::move(bits));
}

void Recorder::write(const std::vector<h5::Attribute>& attributes) const {
  if (kept_.empty()) throw UsageError("--record: no recorded step was reached, or no layer has such a name");
  AmaxHistory history{history_steps_, slots_, {}};
  for (const auto& row : amax_) history.amax.insert(history.amax.end(), row.begin(), row.end());
  TraceWriter writer(options_.path, options_.steps, history, attributes, 4);
  for (const Kept& kept : kept_) {
    if (kept.steps.size() != options_.steps.size())
      throw UsageError(fmt::format("--record: {}/{} was seen in {} of {} steps to record", kept.layer, kept.operand,
                                   kept.steps.size(), options_.steps.size()));
    TensorInfo info;
    info.layer = kept.layer, info.operand = kept.operand, info.layer_index = kept.layer_index;
    info.name_in_framework = kept.layer;
    info.dtype = "bfloat16";
    info.rows = kept.rows, info.cols = kept.cols, info.rows_total = kept.rows_total;
    if (kept.rows < kept.rows_total) info.row_sampling = "first";
    info.gemms = uses(kept.operand);
    const int tensor = writer.add(info);
    for (std::size_t s = 0; s < kept.steps.size(); ++s) writer.write_rows(tensor, s, 0, kept.rows, kept.steps[s].data());
  }
  writer.commit();
}

}  // namespace fp8scope::train
