#include "src/train/ledger.hpp"

#include <limits>

#include "src/stable_log.hpp"
#include "src/train/optimizer.hpp"

namespace fp8scope::train {
namespace {

struct Item {
  std::string name, by, format;
  Bytes bytes;
};

/// Bytes of the copies of a weight that the products read: BF16, or codes and scales of both directions.
double operand_bytes(const LinearShape& shape, const std::string& operands) {
  const double n = static_cast<double>(shape.in * shape.out);
  if (operands == "fp32") return 0.0;  // the master weights serve
  if (operands == "bf16") return 2.0 * n;
  const auto scales = [&](std::int64_t rows, std::int64_t k) {
    const Plan plan = make_recipe(operands, {Role::weight, bf16})->plan();
    const double each = plan.storage == ScaleStorage::e8m0 ? 1.0 : 4.0;
    return each * static_cast<double>(BlockGrid(rows, k, plan.block).blocks());
  };
  const Plan plan = make_recipe(operands, {Role::weight, bf16})->plan();
  const double codes = n * plan.format.bits() / 8.0;
  const bool symmetric = plan.block.rows == plan.block.cols;  // one copy serves fprop and dgrad
  return symmetric ? codes + scales(shape.out, shape.in)
                   : 2.0 * codes + scales(shape.out, shape.in) + scales(shape.in, shape.out);
}

std::vector<Item> items(Transformer& model, std::int64_t rows) {
  const Precision& p = model.precision();
  const double n = static_cast<double>(model.parameters.values.size());
  const auto width = [](const std::string& format) { return format == "bf16" ? 2.0 : 4.0; };
  std::vector<Item> all;
  all.push_back({"master weights", "master", p.master, {width(p.master) * n, 4.0 * n}});
  Bytes operands, of_experts;
  double linear = 0.0;
  for (Linear* l : model.linears()) {
    const double size = static_cast<double>(l->shape().in * l->shape().out);
    linear += size;
    if (l->shape().name == "head" || l->shape().name.ends_with(".gate")) continue;
    const bool expert = l->shape().name.find(".e") != std::string::npos;
    (expert ? of_experts : operands).add(operand_bytes(l->shape(), l->operands()), 2.0 * size);
  }
  all.push_back({"weights as operands", "gemms", p.fprop.operands, operands});
  if (model.config().experts > 0) all.push_back({"weights of experts as operands", "experts", p.experts, of_experts});
  all.push_back({"gradients", "gradients", p.gradients, {width(p.gradients) * linear + 4.0 * (n - linear), 4.0 * n}});
  all.push_back({"moments", "moments", p.moments, {Optimizer::moment_bytes(p.moments, n), 8.0 * n}});
  std::map<std::string, Bytes> kept;
  for (Layer& layer : model.layers())
    for (const auto& [name, bytes] : layer.cache_bytes(rows)) kept[name].add(bytes.own, bytes.bf16);
  for (const auto& [name, bytes] : kept) {
    const bool attention = name == "input of the linear after attention";
    const bool swiglu = name.starts_with("SwiGLU"), input = name == "linear inputs";
    const std::string by = attention ? "attention_cache" : swiglu ? "swiglu_cache" : input ? "linear_cache"
                           : name == "residual stream" ? "residual" : name == "expert results" ? "combine" : "activations";
    const std::string format = attention ? p.attention_cache : swiglu ? p.swiglu_cache : input ? p.linear_cache
                               : by == "residual" ? p.residual : by == "combine" ? p.combine : p.activations;
    all.push_back({"kept: " + name, by, format, bytes});
  }
  return all;
}

double ratio(double own, double bf16) { return bf16 > 0.0 ? own / bf16 : std::numeric_limits<double>::quiet_NaN(); }

}  // namespace

Table memory_table(Transformer& model, std::int64_t rows) {
  Table table("memory", "bytes that a rank holds in a training step");
  table.signal = "bytes";
  auto& item = table.add<std::string>("item", "1", "what is held");
  auto& by = table.add<std::string>("switch", "1", "switch that decides");
  auto& format = table.add<std::string>("format", "1", "its value");
  auto& bytes = table.add<double>("bytes", "byte", "held");
  auto& bf16_bytes = table.add<double>("bf16_bytes", "byte", "held with BF16 operands and no other switch set");
  auto& part = table.add<double>("ratio", "1", "bytes / bf16_bytes");
  for (const Item& i : items(model, rows)) {
    item.push_back(i.name), by.push_back(i.by), format.push_back(i.format);
    bytes.push_back(i.bytes.own), bf16_bytes.push_back(i.bytes.bf16), part.push_back(ratio(i.bytes.own, i.bytes.bf16));
  }
  return table;
}

Bytes memory_bytes(Transformer& model, std::int64_t rows) {
  Bytes sum;
  for (const Item& i : items(model, rows)) sum.add(i.bytes.own, i.bytes.bf16);
  return sum;
}

Table traffic_table(const Traffic& traffic, std::int64_t steps) {
  Table table("traffic", "bytes between ranks in a training step, and the error of what arrived");
  table.signal = "bytes";
  auto& what = table.add<std::string>("what", "1", "what was sent");
  auto& bytes = table.add<double>("bytes", "byte", "sent by all ranks together, a step");
  auto& bf16_bytes = table.add<double>("bf16_bytes", "byte", "the same in BF16");
  auto& part = table.add<double>("ratio", "1", "bytes / bf16_bytes");
  auto& sqnr = table.add<double>("sqnr", "dB", "of what arrived against what was there before the cast");
  for (const auto& [name, count] : traffic.counts) {
    const double n = static_cast<double>(std::max<std::int64_t>(1, steps));
    what.push_back(name), bytes.push_back(count.bytes / n), bf16_bytes.push_back(count.bf16_bytes / n);
    part.push_back(ratio(count.bytes, count.bf16_bytes));
    sqnr.push_back(count.noise > 0.0 ? decibels(count.signal / count.noise) : std::numeric_limits<double>::infinity());
  }
  return table;
}

}  // namespace fp8scope::train
