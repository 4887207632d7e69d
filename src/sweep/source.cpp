#include "src/sweep/source.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>

#include "sim/amax.hpp"
#include "sim/convert.hpp"
#include "sim/names.hpp"
#include "src/errors.hpp"
#include "src/options.hpp"
#include "src/random_values.hpp"
#include "src/sweep/crc32c.hpp"

namespace fp8scope {
namespace {

double real_setting(const SourceSettings& settings, const char* key, double low, double high) {
  const std::string& text = settings.at(key);
  double value = 0.0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || end != text.data() + text.size() || !(value >= low && value <= high))
    throw UsageError(fmt::format("{} = {}: wanted a number from {} to {}", key, text, low, high));
  return value;
}

std::int64_t whole_setting(const SourceSettings& settings, const char* key, std::int64_t low, std::int64_t high) {
  const auto value = static_cast<std::int64_t>(
      std::min<std::uint64_t>(parse_number(settings.at(key), key), std::uint64_t{1} << 62));
  if (value < low || value > high) throw UsageError(fmt::format("{} = {}: wanted {} to {}", key, value, low, high));
  return value;
}

/// A random value with the scale 1, from the words of one element.
struct Distribution {
  std::string_view name;
  double (*value)(std::uint64_t seed, std::uint64_t stream, std::uint64_t index, int dof);
};

double normal(std::uint64_t seed, std::uint64_t stream, std::uint64_t index, int) {
  return normal_quantile(uniform01(random_words(seed, stream, index).word[0]));
}
double uniform(std::uint64_t seed, std::uint64_t stream, std::uint64_t index, int) {
  return 2.0 * uniform01(random_words(seed, stream, index).word[0]) - 1.0;
}
double laplace(std::uint64_t seed, std::uint64_t stream, std::uint64_t index, int) {
  const PhiloxWords words = random_words(seed, stream, index);
  const double magnitude = -stable_ln(uniform01(words.word[0]));
  return words.word[1] & 1u ? magnitude : -magnitude;
}
/// A normal over the root mean square of `dof` others.
double student(std::uint64_t seed, std::uint64_t stream, std::uint64_t index, int dof) {
  double sum = 0.0, first = 0.0;
  for (int i = 0; i <= dof; ++i) {
    const PhiloxWords words = random_words(seed, stream + (static_cast<std::uint64_t>(i / 4 + 1) << 56), index);
    const double z = normal_quantile(uniform01(words.word[i % 4]));
    i == 0 ? first = z : sum += z * z;
  }
  return first / std::sqrt(sum / dof);
}

constexpr Distribution distributions[] = {{"normal", normal}, {"uniform", uniform}, {"laplace", laplace}, {"student", student}};

/// What an outlier is one of. `index` picks the random bits: whole rows or columns share them.
struct OutlierKind {
  std::string_view name;
  std::uint64_t (*index)(std::int64_t row, std::int64_t col, std::int64_t cols);
};
constexpr OutlierKind outlier_kinds[] = {
    {"none", nullptr},
    {"element", [](std::int64_t r, std::int64_t c, std::int64_t cols) { return static_cast<std::uint64_t>(r * cols + c); }},
    {"token", [](std::int64_t r, std::int64_t, std::int64_t) { return static_cast<std::uint64_t>(r); }},
    {"channel", [](std::int64_t, std::int64_t c, std::int64_t) { return static_cast<std::uint64_t>(c); }},
};

/// Random streams of tensors go by their names, so that a selection changes no value.
std::uint64_t stream_of(const TensorInfo& info, std::size_t step) {
  return static_cast<std::uint64_t>(step & 0xffffff) << 32 | crc32c(info.name());
}

float rounded_to(const Format& format, double value) {
  const auto single = static_cast<float>(value);
  if (format.mantissa_bits >= 23) return single;
  return decode(format, encode(format, single, CastRule{}));
}

}  // namespace

struct Source::Settings {
  explicit Settings(const SourceSettings& from) {
    seed = parse_number(from.at("seed"), "seed");
    kind = by_name(outlier_kinds, from.at("inject.kind"), "inject.kind");
    ratio = real_setting(from, "inject.ratio", 0.0, 1e30);
    fraction = real_setting(from, "inject.fraction", 0.0, 1.0);
    operand = from.at("inject.operand");
    if (operand != "all" && std::ranges::find(roles, operand, &NamedRole::operand) == std::end(roles))
      throw UsageError(fmt::format("inject.operand = {}: wanted x, w, dy or all", operand));
    steps.set_steps({"inject.steps", {from.at("inject.steps")}, false, true, "inject.steps", ""});
    if (!from.contains("synthetic.rows")) return;
    distribution = &by_name(distributions, from.at("synthetic.distribution"), "synthetic.distribution");
    sigma = real_setting(from, "synthetic.sigma", 0.0, 1e30);
    mean = real_setting(from, "synthetic.mean", -1e30, 1e30);
    dof = static_cast<int>(whole_setting(from, "synthetic.dof", 1, 30));
  }
  std::uint64_t seed = 0;
  OutlierKind kind{};
  double ratio = 1.0, fraction = 0.0, sigma = 1.0, mean = 0.0;
  std::string operand;
  Selection steps;
  const Distribution* distribution = nullptr;
  int dof = 3;
};

Catalog catalog_of(const Trace& trace, const Selection& select) {
  Catalog catalog{trace.steps(), {}, {}};
  for (std::size_t t = 0; t < trace.tensors().size(); ++t)
    if (select.has_tensor(trace.tensors()[t])) catalog.tensors.push_back(trace.tensors()[t]), catalog.in_trace.push_back(t);
  return catalog;
}

