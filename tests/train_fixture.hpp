#pragma once

#include <fstream>
#include <string>

#include "sim/names.hpp"
#include "src/result_file.hpp"
#include "src/train/trainer.hpp"

namespace fp8scope::train {

/// A text of some kilobytes with a little structure.
inline std::string small_corpus(const std::string& path) {
  std::ofstream file(path, std::ios::binary);
  std::uint32_t state = 12345;
  for (int word = 0; word < 4000; ++word) {
    static constexpr const char* words[] = {"and", "the", "unto", "lord", "said", "of", "his", "earth", "day", "light"};
    state = state * 1664525u + 1013904223u;
    file << words[state >> 28 & 7u] << (word % 11 == 10 ? ".\n" : " ");
  }
  return path;
}

/// A run of a tiny model.
inline RunConfig tiny_run(const std::string& mode, const std::string& model, const Corpus& corpus,
                          const std::vector<std::string>& settings = {}) {
  RunConfig run;
  run.model = model, run.mode = mode;
  run.shape = by_name(model_shapes, model, "model").config;
  run.shape.vocabulary = corpus.vocabulary();
  run.precision = mode_precision(mode);
  for (const std::string& setting : settings) set_switch(run.precision, setting);
  run.spread.sequences = 8;
  run.optimizer.steps = 20, run.optimizer.warmup = 5;
  run.validate_every = 10, run.validation_batches = 2;
  return run;
}

}  // namespace fp8scope::train
