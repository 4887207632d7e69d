// Writes weights, a batch, the loss and its gradients of a small model, for a comparison with PyTorch.
// train_dump MODEL CORPUS FILE
#include "src/hdf5.hpp"
#include "tests/train_fixture.hpp"

int main(int argc, char** argv) {
  using namespace fp8scope;
  using namespace fp8scope::train;
  if (argc != 4) return 2;
  const Executor in_order = run_in_order;
  const Corpus corpus(small_corpus(argv[2]), 16);
  const RunConfig run = tiny_run("fp32", argv[1], corpus);
  Trainer trainer(run, corpus, in_order);
  for (int i = 0; i < 5; ++i) trainer.step();
  Replicas& replicas = trainer.replicas();
  const Batch batch = corpus.training(9, 0, run.spread.all());
  const double loss = replicas.gradients(in_order, batch);

  h5::NewFile file(argv[3]);
  h5::Group& root = file.root();
  const auto& shape = run.shape;
  for (const auto& [name, value] : {std::pair<const char*, std::int64_t>{"hidden", shape.hidden}, {"layers", shape.layers},
                                    {"heads", shape.heads}, {"ffn", shape.ffn}, {"context", shape.context},
                                    {"experts", shape.experts}, {"top_k", shape.top_k}})
    root.set(name, value);
  root.set("loss", loss);
  h5::Group weights = root.create_group("parameters"), gradients = root.create_group("gradients"), bias = root.create_group("bias");
  const Parameters& p = replicas.first().parameters;
  for (const ParameterTensor& t : p.tensors) {
    const auto part = [&](const std::vector<float>& all) {
      return std::vector<float>(all.begin() + static_cast<std::ptrdiff_t>(t.offset),
                                all.begin() + static_cast<std::ptrdiff_t>(t.offset + t.size()));
    };
    weights.create_dataset(t.name, h5::Type::f32, {t.rows, t.cols}).write_all<float>(part(p.values));
    gradients.create_dataset(t.name, h5::Type::f32, {t.rows, t.cols}).write_all<float>(part(p.gradients));
  }
  for (std::size_t l = 0; l < replicas.first().layers().size(); ++l)
    if (const auto* values = replicas.first().layers()[l].feed_forward().state())
      bias.create_dataset("L0" + std::to_string(l), h5::Type::f32, {std::ssize(*values)}).write_all<float>(*values);
  const h5::Shape tokens{run.spread.all(), shape.context};
  const auto write = [&](const char* name, const std::vector<std::int32_t>& values) {
    root.create_dataset(name, h5::Type::i64, tokens).write_all<std::int64_t>(std::vector<std::int64_t>(values.begin(), values.end()));
  };
  write("inputs", batch.inputs), write("targets", batch.targets);
  file.commit();
}
