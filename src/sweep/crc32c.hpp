#pragma once

#include <array>
#include <cstdint>
#include <string_view>

namespace fp8scope {

/// CRC-32C (Castagnoli, polynomial 0x1EDC6F41 reflected) of `bytes`, going on from the CRC of what came
/// before. Source: RFC 3720, section 12.1; check value of "123456789" is 0xE3069283.
inline std::uint32_t crc32c(std::string_view bytes, std::uint32_t before = 0) {
  static constexpr auto table = [] {
    std::array<std::uint32_t, 256> t{};
    for (std::uint32_t i = 0; i < 256; ++i) {
      std::uint32_t c = i;
      for (int bit = 0; bit < 8; ++bit) c = (c >> 1) ^ (0x82F63B78u & (0u - (c & 1u)));
      t[i] = c;
    }
    return t;
  }();
  std::uint32_t crc = ~before;
  for (const char byte : bytes) crc = (crc >> 8) ^ table[(crc ^ static_cast<std::uint8_t>(byte)) & 0xffu];
  return ~crc;
}

}  // namespace fp8scope
