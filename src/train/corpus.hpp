#pragma once

#include <string>

#include "src/train/transformer.hpp"

namespace fp8scope::train {

/// A text as a sequence of characters, numbered in the order of their bytes. The last tenth is held out.
class Corpus {
 public:
  /// Throws IoError if it cannot be read, DataError if it is too short for a context.
  Corpus(const std::string& path, std::int64_t context);

  std::int64_t vocabulary() const { return vocabulary_; }
  std::int64_t size() const { return std::ssize(tokens_); }

  /// Sequences for one step, by nothing but these numbers.
  Batch training(std::uint64_t seed, std::int64_t step, std::int64_t sequences) const;
  /// The same held-out sequences for every run.
  Batch validation(std::int64_t number, std::int64_t sequences) const;

 private:
  Batch draw(std::uint64_t seed, std::uint64_t first, std::int64_t sequences, std::size_t from, std::size_t to) const;

  std::vector<std::int32_t> tokens_;
  std::int64_t vocabulary_ = 0, context_;
  std::size_t held_out_;
};

}  // namespace fp8scope::train