Catalog synthetic_catalog(const SourceSettings& settings, const Selection& select) {
  const std::int64_t rows = whole_setting(settings, "synthetic.rows", 1, 1 << 24);
  const std::int64_t cols = whole_setting(settings, "synthetic.cols", 1, 1 << 24);
  const std::int64_t outputs = whole_setting(settings, "synthetic.outputs", 1, 1 << 24);
  const std::int64_t layers = whole_setting(settings, "synthetic.layers", 1, 100'000);
  Catalog catalog;
  for (std::int64_t s = 0; s < whole_setting(settings, "synthetic.steps", 1, 100'000); ++s) catalog.steps.push_back(s);
  struct Operand {
    const char* name;
    std::int64_t rows, cols;
    std::vector<GemmUse> gemms;
  };
  const Operand operands[] = {{"x", rows, cols, {{"fprop", 2}, {"wgrad", 1}}},
                              {"w", outputs, cols, {{"fprop", 2}, {"dgrad", 1}}},
                              {"dy", rows, outputs, {{"dgrad", 2}, {"wgrad", 1}}}};
  for (std::int64_t layer = 0; layer < layers; ++layer)
    for (const Operand& operand : operands) {
      TensorInfo info;
      info.layer = fmt::format("S{:02}.synthetic", layer), info.operand = operand.name;
      info.layer_index = static_cast<int>(layer), info.dtype = "bfloat16", info.format = bf16;
      info.steps = std::ssize(catalog.steps), info.rows = info.rows_total = operand.rows, info.cols = operand.cols;
      info.gemms = operand.gemms;
      if (select.has_tensor(info)) catalog.tensors.push_back(std::move(info));
    }
  return catalog;
}

Source::Source(const SourceSettings& settings, const Catalog& catalog, const Trace* trace)
    : settings_(std::make_unique<const Settings>(settings)), catalog_(catalog), trace_(trace) {}
Source::~Source() = default;

ReplayInput Source::input() const {
  ReplayInput input{trace_ ? trace_->path() : "synthetic", catalog_.tensors, catalog_.steps,
                    trace_ ? &trace_->history() : &no_history_,
                    [this](std::size_t tensor, std::size_t step, std::int64_t first, std::int64_t count, float* out) {
                      read_rows(tensor, step, first, count, out);
                    },
                    {}};
  if (settings_->kind.index && trace_)
    input.recorded_amax = [this](std::size_t tensor, std::size_t step) { return amax_with_outliers(tensor, step); };
  return input;
}

void Source::read_rows(std::size_t tensor, std::size_t step, std::int64_t first, std::int64_t count, float* out) const {
  if (trace_)
    trace_->read_rows(catalog_.in_trace[tensor], step, first, count, out);
  else
    make_rows(tensor, step, first, count, out);
  if (has_outliers(tensor, step)) inject(tensor, step, first, count, out);
}

void Source::make_rows(std::size_t tensor, std::size_t step, std::int64_t first, std::int64_t count, float* out) const {
  const TensorInfo& info = catalog_.tensors[tensor];
  const std::uint64_t stream = stream_of(info, step);
  for (std::int64_t i = 0; i < count * info.cols; ++i) {
    const auto index = static_cast<std::uint64_t>(first * info.cols + i);
    const double unit = settings_->distribution->value(settings_->seed, stream, index, settings_->dof);
    out[i] = rounded_to(info.format, settings_->mean + settings_->sigma * unit);
  }
}

bool Source::has_outliers(std::size_t tensor, std::size_t step) const {
  const TensorInfo& info = catalog_.tensors[tensor];
  return settings_->kind.index && (settings_->operand == "all" || settings_->operand == info.operand) &&
         settings_->steps.has_step(catalog_.steps[step]);
}

void Source::inject(std::size_t tensor, std::size_t step, std::int64_t first, std::int64_t count, float* x) const {
  const TensorInfo& info = catalog_.tensors[tensor];
  const std::uint64_t stream = 0xFFull << 56 | stream_of(info, step);
  for (std::int64_t r = 0; r < count; ++r)
    for (std::int64_t c = 0; c < info.cols; ++c) {
      const std::uint64_t index = settings_->kind.index(first + r, c, info.cols);
      if (uniform01(random_words(settings_->seed, stream, index).word[0]) >= settings_->fraction) continue;
      float& value = x[r * info.cols + c];
      if (is_finite(value)) value = rounded_to(info.format, value * settings_->ratio);
    }
}

/// The history knows the tensor as it was recorded: all of it, where only some rows are in the file.
float Source::amax_with_outliers(std::size_t tensor, std::size_t step) const {
  const TensorInfo& info = catalog_.tensors[tensor];
  const AmaxHistory& history = trace_->history();
  const std::int64_t at = history.find_step(catalog_.steps[step]), slot = history.find_slot(info.name());
  const float recorded = history.at(static_cast<std::size_t>(at), static_cast<std::size_t>(slot));
  if (!has_outliers(tensor, step)) return recorded;
  float largest = info.row_sampling == "all" ? 0.0f : recorded;
  const std::int64_t panel = std::clamp<std::int64_t>((1 << 20) / std::max<std::int64_t>(1, info.cols), 1, info.rows);
  rows_.resize(static_cast<std::size_t>(panel * info.cols));
  for (std::int64_t first = 0; first < info.rows; first += panel) {
    const std::int64_t count = std::min(panel, info.rows - first);
    read_rows(tensor, step, first, count, rows_.data());
    largest = std::max(largest, amax(AmaxRule::ignore_nan, std::span(rows_.data(), static_cast<std::size_t>(count * info.cols))));
  }
  return largest;
}

}  // namespace fp8scope
