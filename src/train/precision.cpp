#include "src/train/precision.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "sim/models.hpp"
#include "sim/names.hpp"
#include "sim/recipe.hpp"
#include "src/errors.hpp"

namespace fp8scope::train {
namespace {

using Fields = std::vector<std::string*>;

// To add a switch: a field of Precision, a row here, and the place that reads it. A value in capitals
// stands for any recipe, model or number.
constexpr Switch table[] = {
    {"gemms", "fp32|bf16|RECIPE", "operands of fprop, dgrad and wgrad at once",
     [](Precision& p) { return Fields{&p.fprop.operands, &p.dgrad.operands, &p.wgrad.operands}; }},
    {"fprop", "fp32|bf16|RECIPE", "operands of y = x w^T",
     [](Precision& p) { return Fields{&p.fprop.operands}; }},
    {"dgrad", "fp32|bf16|RECIPE", "operands of dx = dy w",
     [](Precision& p) { return Fields{&p.dgrad.operands}; }},
    {"wgrad", "fp32|bf16|RECIPE", "operands of dw = dy^T x",
     [](Precision& p) { return Fields{&p.wgrad.operands}; }},
    {"accumulator", "MODEL", "matrix unit of fprop, dgrad and wgrad at once",
     [](Precision& p) { return Fields{&p.fprop.accumulator, &p.dgrad.accumulator, &p.wgrad.accumulator}; }},
    {"fprop_accumulator", "MODEL", "matrix unit of fprop",
     [](Precision& p) { return Fields{&p.fprop.accumulator}; }},
    {"dgrad_accumulator", "MODEL", "matrix unit of dgrad",
     [](Precision& p) { return Fields{&p.dgrad.accumulator}; }},
    {"wgrad_accumulator", "MODEL", "matrix unit of wgrad",
     [](Precision& p) { return Fields{&p.wgrad.accumulator}; }},
    {"promote", "auto|none|N", "products between promotions to FP32, of all three",
     [](Precision& p) { return Fields{&p.fprop.promote, &p.dgrad.promote, &p.wgrad.promote}; }},
    {"cast", "x+w+dy|x|w|dy|x+w|x+dy|w+dy", "operands that recipes quantise; the others stay in BF16",
     [](Precision& p) { return Fields{&p.cast}; }},
    {"activations", "fp32|bf16", "what layers hand to each other, and its gradients",
     [](Precision& p) { return Fields{&p.activations}; }},
    {"residual", "fp32|bf16", "the residual stream, and its gradient", [](Precision& p) { return Fields{&p.residual}; }},
    {"master", "fp32|bf16", "master weights", [](Precision& p) { return Fields{&p.master}; }},
    {"gradients", "fp32|bf16", "sums of weight gradients over micro-batches",
     [](Precision& p) { return Fields{&p.gradients}; }},
    {"moments", "fp32|bf16|fp8", "moments of AdamW; fp8: E4M3, groups of 128, expanded range (COAT)",
     [](Precision& p) { return Fields{&p.moments}; }},
    {"linear_cache", "input|fp8", "inputs of linear layers kept for wgrad; fp8: E4M3 1x128, cast again as 128x1",
     [](Precision& p) { return Fields{&p.linear_cache}; }},
    {"attention_cache", "linear_cache|fp8|e5m6", "the same of the linear after attention",
     [](Precision& p) { return Fields{&p.attention_cache}; }},
    {"swiglu_cache", "keep|recompute|fp8", "output kept; or recomputed from the inputs; or from inputs kept in FP8",
     [](Precision& p) { return Fields{&p.swiglu_cache}; }},
    {"cache_scales", "pow2|fp32", "scales of these caches", [](Precision& p) { return Fields{&p.cache_scales}; }},
    {"experts", "gemms|fp32|bf16|RECIPE", "operands of the products of experts; gemms: as the other linear layers",
     [](Precision& p) { return Fields{&p.experts}; }},
    {"dispatch", "fp32|bf16|fp8", "tokens on their way to experts; fp8: E4M3 1x128, power-of-two scales",
     [](Precision& p) { return Fields{&p.dispatch}; }},
    {"combine", "fp32|bf16|fp8", "results on their way back", [](Precision& p) { return Fields{&p.combine}; }},
    {"allreduce", "fp32|bf16|fp8", "gradients between data-parallel ranks",
     [](Precision& p) { return Fields{&p.allreduce}; }},
    {"embedding", "fp32|bf16|RECIPE", "rows of the embedding", [](Precision& p) { return Fields{&p.embedding}; }},
    {"head", "fp32|bf16|RECIPE", "operands of the output layer", [](Precision& p) { return Fields{&p.head}; }},
    {"gate", "fp32|bf16|RECIPE", "operands of the gate of experts", [](Precision& p) { return Fields{&p.gate}; }},
    {"attention", "fp32|bf16|RECIPE", "queries, keys, values and weights of attention",
     [](Precision& p) { return Fields{&p.attention}; }},
    {"norms", "fp32|bf16", "input and gain of norms", [](Precision& p) { return Fields{&p.norms}; }},
};

constexpr Mode mode_table[] = {
    {"fp32", "gemms=fp32 activations=fp32 dispatch=fp32 combine=fp32", "everything binary32"},
    {"bf16", "", "BF16 operands and activations, FP32 sums and master weights"},
    {"te_delayed", "gemms=te_delayed:amax_history_len=16", "hybrid E4M3 and E5M2, one scale from earlier steps"},
    {"te_current", "gemms=te_current", "hybrid E4M3 and E5M2, one scale from this step"},
    {"te_block", "gemms=te_block", "E4M3, 1x128 and 128x128, power-of-two scales"},
    {"dsv3", "gemms=dsv3:amax_floor=1e-30",
     "E4M3, 1x128 and 128x128, FP32 scales; without DeepGEMM's floor of amaxes, which lies above gradients"},
    {"mxfp8", "gemms=mxfp8", "E4M3, blocks of 32, E8M0 scales"},
    {"dsv3_framework",
     "gemms=dsv3:amax_floor=1e-30 accumulator=hopper_wgmma moments=bf16 linear_cache=fp8 attention_cache=e5m6 swiglu_cache=fp8 "
     "dispatch=fp8",
     "the mixed-precision framework of DeepSeek-V3: dsv3 on Hopper, caches, moments and dispatch"},
};

bool allowed(const Switch& row, std::string_view value) {
  std::string_view rest = row.values;
  while (!rest.empty()) {
    const std::size_t bar = std::min(rest.find('|'), rest.size());
    const std::string_view word = rest.substr(0, bar);
    rest.remove_prefix(std::min(bar + 1, rest.size()));
    if (word == value) return true;
    if (word == "RECIPE") return make_recipe(value, TensorKind{}) != nullptr;
    if (word == "MODEL") {
      const std::string_view name = value.substr(0, value.find(':'));
      return std::ranges::any_of(model_rows(), [&](const ModelRow& m) { return m.name == model_called(name); });
    }
    if (word == "N")
      return !value.empty() && value.size() < 8 && std::ranges::all_of(value, [](char c) { return c >= '0' && c <= '9'; });
  }
  return false;
}

}  // namespace

std::span<const Switch> switches() { return table; }
std::span<const Mode> modes() { return mode_table; }

void set_switch(Precision& precision, std::string_view setting) {
  const std::size_t equals = setting.find('=');
  if (equals == std::string_view::npos)
    throw UsageError(fmt::format("'{}': a switch is set as NAME=VALUE; 'fp8scope train --list-switches' lists them", setting));
  const std::string_view value = setting.substr(equals + 1);
  const Switch* row = nullptr;
  try {
    row = &by_name(table, setting.substr(0, equals), "switch");
    if (!allowed(*row, value))
      throw UsageError(fmt::format("switch {}: '{}' is none of {}", row->name, value, row->values));
  } catch (const std::invalid_argument& error) {
    throw UsageError(row ? fmt::format("switch {} takes {}: {}", row->name, row->values, error.what()) : error.what());
  }
  for (std::string* field : row->fields(precision)) *field = value;
}

Precision mode_precision(std::string_view name) {
  Precision precision;
  std::string_view rest = by_name(mode_table, name, "mode").settings;
  while (!rest.empty()) {
    const std::size_t space = std::min(rest.find(' '), rest.size());
    set_switch(precision, rest.substr(0, space));
    rest.remove_prefix(std::min(space + 1, rest.size()));
  }
  return precision;
}

std::string precision_text(const Precision& precision) {
  Precision own = precision, usual;
  std::string text;
  for (const Switch& row : table) {
    if (row.name == "gemms" || row.name == "accumulator") continue;  // their parts are rows of their own
    const std::string value = *row.fields(own)[0];
    if (row.name == "promote" && !(own.dgrad.promote == value && own.wgrad.promote == value))
      text += fmt::format("promote={}/{}/{} ", value, own.dgrad.promote, own.wgrad.promote);
    else if (value != *row.fields(usual)[0])
      text += fmt::format("{}={} ", row.name, value);
  }
  if (!text.empty()) text.pop_back();
  return text;
}

}  // namespace fp8scope::train
