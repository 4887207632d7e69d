#include "src/import/trace_copy.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "sim/convert.hpp"
#include "src/errors.hpp"
#include "src/output_file.hpp"

namespace fp8scope {

namespace {

constexpr std::int64_t panel_bytes = std::int64_t{8} << 20;
constexpr CastRule keep_infinity{.overflow = Overflow::special};

std::int64_t panel_rows(const TensorInfo& info, std::int64_t rows) {
  return std::clamp<std::int64_t>(panel_bytes / std::max<std::int64_t>(1, 4 * info.cols), 1,
                                  std::max<std::int64_t>(1, rows));
}

bool rows_are_tokens(const TensorInfo& info) { return info.operand != "w" && info.operand != "dw"; }

float largest(const std::vector<float>& values) {
  float amax = 0.0f;
  for (const float value : values)
    if (std::isfinite(value)) amax = std::max(amax, std::fabs(value));
  return amax;
}

/// One copy of a trace.
class Copier {
 public:
  Copier(const Trace& trace, const TraceSelection& selection, const CopyOptions& options)
      : trace_(trace), selection_(selection), options_(options) {
    const bool all = options_.inject.has_value();
    for (std::size_t s = 0; s < trace.steps().size(); ++s)
      if (all || selection.step(trace.steps()[s])) kept_steps_.push_back(s);
    for (std::size_t t = 0; t < trace.tensors().size(); ++t)
      if (all || chosen(trace.tensors()[t])) kept_tensors_.push_back(t);
    if (kept_tensors_.empty()) throw UsageError(fmt::format("'{}': no tensor has such a layer and operand; "
                                                            "'fp8scope trace ls' lists them", trace.path()));
    if (kept_steps_.empty())
      throw UsageError(fmt::format("'{}': no recorded step is one of --steps", trace.path()));
    for (const std::size_t t : kept_tensors_) require_rows(trace.tensors()[t]);
  }

  void write(const std::string& output) {
    std::vector<std::int64_t> steps;
    for (const std::size_t s : kept_steps_) steps.push_back(trace_.steps()[s]);
    history_ = kept_history();
    TraceWriter writer(output, steps, {}, attributes(), options_.deflate);
    for (const std::size_t t : kept_tensors_) copy_tensor(t, writer);
    writer.set_history(history_);
    writer.commit();
  }

 private:
  bool chosen(const TensorInfo& info) const {
    return selection_.layer(info.layer) && selection_.operand(info.operand);
  }

  void require_rows(const TensorInfo& info) const {
    if (!options_.rows || !rows_are_tokens(info)) return;
    if (options_.rows->first >= info.rows)
      throw UsageError(fmt::format("'{}': {} has {} rows; --rows begins at {}", trace_.path(), info.name(),
                                   info.rows, options_.rows->first));
  }

  AmaxHistory kept_history() const {
    const AmaxHistory& all = trace_.history();
    AmaxHistory kept;
    kept.step = all.step;
    std::vector<std::size_t> slots;
    for (std::size_t k = 0; k < all.slot.size(); ++k) {
      const bool wanted = options_.inject || std::ranges::any_of(kept_tensors_, [&](std::size_t t) {
        return trace_.tensors()[t].name() == all.slot[k];
      });
      if (wanted) slots.push_back(k), kept.slot.push_back(all.slot[k]);
    }
    for (std::size_t t = 0; t < all.step.size(); ++t)
      for (const std::size_t k : slots) kept.amax.push_back(all.at(t, k));
    return kept;
  }

  std::vector<h5::Attribute> attributes() const {
    std::vector<h5::Attribute> result = trace_.attributes();
    if (!options_.inject) return result;
    std::erase_if(result, [](const h5::Attribute& a) {
      return a.name == "source" || a.name == "injected_outliers" || a.name == "injected_seed";
    });
    const auto source = std::ranges::find(trace_.attributes(), "source", &h5::Attribute::name);
    const bool synthetic = source != trace_.attributes().end() && source->value == h5::Value("synthetic");
    result.push_back({"source", std::string(synthetic ? "synthetic" : "recorded+injected")});
    result.push_back({"injected_outliers", outliers_text(options_.inject->outliers)});
    result.push_back({"injected_seed", std::to_string(options_.inject->seed)});
    return result;
  }

  void copy_tensor(std::size_t t, TraceWriter& writer) {
    TensorInfo info = trace_.tensors()[t];
    const std::int64_t rows = info.rows;
    NumberRanges::Range range{0, rows - 1, 1};
    if (options_.rows && rows_are_tokens(info)) {
      range = *options_.rows;
      range.last = std::min(range.last, rows - 1);
      info.rows = (range.last - range.first) / range.stride + 1;
      if (info.rows < rows && info.row_sampling == "all")
        info.row_sampling = range.first == 0 && range.stride == 1 ? "first" : "stride";
    }
    const bool inject = options_.inject && chosen(info);
    const int out = writer.add(info);
    OutlierLabels labels;
    for (std::size_t i = 0; i < (info.constant ? 1 : kept_steps_.size()); ++i) {
      const std::size_t step = kept_steps_[i];
      if (inject && (info.constant || selection_.step(trace_.steps()[step])))
        inject_step(t, step, {writer, out, i}, labels);
      else if (range.stride == 1)
        copy_step(t, step, range.first, info.rows, {writer, out, i});
      else
        copy_strided(t, step, range, info.rows, {writer, out, i});
    }
    if (inject) labels.write(writer, info);
  }

