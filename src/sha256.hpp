#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

namespace fp8scope {

/// SHA-256 of a stream of bytes. Source: FIPS 180-4, section 6.2.
class Sha256 {
 public:
  /// `portable` leaves the processor's SHA instructions unused; the hash is the same.
  explicit Sha256(bool portable = false) : portable_(portable) {}
  void add(const void* bytes, std::size_t count);
  /// 64 hexadecimal digits; add() must not be called afterwards.
  std::string hex();

 private:
  void block(const std::uint8_t* bytes);

  std::array<std::uint32_t, 8> state_{0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                                      0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
  std::array<std::uint8_t, 64> pending_{};
  std::uint64_t bytes_ = 0;
  bool portable_;
};

/// SHA-256 of a file's bytes. Throws IoError if it cannot be read.
std::string sha256_of_file(const std::string& path);

}  // namespace fp8scope
