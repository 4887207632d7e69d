#pragma once

#include <cstdint>
#include <initializer_list>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "sim/block.hpp"
#include "sim/format.hpp"

namespace fp8scope {

/// The options of a recipe as typed, "key=value:key=value". A recipe takes each key it knows, with its
/// default; finish() then refuses what is left, naming the keys there are.
class RecipeOptions {
 public:
  /// Throws std::invalid_argument for a part without '=' or a key given twice.
  explicit RecipeOptions(std::string_view text);

  std::int64_t integer(std::string_view key, std::int64_t fallback, std::int64_t low,
                       std::int64_t high);
  /// A finite number that is not negative.
  float real(std::string_view key, float fallback);
  /// Index of the value among `choices`; the first is the default.
  std::size_t choice(std::string_view key, std::initializer_list<std::string_view> choices);
  /// A signed format by name; `fallback` where the key is missing or its value is `fallback_name`.
  Format format(std::string_view key, const Format& fallback, std::string_view fallback_name = "");
  /// "1x128", "128x1", "tensor"; 0 stands for all.
  BlockShape block(std::string_view key, BlockShape fallback);

  /// Throws UnknownName if an option was given that nobody took.
  void finish() const;

 private:
  /// The value of `key`, or nullptr; remembers that the key exists.
  const std::string* take(std::string_view key);

  struct Option {
    std::string key, value;
    bool taken = false;
  };
  std::vector<Option> given_;
  std::vector<std::string_view> known_;
};

}  // namespace fp8scope