  struct Target {
    TraceWriter& writer;
    int tensor;
    std::size_t step;
  };

  void copy_step(std::size_t t, std::size_t step, std::int64_t begin, std::int64_t rows, Target out) {
    const TensorInfo& info = trace_.tensors()[t];
    const std::int64_t panel = panel_rows(info, rows);
    std::vector<std::byte> stored;
    for (std::int64_t row = 0; row < rows; row += panel) {
      const std::int64_t count = std::min(panel, rows - row);
      stored.resize(static_cast<std::size_t>(count * info.cols) * trace_.decoder(t).bytes());
      trace_.read_stored(t, step, begin + row, count, stored.data());
      out.writer.write_rows(out.tensor, out.step, row, count, stored.data());
    }
  }

  void copy_strided(std::size_t t, std::size_t step, const NumberRanges::Range& range, std::int64_t rows,
                    Target out) {
    const TensorInfo& info = trace_.tensors()[t];
    std::vector<std::byte> stored(static_cast<std::size_t>(info.cols) * trace_.decoder(t).bytes());
    for (std::int64_t row = 0; row < rows; ++row) {
      trace_.read_stored(t, step, range.first + row * range.stride, 1, stored.data());
      out.writer.write_rows(out.tensor, out.step, row, 1, stored.data());
    }
  }

  void inject_step(std::size_t t, std::size_t step, Target out, OutlierLabels& labels) {
    const TensorInfo& info = trace_.tensors()[t];
    const std::int64_t number = info.constant ? 0 : trace_.steps()[step];
    const Outliers outliers(options_.inject->outliers, options_.inject->seed, info.name(), number, info.rows,
                            info.cols);
    std::vector<OutlierPlace> places = outliers.places();
    ElementEncoder encoder(info);
    const std::int64_t panel = panel_rows(info, info.rows);
    std::vector<float> values;
    float amax = 0.0f;
    for (std::int64_t row = 0; row < info.rows; row += panel) {
      const std::int64_t count = std::min(panel, info.rows - row);
      values.resize(static_cast<std::size_t>(count * info.cols));
      trace_.read_rows(t, step, row, count, values.data());
      outliers.inject(row, count, values.data(), &places);
      const void* stored = encoder.encode(values);
      amax = std::max(amax, largest(values));
      out.writer.write_rows(out.tensor, out.step, row, count, stored);
    }
    labels.add(number, places);
    raise_history(info, trace_.steps()[step], amax);
  }

  /// Where only a part of the rows was recorded the others still count.
  void raise_history(const TensorInfo& info, std::int64_t step, float amax) {
    const std::int64_t slot = history_.find_slot(info.name());
    if (slot < 0) return;
    const bool all_rows = info.row_sampling == "all" && info.rows == info.rows_total;
    for (std::size_t i = 0; i < history_.step.size(); ++i) {
      if (!info.constant && history_.step[i] != step) continue;
      float& value = history_.amax[i * history_.slot.size() + static_cast<std::size_t>(slot)];
      value = all_rows ? amax : std::max(value, amax);
    }
  }

  const Trace& trace_;
  const TraceSelection& selection_;
  const CopyOptions& options_;
  std::vector<std::size_t> kept_steps_, kept_tensors_;
  AmaxHistory history_;
};

}  // namespace

void copy_trace(const Trace& trace, const std::string& output, const TraceSelection& selection,
                const CopyOptions& options) {
  require_other_file(output, trace.path());
  Copier(trace, selection, options).write(output);
}

void OutlierLabels::add(std::int64_t step, const std::vector<OutlierPlace>& places) {
  for (const OutlierPlace& place : places)
    step_.push_back(step), row_.push_back(place.row), col_.push_back(place.col);
}

void OutlierLabels::write(TraceWriter& writer, const TensorInfo& info) const {
  const std::string group = fmt::format("outliers/{}/{}", info.layer, info.operand);
  writer.add_column(group, "step", step_, "step of the outlier");
  writer.add_column(group, "row", row_, "row of the outlier, -1: all rows");
  writer.add_column(group, "col", col_, "column of the outlier, -1: all columns");
}

ElementEncoder::ElementEncoder(const TensorInfo& info)
    : format_(info.format), narrow_(info.dtype != "float32") {
  if (info.dtype != "float32" && info.dtype != "bfloat16" && info.dtype != "float16")
    throw UsageError(fmt::format("{} holds codes of {}, into which nothing is injected; choose others "
                                 "with --layers and --operands",
                                 info.name(), info.dtype));
}

const void* ElementEncoder::encode(std::vector<float>& values) {
  if (!narrow_) return values.data();
  codes_.resize(values.size());
  for (std::size_t i = 0; i < values.size(); ++i) {
    codes_[i] = static_cast<std::uint16_t>(fp8scope::encode(format_, values[i], keep_infinity));
    values[i] = decode(format_, codes_[i]);
  }
  return codes_.data();
}

}  // namespace fp8scope
