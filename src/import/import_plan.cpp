#include "src/import/import_plan.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "src/errors.hpp"

namespace fp8scope {

namespace {

constexpr std::int64_t most_extent = std::int64_t{1} << 24, most_steps = 1'000'000;
constexpr std::string_view scale_endings[] = {"_scale_inv", ".scale_inv", "_scale", ".scale"};

bool is_codes(const Element& element) {
  return element.type == h5::Type::u8 && !element.encoding.empty() &&
         element.encoding != "float8_e8m0fnu";
}

/// Source tensors by file and name, to find the scales of codes.
class Scales {
 public:
  explicit Scales(const std::vector<SourceTensor>& sources) {
    for (const SourceTensor& source : sources) by_name_.emplace(source.full_name(), &source);
    for (const SourceTensor& source : sources)
      if (const SourceTensor* scale = is_codes(source.element) ? look(source) : nullptr)
        of_.emplace(&source, scale), scales_.insert(scale);
  }
  const SourceTensor* of(const SourceTensor& codes) const {
    const auto at = of_.find(&codes);
    return at == of_.end() ? nullptr : at->second;
  }
  bool is_scale(const SourceTensor& tensor) const { return scales_.contains(&tensor); }

 private:
  const SourceTensor* look(const SourceTensor& codes) const {
    for (const std::string_view ending : scale_endings) {
      const auto at = by_name_.find(codes.full_name() + std::string(ending));
      if (at != by_name_.end() && at->second->element.known()) return at->second;
    }
    return nullptr;
  }
  std::map<std::string, const SourceTensor*> by_name_;
  std::map<const SourceTensor*, const SourceTensor*> of_;
  std::set<const SourceTensor*> scales_;
};

/// Rows and columns of a tensor, whose last axis is a row's.
struct Extents {
  std::int64_t steps = 1, rows = 1, cols = 1;
};

Extents extents_of(const SourceTensor& source, bool stacked) {
  Extents e;
  std::size_t axis = 0;
  if (stacked) {
    if (source.shape.size() < 2)
      throw DataError(fmt::format("{}: has shape {}; with --stacked its first axis counts steps",
                                  source.where(), h5::shape_text(source.shape)));
    e.steps = source.shape[axis++];
  }
  if (!source.shape.empty() && axis < source.shape.size()) e.cols = source.shape.back();
  for (; axis + 1 < source.shape.size(); ++axis)
    if (__builtin_mul_overflow(e.rows, source.shape[axis], &e.rows))
      throw DataError(fmt::format("{}: has an impossible shape", source.where()));
  if (e.cols > most_extent || e.rows > most_extent || e.steps > most_steps)
    throw DataError(fmt::format("{}: has {} steps of {} rows of {} elements, at most {}, {} and {} are "
                                "possible; reshape it",
                                source.where(), e.steps, e.rows, e.cols, most_steps, most_extent,
                                most_extent));
  return e;
}

/// The type that the trace stores: as it is, or binary32.
std::string stored_dtype(const SourceTensor& source, bool scaled) {
  const Element& e = source.element;
  if (scaled || e.type == h5::Type::f64 || e.type == h5::Type::u16) return "float32";
  return e.encoding.empty() ? std::string(h5::type_name(e.type)) : e.encoding;
}

class Planner {
 public:
  Planner(const std::vector<SourceTensor>& sources, const NameMap& names, const TraceSelection& selection,
          const ImportOptions& options)
      : sources_(sources), names_(names), selection_(selection), options_(options),
        scales_(sources) {}

  ImportPlan plan() {
    for (const SourceTensor& source : sources_) take(source);
    if (plan_.tensors.empty()) fail_without_tensors();
    settle_steps();
    note_left_out();
    return std::move(plan_);
  }

 private:
  void take(const SourceTensor& source) {
    if (scales_.is_scale(source)) return;
    const auto name = names_.find(source.full_name());
    if (!name) return unmatched_.push_back(&source);
    if (!selection_.layer(name->layer) || !selection_.operand(name->operand)) return;
    if (!source.element.known()) return unknown_.push_back(&source);
    if (source.data->size() == 0) return empty_.push_back(&source);
    const bool scaled = options_.apply_scales && scales_.of(source) != nullptr;
    const bool stacked = options_.stacked && name->operand != "w";
    const Extents extents = extents_of(source, stacked);
    PlannedTensor& tensor = tensor_for(*name, source, extents, scaled);
    for (std::int64_t i = 0; i < extents.steps; ++i) {
      const std::int64_t step = name->step.value_or(0) + i;
      if (!selection_.step(step) && name->operand != "w") continue;
      const StepSource from{&source, scaled ? scales_.of(source) : nullptr,
                            i * extents.rows * extents.cols};
      const auto [at, is_new] = tensor.steps.emplace(step, from);
      if (!is_new)
        throw DataError(fmt::format("{}: is {} at step {}, and so is {}; give the names a step with "
                                    "--map '...(?<step>\\d+)...', or choose with --layers",
                                    source.where(), tensor.info.name(), step,
                                    at->second.tensor->where()));
    }
  }

