#include "src/kernel_checks.hpp"

#include <fmt/format.h>

#include <cstring>

namespace fp8scope {
namespace {

// To add kernels to 'validate --gpu': a function that compares them with the emulator, and a row.
constexpr KernelCheck table[] = {
    {"conversions", check_conversions},
    {"recipes", check_recipes},
    {"casts", check_casts},
    {"dequantize", check_values},
    {"statistics", check_statistics},
    {"gemms", check_gemms},
};

std::string hex(const void* word, std::size_t bytes) {
  std::string text;
  const auto* byte = static_cast<const unsigned char*>(word);
  for (std::size_t i = bytes; i-- > 0;) text += fmt::format("{:02x}", byte[i]);
  return text;
}

}  // namespace

std::span<const KernelCheck> kernel_checks() { return table; }

std::string_view rounding_word(Rounding rounding) {
  for (const std::span<const NamedRounding> table : {std::span<const NamedRounding>(roundings), std::span<const NamedRounding>(kernel_roundings)})
    for (const NamedRounding& row : table)
      if (row.rounding == rounding) return row.name;
  return "?";
}

template <class T>
void WordCount::compare(std::string_view what, const std::vector<T>& want, const std::vector<T>& got) {
  static_assert(std::has_unique_object_representations_v<T> || std::is_floating_point_v<T> || sizeof(T) == 8,
                "padding would be compared");
  if (want.size() != got.size())
    return differs(what, 0, fmt::format("{} words", want.size()), fmt::format("{} words", got.size()));
  result_.words += want.size();
  for (std::size_t i = 0; i < want.size(); ++i)
    if (std::memcmp(&want[i], &got[i], sizeof(T)) != 0)
      differs(what, i, hex(&want[i], sizeof(T)), hex(&got[i], sizeof(T)));
}

template void WordCount::compare(std::string_view, const std::vector<std::uint8_t>&, const std::vector<std::uint8_t>&);
template void WordCount::compare(std::string_view, const std::vector<std::uint16_t>&, const std::vector<std::uint16_t>&);
template void WordCount::compare(std::string_view, const std::vector<std::uint32_t>&, const std::vector<std::uint32_t>&);
template void WordCount::compare(std::string_view, const std::vector<std::uint64_t>&, const std::vector<std::uint64_t>&);
template void WordCount::compare(std::string_view, const std::vector<float>&, const std::vector<float>&);
template void WordCount::compare(std::string_view, const std::vector<double>&, const std::vector<double>&);
template void WordCount::compare(std::string_view, const std::vector<Scales>&, const std::vector<Scales>&);

void WordCount::differs(std::string_view what, std::size_t at, const std::string& want, const std::string& got) {
  if (result_.differ++ == 0)
    result_.first = fmt::format("{}[{}]: the emulator has {}, the kernel {}", what, at, want, got);
}

}  // namespace fp8scope
