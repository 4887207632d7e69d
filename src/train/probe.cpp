#include "src/train/probe.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>

#include "sim/names.hpp"
#include "src/train/ledger.hpp"

namespace fp8scope::train {
namespace {

/// One change of precision. `against` is the variant that the error is measured from; its size is that
/// of the binary32 gradient in every case. What comes before a cast to 8 bits is measured from binary32:
/// a change of a millionth there moves values across rounding edges, and two such runs differ by as much
/// as either does from binary32.
struct Variant {
  std::string_view name, cause, mode, settings, against = "fp32";
  bool experts = false;       ///< only where the model has experts
  std::int64_t ranks = 1, micro_batches = 1;  ///< the batch is spread over them
};

// To add a variant, add a row.
constexpr Variant table[] = {
    {"fp32", "reference", "fp32", ""},
    {"bf16", "whole mode", "bf16", ""},
    {"te_delayed", "whole mode", "te_delayed", ""},
    {"te_current", "whole mode", "te_current", ""},
    {"te_block", "whole mode", "te_block", ""},
    {"dsv3", "whole mode", "dsv3", ""},
    {"mxfp8", "whole mode", "mxfp8", ""},
    {"dsv3_framework", "whole mode", "dsv3_framework", ""},
    {"dsv3_floor", "amax floor 1e-4 of DeepGEMM", "bf16", "gemms=dsv3"},
    {"te_current_e4m3", "gradients in E4M3", "bf16", "gemms=te_current:format=e4m3"},
    {"dsv3_fprop", "product", "bf16", "fprop=dsv3:amax_floor=1e-30"},
    {"dsv3_dgrad", "product", "bf16", "dgrad=dsv3:amax_floor=1e-30"},
    {"dsv3_wgrad", "product", "bf16", "wgrad=dsv3:amax_floor=1e-30"},
    {"dsv3_x", "operand", "dsv3", "cast=x"},
    {"dsv3_w", "operand", "dsv3", "cast=w"},
    {"dsv3_dy", "operand", "dsv3", "cast=dy"},
    {"dsv3_dgrad_128x128", "blocks of gradients in dgrad", "dsv3", "dgrad=dsv3:amax_floor=1e-30:block=128x128"},
    {"dsv3_hopper", "accumulator, promoted every 128", "dsv3", "accumulator=hopper_wgmma"},
    {"dsv3_blackwell", "accumulator, promoted every 128", "dsv3", "accumulator=blackwell_tcgen05"},
    {"te_current_hopper", "accumulator, never promoted", "te_current", "accumulator=hopper_wgmma promote=none"},
    {"te_current_hopper_128", "accumulator, promoted every 128", "te_current", "accumulator=hopper_wgmma promote=128"},
    {"hopper_fprop", "accumulator of a product, never promoted", "te_current", "fprop_accumulator=hopper_wgmma promote=none"},
    {"hopper_dgrad", "accumulator of a product, never promoted", "te_current", "dgrad_accumulator=hopper_wgmma promote=none"},
    {"hopper_wgrad", "accumulator of a product, never promoted", "te_current", "wgrad_accumulator=hopper_wgmma promote=none"},
    {"activations_fp32", "what layers hand on", "bf16", "activations=fp32"},
    {"linear_cache_pow2", "kept inputs", "te_block", "linear_cache=fp8", "te_block"},
    {"linear_cache_fp32", "kept inputs", "dsv3", "linear_cache=fp8 cache_scales=fp32", "dsv3"},
    {"attention_cache_e5m6", "kept inputs", "bf16", "attention_cache=e5m6", "bf16"},
    {"attention_cache_fp8", "kept inputs", "bf16", "attention_cache=fp8", "bf16"},
    {"swiglu_cache_fp8", "kept inputs", "bf16", "swiglu_cache=fp8", "bf16"},
    {"swiglu_recompute", "kept inputs", "bf16", "swiglu_cache=recompute", "bf16"},
    {"residual_bf16", "residual stream", "bf16", "residual=bf16", "bf16"},
    {"norms_bf16", "kept high", "bf16", "norms=bf16", "bf16"},
    {"embedding_fp8", "kept high", "bf16", "embedding=dsv3:amax_floor=1e-30", "bf16"},
    {"head_fp8", "kept high", "bf16", "head=dsv3:amax_floor=1e-30", "bf16"},
    {"attention_fp8", "kept high", "bf16", "attention=dsv3:amax_floor=1e-30", "bf16"},
    {"gate_bf16", "router", "bf16", "gate=bf16", "bf16", true},
    {"gate_fp8", "router", "bf16", "gate=dsv3:amax_floor=1e-30", "bf16", true},
    {"experts_fp8", "experts", "bf16", "experts=dsv3:amax_floor=1e-30", "bf16", true},
    {"all_but_experts_fp8", "experts", "dsv3", "experts=bf16", "bf16", true},
    {"dispatch_bf16", "exchange", "fp32", "dispatch=bf16", "fp32", true},  // of BF16 activations neither changes a bit
    {"combine_bf16", "exchange", "fp32", "combine=bf16", "fp32", true},
    {"dispatch_fp8", "exchange", "bf16", "dispatch=fp8", "bf16", true},
    {"combine_fp8", "exchange", "bf16", "combine=fp8", "bf16", true},
    {"master_bf16", "optimizer", "bf16", "master=bf16", "bf16"},
    {"moments_bf16", "optimizer", "bf16", "moments=bf16", "bf16"},
    {"moments_fp8", "optimizer", "bf16", "moments=fp8", "bf16"},
    {"gradients_fp32", "four micro-batches", "bf16", "", "bf16", false, 1, 4},
    {"gradients_bf16", "four micro-batches", "bf16", "gradients=bf16", "gradients_fp32", false, 1, 4},
    {"allreduce_fp32", "four ranks", "bf16", "", "bf16", false, 4, 1},
    {"allreduce_bf16", "four ranks", "bf16", "allreduce=bf16", "allreduce_fp32", false, 4, 1},
    {"allreduce_fp8", "four ranks", "bf16", "allreduce=fp8", "allreduce_fp32", false, 4, 1},
};

/// What a variant gives at some weights.
struct Outcome {
  std::vector<float> gradient, update;  ///< of every parameter
  double loss = 0.0, memory = 0.0, traffic = 0.0;
  Routes routes;  ///< of the tokens of the batch
};

class Probe {
 public:
  Probe(const RunConfig& run, const Corpus& corpus, const Executor& execute, std::int64_t history)
      : run_(run), corpus_(corpus), execute_(execute), history_(history) {}

