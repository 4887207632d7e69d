#pragma once

#include <cstdint>

#include "sim/device.hpp"
#include "sim/rounding.hpp"

namespace fp8scope {

struct PhiloxWords {
  std::uint32_t word[4];
};

/// Philox4x32-10: four random words from a 128-bit counter and a 64-bit key.
/// Source: Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC'11.
FP8_HD constexpr PhiloxWords philox4x32(PhiloxWords counter, std::uint64_t key) {
  std::uint32_t key0 = static_cast<std::uint32_t>(key);
  std::uint32_t key1 = static_cast<std::uint32_t>(key >> 32);
  for (int round = 0; round < 10; ++round) {
    const std::uint64_t product0 = std::uint64_t{0xD2511F53u} * counter.word[0];
    const std::uint64_t product1 = std::uint64_t{0xCD9E8D57u} * counter.word[2];
    counter = {{static_cast<std::uint32_t>(product1 >> 32) ^ counter.word[1] ^ key0,
                static_cast<std::uint32_t>(product1),
                static_cast<std::uint32_t>(product0 >> 32) ^ counter.word[3] ^ key1,
                static_cast<std::uint32_t>(product0)}};
    key0 += 0x9E3779B9u;
    key1 += 0xBB67AE85u;
  }
  return counter;
}

/// The 32 random bits of element `index` of the stream `seed`: word index%4 of counter index/4.
/// They depend on nothing else, so neither tiling nor threads can change a stochastic cast.
///
/// index  logical row-major element index in the whole tensor
FP8_HD constexpr RandomBits random_bits(std::uint64_t seed, std::uint64_t index) {
  const std::uint64_t group = index / 4;
  const PhiloxWords words = philox4x32(
      {{static_cast<std::uint32_t>(group), static_cast<std::uint32_t>(group >> 32), 0u, 0u}}, seed);
  // Not words.word[index % 4]: on a GPU that index would move the words to memory.
  const std::uint32_t low = index % 2 == 0 ? words.word[0] : words.word[1];
  const std::uint32_t high = index % 2 == 0 ? words.word[2] : words.word[3];
  return {index % 4 < 2 ? low : high, 32};
}

}  // namespace fp8scope
