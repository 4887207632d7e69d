#pragma once

#include <random>
#include <string>
#include <string_view>
#include <vector>

namespace fp8scope {

/// Changed copies of good files: the same ones for the same seed, with any compiler.
class Mutator {
 public:
  explicit Mutator(std::uint64_t seed) : random_(seed) {}

  /// One to four changes. `others` give pieces to splice in; not empty.
  std::string mutate(std::string bytes, const std::vector<std::string>& others) {
    for (std::uint64_t changes = 1 + below(4); changes > 0; --changes) change(bytes, others);
    return bytes;
  }
  std::uint64_t below(std::uint64_t limit) { return limit == 0 ? 0 : random_() % limit; }

 private:
  void change(std::string& bytes, const std::vector<std::string>& others) {
    if (bytes.empty()) return;
    const std::size_t at = position(bytes);
    switch (below(7)) {
      case 0: bytes[at] = static_cast<char>(bytes[at] ^ (1 << below(8))); return;
      case 1: bytes[at] = static_cast<char>(random_()); return;
      case 2: bytes.resize(at); return;
      case 3: {  // a piece of another file, over what was there or between
        const std::string& other = others[below(others.size())];
        const std::size_t from = below(other.size() + 1);
        bytes.replace(at, below(2) * 16, other.substr(from, 1 + below(64)));
        return;
      }
      case 4: number(bytes, at); return;
      case 5: bytes.erase(at, 1 + below(16)); return;
      default: digits(bytes); return;
    }
  }

  /// Headers are where parsers read; half of the changes go to the first and last parts.
  std::size_t position(const std::string& bytes) {
    const std::size_t edge = std::min<std::size_t>(bytes.size(), 512);
    switch (below(4)) {
      case 0: return below(edge);
      case 1: return bytes.size() - 1 - below(edge);
      default: return below(bytes.size());
    }
  }

  /// A length field: a number of 2, 4 or 8 bytes that is zero, small, huge, or nearly what it was.
  void number(std::string& bytes, std::size_t at) {
    static constexpr std::uint64_t values[] = {0, 1, 0x7f, 0xff, 0xffff, 0x7fffffff, 0xffffffff,
                                               0x7fffffffffffffff, 0xffffffffffffffff, 1ull << 40};
    const std::size_t width = std::size_t{2} << below(3);
    if (at + width > bytes.size()) return;
    const std::uint64_t value = values[below(std::size(values))];
    for (std::size_t i = 0; i < width; ++i) bytes[at + i] = static_cast<char>(value >> (8 * i));
  }

  /// A number written in decimal, as in the headers of .safetensors and .npy files.
  void digits(std::string& bytes) {
    static constexpr std::string_view texts[] = {"0", "-1", "1", "4294967296", "9223372036854775807",
                                                 "18446744073709551615", "1e3", "0.5", "99999999999999999999"};
    std::size_t at = bytes.find_first_of("0123456789", below(std::min<std::size_t>(bytes.size(), 4096)));
    if (at == std::string::npos) return;
    const std::size_t end = bytes.find_first_not_of("0123456789", at);
    bytes.replace(at, end == std::string::npos ? 1 : end - at, texts[below(std::size(texts))]);
  }

  std::mt19937_64 random_;
};

}  // namespace fp8scope