  /// Starts on another checkpoint.
  void open(const std::string& path) { path_ = path, outcomes_.clear(); }
  std::int64_t steps() const { return steps_; }
  const std::vector<ParameterTensor>& tensors() const { return tensors_; }

  const Outcome& outcome(std::string_view name) {
    const auto known = outcomes_.find(std::string(name));
    if (known != outcomes_.end()) return known->second;
    return outcomes_[std::string(name)] = measure(by_name(table, name, "variant"), nullptr);
  }
  /// The same where every token goes to the experts that binary32 chooses.
  const Outcome& held(std::string_view name) {
    const Routes& routes = outcome("fp32").routes;
    if (routes.experts.empty()) return outcome(name);
    const std::string key = std::string(name) + ", held";
    const auto known = outcomes_.find(key);
    if (known != outcomes_.end()) return known->second;
    return outcomes_[key] = measure(by_name(table, name, "variant"), &routes);
  }

 private:
  Outcome measure(const Variant& variant, const Routes* held) {
    RunConfig run = run_;
    run.precision = mode_precision(variant.mode);
    for (std::string_view rest = variant.settings; !rest.empty();) {
      const std::size_t space = std::min(rest.find(' '), rest.size());
      set_switch(run.precision, rest.substr(0, space));
      rest.remove_prefix(std::min(space + 1, rest.size()));
    }
    run.spread.ranks = variant.ranks, run.spread.micro_batches = variant.micro_batches;
    run.spread.sequences = run_.spread.all() / (variant.ranks * variant.micro_batches);
    Trainer trainer(run, corpus_, execute_);
    trainer.load_weights(path_);
    steps_ = trainer.steps();
    Replicas& replicas = trainer.replicas();
    Parameters& parameters = replicas.first().parameters;
    tensors_ = parameters.tensors;
    fill_memories(trainer);

    Outcome out;
    if (held) out.routes = *held, out.routes.held = true;
    const double sent_before = sent(replicas);
    replicas.gradients(execute_, batch(steps_), nullptr, run.shape.experts > 0 ? &out.routes : nullptr);
    out.gradient = parameters.gradients;
    out.traffic = sent(replicas) - sent_before;
    out.memory = memory_bytes(replicas.first(), run.spread.sequences * run.shape.context).own;
    double sum = 0.0;
    for (std::int64_t b = 0; b < run_.validation_batches; ++b)
      sum += replicas.loss(execute_, corpus_.validation(b, run_.spread.all()));
    out.loss = sum / static_cast<double>(run_.validation_batches);
    trainer.optimizer().round_state(execute_, parameters);
    const std::vector<float> before = parameters.values;
    trainer.optimizer().step(execute_, parameters, steps_);
    out.update.resize(before.size());
    for (std::size_t i = 0; i < before.size(); ++i) out.update[i] = parameters.values[i] - before[i];
    return out;
  }

