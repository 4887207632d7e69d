#include <random>

#include "sim/names.hpp"
#include "sim/simd/isa.hpp"
#include "src/bench.hpp"
#include "src/bench_eigen.hpp"
#include "src/train/optimizer.hpp"
#include "src/train/replicas.hpp"

namespace fp8scope {
namespace {

using namespace train;

/// One kind of arithmetic.
struct Row {
  const char* name;
  const char* mode;
  std::vector<const char*> settings;
};

const std::vector<Row> rows = {
    {"train_s_bf16", "bf16", {}},
    {"train_s_fp32", "fp32", {}},
    {"train_s_te_current", "te_current", {}},
    {"train_s_dsv3", "dsv3", {}},
    {"train_s_mxfp8", "mxfp8", {}},
    {"train_s_dsv3_hopper", "dsv3", {"accumulator=hopper_wgmma"}},
};

constexpr std::size_t part = 4096;  ///< elements that race() does not divide
constexpr std::int64_t sequences = 16;

/// A run of its own, for one thread.
struct Run {
  Replicas replicas;
  Optimizer optimizer;
  Batch batch;
  std::int64_t steps = 0;

  Run(const ModelConfig& model, const Precision& precision)
      : replicas(model, precision, {sequences, 1, 1}), optimizer({}, replicas.first().parameters, precision.master, precision.moments) {
    replicas.first().parameters.initialise(1, 0.0);
    std::mt19937 random(1);
    std::uniform_int_distribution<std::int32_t> token(0, static_cast<std::int32_t>(model.vocabulary) - 1);
    for (std::int64_t i = 0; i < sequences * model.context; ++i) {
      batch.inputs.push_back(token(random));
      batch.targets.push_back(token(random));
    }
  }
  void step() {
    static const Executor execute = run_in_order;
    replicas.gradients(execute, batch);
    optimizer.step(execute, replicas.first().parameters, steps++);
  }
};

/// Products of the same sizes as the linear layers' three, by Eigen.
struct EigenStep {
  struct Product {
    std::size_t m, n, k;
  };
  std::vector<Product> products;
  std::vector<float> a, b, d;

  explicit EigenStep(const ModelConfig& c) {
    const auto tokens = static_cast<std::size_t>(sequences * c.context), h = static_cast<std::size_t>(c.hidden),
               f = static_cast<std::size_t>(c.ffn), v = static_cast<std::size_t>(c.vocabulary);
    const auto linear = [&](std::size_t in, std::size_t out) {
      for (const Product& p : {Product{tokens, out, in}, Product{tokens, in, out}, Product{out, in, tokens}}) products.push_back(p);
    };
    for (std::int64_t l = 0; l < c.layers; ++l) linear(h, 3 * h), linear(h, h), linear(h, 2 * f), linear(f, h);
    linear(h, v);
    std::size_t most = 0;
    for (const Product& p : products) most = std::max({most, p.m * p.k, p.n * p.k, p.m * p.n});
    a.assign(most, 0.5f), b.assign(most, 0.25f), d.resize(most);
  }
  void run() {
    const auto sgemm = isa() == Isa::avx512 ? eigen_sgemm_avx512
                       : isa() == Isa::avx2 ? eigen_sgemm_avx2
                       : isa() == Isa::sse4 ? eigen_sgemm_sse4
                                            : eigen_sgemm_plain;
    for (const Product& p : products) sgemm(p.m, p.n, p.k, a.data(), b.data(), d.data());
  }
};

ModelConfig bench_model() {
  ModelConfig model = by_name(model_shapes, "s", "model").config;
  model.vocabulary = 63;
  return model;
}

Precision precision_of_row(const Row& row) {
  Precision precision = mode_precision(row.mode);
  for (const char* setting : row.settings) set_switch(precision, setting);
  return precision;
}

}  // namespace

std::vector<BenchResult> bench_train(const BenchOptions& options) {
  const ModelConfig model = bench_model();
  const double tokens = static_cast<double>(sequences * model.context);
  std::vector<BenchResult> results;
  for (const int threads : options.threads) {
    const auto count = static_cast<std::size_t>(threads);
    std::vector<std::vector<std::unique_ptr<Run>>> runs(rows.size());
    std::vector<Contender> contenders;
    for (std::size_t i = 0; i < rows.size(); ++i) {
      for (std::size_t t = 0; t < count; ++t) runs[i].push_back(std::make_unique<Run>(model, precision_of_row(rows[i])));
      contenders.push_back({[&runs, i](std::size_t begin, std::size_t) { runs[i][begin / part]->step(); }, count * part});
    }
    std::vector<EigenStep> eigen(count, EigenStep(model));
    contenders.push_back({[&](std::size_t begin, std::size_t) { eigen[begin / part].run(); }, count * part});
    const auto times = race(contenders, threads, options.rounds);
    // race() gives seconds per element, and a step of every thread is 4096 elements each.
    const auto rate = [&](std::size_t i) { return 1e-3 * tokens / (median(times[i]) * static_cast<double>(part)); };
    for (std::size_t i = 0; i < rows.size(); ++i) {
      const std::size_t ceiling = i == 0 ? rows.size() : 0;
      results.push_back({rows[i].name, threads, rate(i), rate(ceiling), median_speedup(times[i], times[ceiling]), {}});
    }
  }
  return results;
}

}  // namespace fp8scope
