#include "src/train/corpus.hpp"

#include <fmt/format.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <iterator>

#include "sim/philox.hpp"
#include "src/errors.hpp"

namespace fp8scope::train {

Corpus::Corpus(const std::string& path, std::int64_t context) : context_(context) {
  std::ifstream file(path, std::ios::binary);
  if (!file) throw IoError(fmt::format("'{}': cannot read the corpus: {}", path, std::strerror(errno)));
  const std::string text{std::istreambuf_iterator<char>(file), {}};
  if (file.bad()) throw IoError(fmt::format("'{}': cannot read the corpus", path));
  std::array<std::int32_t, 256> number{};
  for (const char c : text) number[static_cast<unsigned char>(c)] = 1;
  for (std::int32_t& n : number) n = n ? static_cast<std::int32_t>(vocabulary_++) : -1;
  for (const char c : text) tokens_.push_back(number[static_cast<unsigned char>(c)]);
  held_out_ = tokens_.size() * 9 / 10;
  if (tokens_.size() - held_out_ < static_cast<std::size_t>(context) + 2)
    throw DataError(fmt::format("'{}': {} characters are too few; a context of {} needs {}", path, tokens_.size(), context,
                                10 * (context + 2)));
}

Batch Corpus::draw(std::uint64_t seed, std::uint64_t first, std::int64_t sequences, std::size_t from,
                   std::size_t to) const {
  Batch batch;
  const std::uint64_t places = to - from - static_cast<std::size_t>(context_);
  for (std::int64_t s = 0; s < sequences; ++s) {
    const std::uint64_t random = random_bits(seed, first + static_cast<std::uint64_t>(s)).value;
    const std::size_t place = from + static_cast<std::size_t>((random * places) >> 32);
    for (std::int64_t t = 0; t < context_; ++t) {
      batch.inputs.push_back(tokens_[place + static_cast<std::size_t>(t)]);
      batch.targets.push_back(tokens_[place + static_cast<std::size_t>(t) + 1]);
    }
  }
  return batch;
}

Batch Corpus::training(std::uint64_t seed, std::int64_t step, std::int64_t sequences) const {
  return draw(seed ^ 0x7261696e00000000ULL, static_cast<std::uint64_t>(step * sequences), sequences, 0, held_out_);
}

Batch Corpus::validation(std::int64_t number, std::int64_t sequences) const {
  return draw(0x76616c6964ULL, static_cast<std::uint64_t>(number * sequences), sequences, held_out_, tokens_.size() - 1);
}

}  // namespace fp8scope::train