  Batch batch(std::int64_t step) const { return corpus_.training(run_.seed, step, run_.spread.all()); }

  static double sent(Replicas& replicas) {
    double bytes = 0.0;
    for (const auto& [name, count] : replicas.traffic().counts) bytes += count.bytes;
    return bytes;
  }
  /// Recipes that scale by earlier steps see the batches of the steps before, at these weights.
  void fill_memories(Trainer& trainer) {
    for (std::int64_t back = history_; back > 0 && remembers(trainer); --back)
      trainer.replicas().gradients(execute_, batch(std::max<std::int64_t>(0, steps_ - back)));
  }
  static bool remembers(Trainer& trainer) {
    for (Linear* linear : trainer.replicas().first().linears())
      for (const auto& [name, cast] : linear->memories())
        if (cast->remembers()) return true;
    return false;
  }

  const RunConfig& run_;
  const Corpus& corpus_;
  const Executor& execute_;
  std::int64_t history_;
  std::string path_;
  std::int64_t steps_ = 0;
  std::vector<ParameterTensor> tensors_;
  std::map<std::string, Outcome> outcomes_;
};

/// Sums over a range of parameters.
struct Comparison {
  double error, cosine;
};

/// Parameters that a row is about.
struct Selection {
  std::string scope, name, layer;              ///< layer: whose tokens' routes it shows; "": all
  std::vector<const ParameterTensor*> tensors;
};

/// The part of its layer that a tensor belongs to.
std::string part_of(const std::string& tensor) {
  const std::string rest = tensor.substr(4);  // "L02."
  if (rest.starts_with("norm")) return "norms";
  if (rest.starts_with("qkv") || rest.starts_with("o.")) return "attention";
  if (rest == "gate.w") return "gate";
  return rest.starts_with("e") ? "experts" : "feed-forward";
}

/// All parameters, each layer, each part of a layer, each tensor.
std::vector<Selection> selections(const std::vector<ParameterTensor>& tensors) {
  std::vector<Selection> layers, parts, single;
  Selection all{"model", "all", "", {}};
  const auto add = [](std::vector<Selection>& list, const std::string& scope, const std::string& name,
                      const std::string& layer, const ParameterTensor& t) {
    const auto same = std::ranges::find(list, name, &Selection::name);
    if (same != list.end()) same->tensors.push_back(&t);
    else list.push_back({scope, name, layer, {&t}});
  };
  for (const ParameterTensor& t : tensors) {
    all.tensors.push_back(&t);
    const bool inside = t.name.size() > 4 && t.name[0] == 'L' && t.name[3] == '.';
    const std::string layer = inside ? t.name.substr(0, 3) : "";
    if (inside) add(layers, "layer", layer, layer, t), add(parts, "part", layer + "." + part_of(t.name), layer, t);
    add(single, "tensor", t.name, layer, t);
  }
  std::vector<Selection> out{all};
  for (const auto* list : {&layers, &parts, &single}) out.insert(out.end(), list->begin(), list->end());
  return out;
}

/// |x - y| / |size| and the cosine between x and y.
Comparison compare(const std::vector<float>& x, const std::vector<float>& y, const std::vector<float>& size,
                   const Selection& selection) {
  double xx = 0.0, yy = 0.0, xy = 0.0, difference = 0.0, norm = 0.0;
  for (const ParameterTensor* t : selection.tensors)
    for (std::size_t i = t->offset; i < t->offset + t->size(); ++i) {
      const double a = x[i], b = y[i], s = size[i];
      xx += a * a, yy += b * b, xy += a * b, difference += (a - b) * (a - b), norm += s * s;
    }
  return {std::sqrt(difference / norm), xy / std::sqrt(xx * yy)};
}

struct Rows {
  Table out{"probe", "each variant against another one at the same weights and batch"};
  std::vector<std::int64_t>& step = out.add<std::int64_t>("step", "1", "steps that the checkpoint had done");
  std::vector<std::string>& variant = out.add<std::string>("variant", "1", "what is changed");
  std::vector<std::string>& cause = out.add<std::string>("cause", "1", "kind of change");
  std::vector<std::string>& against = out.add<std::string>("against", "1", "variant that it is compared with");
  std::vector<std::string>& tensor = out.add<std::string>("tensor", "1", "parameter tensor, part of a layer, layer, or all");
  std::vector<double>& error =
      out.add<double>("gradient_error", "%", "norm of the difference of the gradients over that of the binary32 one");
  std::vector<double>& cosine = out.add<double>("cosine", "1", "between the two gradients");
  std::vector<double>& update = out.add<double>("update_error", "%", "the same of the optimizer's update");
  std::vector<double>& shift = out.add<double>("loss_shift", "%", "relative difference of the held-out loss");
  std::vector<double>& memory = out.add<double>("memory", "byte", "held by a rank in a training step");
  std::vector<double>& traffic = out.add<double>("traffic", "byte", "sent by all ranks in a training step");
  std::vector<std::string>& scope = out.add<std::string>("scope", "1", "what the row is about: model, layer, part or tensor");
  std::vector<double>& rerouted =
      out.add<double>("rerouted", "%", "choices of experts, of the layer or of all, that the other variant has not made");
  std::vector<double>& held = out.add<double>("gradient_error_held", "%",
                                              "gradient_error where both send every token where binary32 sends it");
};

}  // namespace

Table probe_variants() {
  Table out("variants", "");
  auto& name = out.add<std::string>("variant", "1", "");
  auto& cause = out.add<std::string>("cause", "1", "");
  auto& mode = out.add<std::string>("mode", "1", "");
  auto& settings = out.add<std::string>("switches", "1", "");
  auto& against = out.add<std::string>("against", "1", "");
  for (const Variant& v : table) {
    name.emplace_back(v.name), cause.emplace_back(v.cause), mode.emplace_back(v.mode);
    settings.emplace_back(v.settings), against.emplace_back(v.against);
  }
  return out;
}

Table run_probe(const RunConfig& run, const Corpus& corpus, const Executor& execute, const ProbeOptions& options) {
  std::vector<std::string> names = options.variants;
  for (const Variant& v : table)
    if (options.variants.empty() && (run.shape.experts > 0 || !v.experts) &&
        run.spread.all() % (v.ranks * v.micro_batches) == 0)
      names.emplace_back(v.name);
  Rows rows;
  Probe probe(run, corpus, execute, options.history);
  for (const std::string& path : options.checkpoints) {
    probe.open(path);
    for (const std::string& name : names) {
      const Variant& variant = by_name(table, name, "variant");
      const Outcome &exact = probe.outcome("fp32"), &other = probe.outcome(variant.against), &own = probe.outcome(name);
      const Outcome &held = probe.held(name), &other_held = probe.held(variant.against);
      for (const Selection& s : selections(probe.tensors())) {
        const Comparison gradient = compare(own.gradient, other.gradient, exact.gradient, s);
        const Comparison update = compare(own.update, other.update, exact.update, s);
        rows.step.push_back(probe.steps()), rows.variant.push_back(name);
        rows.cause.emplace_back(variant.cause), rows.against.emplace_back(variant.against), rows.tensor.push_back(s.name);
        rows.error.push_back(100.0 * gradient.error), rows.cosine.push_back(gradient.cosine);
        rows.update.push_back(100.0 * update.error);
        rows.shift.push_back(100.0 * (own.loss - other.loss) / other.loss);
        rows.memory.push_back(own.memory), rows.traffic.push_back(own.traffic);
        rows.scope.push_back(s.scope);
        rows.rerouted.push_back(100.0 * rerouted(own.routes, other.routes, run.shape.top_k, s.layer));
        rows.held.push_back(100.0 * compare(held.gradient, other_held.gradient, exact.gradient, s).error);
      }
    }
  }
  rows.out.signal = "gradient_error";
  return std::move(rows.out);
}

Table probe_summary(const Table& probe, const std::string& scope) {
  Table out("probe", "");
  const auto& scopes = std::get<std::vector<std::string>>(probe.column("scope").values);
  const bool routed = std::ranges::any_of(std::get<std::vector<double>>(probe.column("rerouted").values), [](double r) { return r > 0.0; });
  for (const Column& column : probe.columns) {
    const bool of_routes = column.name == "rerouted" || column.name == "gradient_error_held";
    if (column.name == "cause" || column.name == "scope" || (column.name == "tensor" && scope == "model") || (of_routes && !routed)) continue;
    std::visit(
        [&]<class T>(const std::vector<T>& values) {
          auto& kept = out.add<T>(column.name, column.unit, "");
          for (std::size_t i = 0; i < values.size(); ++i)
            if (scopes[i] == scope) kept.push_back(values[i]);
        },
        column.values);
  }
  return out;
}

}  // namespace fp8scope::train
