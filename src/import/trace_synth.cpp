#include "src/import/trace_synth.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "src/errors.hpp"
#include "src/import/import.hpp"

namespace fp8scope {

namespace {

constexpr std::int64_t panel_elements = std::int64_t{1} << 21;

TensorInfo info_of(const SynthOptions& options, std::int64_t layer, const SynthOperand& operand) {
  TensorInfo info;
  info.layer = fmt::format("L{:02}", layer), info.operand = operand.name;
  info.layer_index = static_cast<int>(layer);
  info.dtype = options.dtype;
  info.format = options.dtype == "bfloat16" ? bf16 : fp16;
  info.rows = operand.name == "w" ? options.out : options.rows;
  info.cols = operand.name == "dy" ? options.out : options.cols;
  info.constant = operand.name == "w";
  info.rows_total = info.rows, info.gemms = usual_gemms(operand.name);
  return info;
}

/// One tensor of all steps. Returns its largest magnitude at each.
std::vector<float> write_tensor(const TensorInfo& info, const SynthOptions& options, double sigma,
                                bool with_outliers, TraceWriter& writer) {
  const int tensor = writer.add(info);
  const std::int64_t panel = std::clamp<std::int64_t>(panel_elements / info.cols, 1, info.rows);
  const OutlierSpec outlier_spec = with_outliers ? options.injection.outliers : OutlierSpec{};
  std::vector<float> amaxes, values;
  OutlierLabels labels;
  ElementEncoder encoder(info);
  for (std::int64_t step = 0; step < (info.constant ? 1 : options.steps); ++step) {
    const TensorStream stream(options.injection.seed, info.name(), step);
    const Outliers outliers(outlier_spec, options.injection.seed, info.name(), step, info.rows, info.cols);
    std::vector<OutlierPlace> places = outliers.places();
    float amax = 0.0f;
    for (std::int64_t row = 0; row < info.rows; row += panel) {
      const std::int64_t count = std::min(panel, info.rows - row);
      values.resize(static_cast<std::size_t>(count * info.cols));
      stream.fill(options.distribution, sigma, static_cast<std::uint64_t>(row * info.cols), values);
      outliers.inject(row, count, values.data(), &places);
      const void* stored = encoder.encode(values);
      for (const float value : values)
        if (std::isfinite(value)) amax = std::max(amax, std::fabs(value));
      writer.write_rows(tensor, static_cast<std::size_t>(step), row, count, stored);
    }
    labels.add(step, places);
    amaxes.push_back(amax);
  }
  if (outlier_spec.kind != OutlierKind::none) labels.write(writer, info);
  amaxes.resize(static_cast<std::size_t>(options.steps), amaxes.back());
  return amaxes;
}

std::vector<h5::Attribute> attributes_of(const SynthOptions& options) {
  std::string sigmas;
  for (const SynthOperand& operand : options.operands)
    sigmas += fmt::format("{}{}={}", sigmas.empty() ? "" : ",", operand.name, operand.sigma);
  const auto distribution =
      std::ranges::find(distributions, options.distribution, &NamedDistribution::distribution);
  return {{"title", std::string("synthetic tensors")},
          {"source", std::string("synthetic")},
          {"framework", std::string("fp8scope trace synth")},
          {"distribution", std::string(distribution->name)},
          {"sigma", sigmas},
          {"injected_outliers", outliers_text(options.injection.outliers)},
          {"injected_seed", std::to_string(options.injection.seed)}};
}

}  // namespace

void synthesise_trace(const std::string& output, const TraceSelection& selection, const SynthOptions& options) {
  if (options.operands.empty()) throw UsageError("--operands leaves none of x, w, dy");
  std::vector<std::int64_t> steps(static_cast<std::size_t>(options.steps));
  for (std::size_t i = 0; i < steps.size(); ++i) steps[i] = static_cast<std::int64_t>(i);
  TraceWriter writer(output, steps, {}, attributes_of(options), options.deflate);
  AmaxHistory history;
  history.step = steps;
  std::vector<std::vector<float>> columns;
  for (std::int64_t layer = 0; layer < options.layers; ++layer)
    for (const SynthOperand& operand : options.operands) {
      const TensorInfo info = info_of(options, layer, operand);
      const bool with_outliers =
          selection.layer(info.layer) && std::ranges::find(options.outlier_operands, operand.name) !=
                                             options.outlier_operands.end();
      history.slot.push_back(info.name());
      columns.push_back(write_tensor(info, options, operand.sigma, with_outliers, writer));
    }
  for (std::size_t t = 0; t < steps.size(); ++t)
    for (const std::vector<float>& column : columns) history.amax.push_back(column[t]);
  writer.set_history(history);
  writer.commit();
}

}  // namespace fp8scope
