// The state of a run as an HDF5 file: what the optimizer, the recipes with a memory and the balancing
// of experts remember, the weights, and the curve so far.
#include <fmt/format.h>

#include <algorithm>

#include "src/errors.hpp"
#include "src/hdf5.hpp"
#include "src/train/moe.hpp"
#include "src/train/trainer.hpp"

namespace fp8scope::train {
namespace {

constexpr const char* schema = "fp8train";

template <class T>
void write(h5::Group& group, const std::string& name, h5::Type type, const std::vector<T>& values, h5::Shape shape = {}) {
  if (values.empty()) return;
  if (shape.empty()) shape = {std::ssize(values)};
  const h5::Storage storage{h5::row_chunk(shape, sizeof(T)), 0};
  group.create_dataset(name, type, shape, storage).template write_all<T>(values);
}

template <class T>
std::vector<T> read(const h5::Group& group, const std::string& name) {
  return group.has(name) ? group.dataset(name).values<T>() : std::vector<T>{};
}

void fill(const h5::Group& group, const std::string& name, float* to, std::size_t n) {
  const std::vector<float> values = group.dataset(name).values<float>();
  if (values.size() != n)
    throw DataError(fmt::format("{}: {} numbers, this model has {}", group.dataset(name).where(), values.size(), n));
  std::copy(values.begin(), values.end(), to);
}

/// name(rank, "L00.qkv/x_fprop") without slashes.
std::string memory_name(std::size_t rank, std::string name) {
  std::ranges::replace(name, '/', ':');
  return fmt::format("rank{}:{}", rank, name);
}

h5::Group open_checkpoint(const std::string& path) {
  h5::Group root = h5::open_file(path);
  if (root.text("schema") != schema)
    throw DataError(fmt::format("'{}': not a checkpoint of fp8scope train", path));
  return root;
}

}  // namespace

void Trainer::save(const std::string& path) {
  h5::NewFile file(path);
  h5::Group& root = file.root();
  root.set("schema", std::string(schema));
  root.set("schema_version", std::string("1.0"));
  root.set("run", config_.text());
  root.set("steps", steps_);
  h5::Group weights = root.create_group("parameters"), first = root.create_group("moment1"),
            second = root.create_group("moment2"), memory = root.create_group("recipes"),
            state = root.create_group("experts"), curve = root.create_group("curve");
  const Parameters& p = replicas_.first().parameters;
  for (const ParameterTensor& t : p.tensors) {
    const auto part = [&](const std::vector<float>& all) {
      return std::vector<float>(all.begin() + static_cast<std::ptrdiff_t>(t.offset),
                                all.begin() + static_cast<std::ptrdiff_t>(t.offset + t.size()));
    };
    write(weights, t.name, h5::Type::f32, part(p.values), {t.rows, t.cols});
    write(first, t.name, h5::Type::f32, part(optimizer_.first()), {t.rows, t.cols});
    write(second, t.name, h5::Type::f32, part(optimizer_.second()), {t.rows, t.cols});
  }
  for (std::size_t r = 0; r < replicas_.models().size(); ++r) {
    Transformer& model = *replicas_.models()[r];
    for (Linear* linear : model.linears())
      for (const auto& [name, cast] : linear->memories())
        write(memory, memory_name(r, name), h5::Type::f32, cast->memory());
    for (std::size_t l = 0; l < model.layers().size(); ++l)
      if (const auto* bias = model.layers()[l].feed_forward().state())
        write(state, fmt::format("rank{}:L{:02}", r, l), h5::Type::f32, *bias);
  }
  write(curve, "step", h5::Type::i64, curve_.step);
  write(curve, "loss", h5::Type::f64, curve_.loss);
  write(curve, "gradient_norm", h5::Type::f64, curve_.gradient_norm);
  write(curve, "rate", h5::Type::f64, curve_.rate);
  write(curve, "validation_step", h5::Type::i64, curve_.validation_step);
  write(curve, "validation_loss", h5::Type::f64, curve_.validation_loss);
  file.commit();
}

void Trainer::load_weights(const std::string& path) {
  const h5::Group root = open_checkpoint(path);
  const h5::Group weights = root.group("parameters"), first = root.group("moment1"), second = root.group("moment2");
  Parameters& p = replicas_.first().parameters;
  for (const ParameterTensor& t : p.tensors) {
    fill(weights, t.name, &p.values[t.offset], t.size());
    fill(first, t.name, &optimizer_.first()[t.offset], t.size());
    fill(second, t.name, &optimizer_.second()[t.offset], t.size());
  }
  const h5::Group state = root.group("experts");
  for (auto& model : replicas_.models())
    for (std::size_t l = 0; l < model->layers().size(); ++l)
      if (auto* bias = model->layers()[l].feed_forward().state())
        fill(state, fmt::format("rank0:L{:02}", l), bias->data(), bias->size());
  steps_ = root.integer("steps").value_or(0);
}

void Trainer::load(const std::string& path) {
  load_weights(path);
  const h5::Group root = open_checkpoint(path);
  const std::string run = root.required_text("run");
  if (run != config_.text())
    throw DataError(fmt::format("'{}': the checkpoint is of another run; choose another name or remove it.\n  there: {}\n  "
                                "here:  {}", path, run, config_.text()));
  const h5::Group memory = root.group("recipes"), state = root.group("experts"), curve = root.group("curve");
  for (std::size_t r = 0; r < replicas_.models().size(); ++r) {
    Transformer& model = *replicas_.models()[r];
    for (Linear* linear : model.linears())
      for (const auto& [name, cast] : linear->memories())
        if (memory.has(memory_name(r, name))) cast->restore(read<float>(memory, memory_name(r, name)));
    for (std::size_t l = 0; l < model.layers().size(); ++l)
      if (auto* bias = model.layers()[l].feed_forward().state())
        fill(state, fmt::format("rank{}:L{:02}", r, l), bias->data(), bias->size());
  }
  curve_ = {read<std::int64_t>(curve, "step"),          read<double>(curve, "loss"),
            read<double>(curve, "gradient_norm"),       read<double>(curve, "rate"),
            read<std::int64_t>(curve, "validation_step"), read<double>(curve, "validation_loss")};
}

}  // namespace fp8scope::train
