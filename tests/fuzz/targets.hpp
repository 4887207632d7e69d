#pragma once

#include <cstdint>
#include <span>
#include <string_view>

namespace fp8scope::fuzz {

using Input = std::span<const std::uint8_t>;

/// A parser of untrusted bytes. `run` returns, whatever the bytes are: a refusal must be an Error of one
/// line (or, of the command line, a std::invalid_argument), or it aborts.
struct Target {
  std::string_view name;  ///< also the folder of its corpus
  void (*run)(Input);
};

/// All of them.
std::span<const Target> targets();

}  // namespace fp8scope::fuzz