  PlannedTensor& tensor_for(const TraceName& name, const SourceTensor& source, const Extents& extents,
                            bool scaled) {
    const std::string dtype = stored_dtype(source, scaled);
    const auto key = std::pair(name.layer, name.operand);
    if (const auto at = index_.find(key); at != index_.end()) {
      PlannedTensor& known = plan_.tensors[at->second];
      if (known.info.rows != extents.rows || known.info.cols != extents.cols)
        throw DataError(fmt::format("{}: has {} rows of {}, the other steps of {} have {} of {}; pad or "
                                    "slice them to one shape",
                                    source.where(), extents.rows, extents.cols, known.info.name(),
                                    known.info.rows, known.info.cols));
      if (known.info.dtype != dtype)
        throw DataError(fmt::format("{}: holds {}, the other steps of {} hold {}; use one type",
                                    source.where(), dtype, known.info.name(), known.info.dtype));
      return known;
    }
    if (!layers_.contains(name.layer)) layers_.emplace(name.layer, static_cast<int>(layers_.size()));
    PlannedTensor tensor;
    TensorInfo& info = tensor.info;
    info.layer = name.layer, info.operand = name.operand, info.layer_index = layers_[name.layer];
    if (name.framework != name.layer) info.name_in_framework = name.framework;
    info.dtype = dtype, info.rows = extents.rows, info.cols = extents.cols;
    info.rows_total = extents.rows, info.gemms = usual_gemms(name.operand);
    if (scaled) info.long_name = fmt::format("{}, codes of {} times their scales", info.name(),
                                             source.element.encoding);
    if (source.element.type == h5::Type::f64) {
      info.long_name = info.name() + ", rounded from float64";
      ++rounded_;
    }
    index_.emplace(key, plan_.tensors.size());
    plan_.tensors.push_back(std::move(tensor));
    return plan_.tensors.back();
  }

  /// Every tensor has every step; a weight may have one version for all.
  void settle_steps() {
    std::set<std::int64_t> all;
    for (const PlannedTensor& tensor : plan_.tensors)
      if (tensor.info.operand != "w" || tensor.steps.size() > 1)
        for (const auto& [step, from] : tensor.steps) all.insert(step);
    if (all.empty())
      for (const PlannedTensor& tensor : plan_.tensors)
        for (const auto& [step, from] : tensor.steps)
          if (selection_.step(step)) all.insert(step);
    if (all.empty()) throw UsageError("--steps leaves no step of the tensors");
    plan_.steps.assign(all.begin(), all.end());
    for (PlannedTensor& tensor : plan_.tensors) {
      tensor.info.constant = tensor.info.operand == "w" && tensor.steps.size() == 1 && all.size() > 1;
      if (tensor.info.constant) continue;
      for (const std::int64_t step : all)
        if (!tensor.steps.contains(step))
          throw DataError(fmt::format("{} has no step {}, other tensors do; choose the steps that all "
                                      "have with --steps, or the tensors with --layers and --operands",
                                      tensor.info.name(), step));
    }
  }

  [[noreturn]] void fail_without_tensors() const {
    if (!unknown_.empty())
      throw DataError(fmt::format("{}: holds {}, which is no floating-point type; state --dtype if they "
                                  "are codes",
                                  unknown_[0]->where(), unknown_[0]->element.name));
    if (!empty_.empty()) throw DataError(empty_[0]->where() + ": has no elements");
    if (!unmatched_.empty())
      throw UsageError(fmt::format("the name '{}' says neither layer nor operand; write --map "
                                   "'(?<layer>...)...(?<operand>...)', or --layer and --operand",
                                   printable(unmatched_[0]->full_name())));
    throw UsageError("--layers and --operands leave no tensor");
  }

  void note_left_out() {
    const auto note = [&](const std::vector<const SourceTensor*>& list, const char* why) {
      if (!list.empty())
        plan_.notes.push_back(fmt::format("{} tensors left out: {}, the first: {}", list.size(), why,
                                          list[0]->where()));
    };
    note(unmatched_, "their names say neither layer nor operand (see --map)");
    note(empty_, "they have no elements");
    note(unknown_, "their elements are no floating-point numbers (see --dtype)");
    if (rounded_ > 0) plan_.notes.push_back(fmt::format("{} tensors rounded from float64 to float32", rounded_));
  }

  const std::vector<SourceTensor>& sources_;
  const NameMap& names_;
  const TraceSelection& selection_;
  const ImportOptions& options_;
  Scales scales_;
  ImportPlan plan_;
  std::map<std::pair<std::string, std::string>, std::size_t> index_;
  std::map<std::string, int> layers_;
  std::vector<const SourceTensor*> unmatched_, unknown_, empty_;
  std::size_t rounded_ = 0;
};

}  // namespace

std::vector<GemmUse> usual_gemms(const std::string& operand) {
  if (operand == "x") return {{"fprop", 2}, {"wgrad", 1}};
  if (operand == "w") return {{"fprop", 2}, {"dgrad", 1}};
  if (operand == "dy") return {{"dgrad", 2}, {"wgrad", 1}};
  return {};
}

ImportPlan plan_import(const std::vector<SourceTensor>& sources, const NameMap& names,
                       const TraceSelection& selection, const ImportOptions& options) {
  return Planner(sources, names, selection, options).plan();
}

}  // namespace fp8scope
