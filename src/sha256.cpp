#include "src/sha256.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <cstring>
#include <vector>

#include "src/errors.hpp"

#if defined(__x86_64__)
#include <cpuid.h>
#include <immintrin.h>
#endif

namespace fp8scope {

namespace {

// The first 32 bits of the fractions of the cube roots of the first 64 primes.
alignas(16) constexpr std::uint32_t round_constants[64] = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2};

std::uint32_t big_endian(const std::uint8_t* bytes) {
  return std::uint32_t{bytes[0]} << 24 | std::uint32_t{bytes[1]} << 16 |
         std::uint32_t{bytes[2]} << 8 | std::uint32_t{bytes[3]};
}

void block_portable(std::uint32_t* state, const std::uint8_t* bytes) {
  using std::rotr;
  std::uint32_t w[64];
  for (int t = 0; t < 16; ++t) w[t] = big_endian(bytes + 4 * t);
  for (int t = 16; t < 64; ++t) {
    const std::uint32_t s0 = rotr(w[t - 15], 7) ^ rotr(w[t - 15], 18) ^ w[t - 15] >> 3;
    const std::uint32_t s1 = rotr(w[t - 2], 17) ^ rotr(w[t - 2], 19) ^ w[t - 2] >> 10;
    w[t] = w[t - 16] + s0 + w[t - 7] + s1;
  }
  std::uint32_t a = state[0], b = state[1], c = state[2], d = state[3];
  std::uint32_t e = state[4], f = state[5], g = state[6], h = state[7];
  for (int t = 0; t < 64; ++t) {
    const std::uint32_t t1 = h + (rotr(e, 6) ^ rotr(e, 11) ^ rotr(e, 25)) + ((e & f) ^ (~e & g)) +
                             round_constants[t] + w[t];
    const std::uint32_t t2 =
        (rotr(a, 2) ^ rotr(a, 13) ^ rotr(a, 22)) + ((a & b) ^ (a & c) ^ (b & c));
    h = g, g = f, f = e, e = d + t1, d = c, c = b, b = a, a = t1 + t2;
  }
  const std::uint32_t sums[8] = {a, b, c, d, e, f, g, h};
  for (int i = 0; i < 8; ++i) state[i] += sums[i];
}

#if defined(__x86_64__)

bool has_sha_instructions() {
  unsigned a = 0, b = 0, c = 0, d = 0;
  return __builtin_cpu_supports("sse4.1") && __get_cpuid_count(7, 0, &a, &b, &c, &d) != 0 &&
         (b >> 29 & 1) != 0;
}

/// The same block by the SHA instructions, which keep the state as (a, b, e, f) and (c, d, g, h)
/// with the first word in the highest lane, and do two rounds each.
__attribute__((target("sha,sse4.1"))) void block_x86(std::uint32_t* state,
                                                     const std::uint8_t* bytes) {
  const __m128i swap_bytes = _mm_set_epi8(12, 13, 14, 15, 8, 9, 10, 11, 4, 5, 6, 7, 0, 1, 2, 3);
  auto* words = reinterpret_cast<__m128i*>(state);
  const __m128i cdab = _mm_shuffle_epi32(_mm_loadu_si128(words), 0xb1);
  const __m128i efgh = _mm_shuffle_epi32(_mm_loadu_si128(words + 1), 0x1b);
  __m128i abef = _mm_alignr_epi8(cdab, efgh, 8), cdgh = _mm_blend_epi16(efgh, cdab, 0xf0);
  const __m128i abef_before = abef, cdgh_before = cdgh;
  __m128i w[16];
  for (int q = 0; q < 16; ++q) {
    if (q < 4) {
      w[q] = _mm_shuffle_epi8(_mm_loadu_si128(reinterpret_cast<const __m128i*>(bytes) + q),
                              swap_bytes);
    } else {
      const __m128i sum = _mm_add_epi32(_mm_sha256msg1_epu32(w[q - 4], w[q - 3]),
                                        _mm_alignr_epi8(w[q - 1], w[q - 2], 4));
      w[q] = _mm_sha256msg2_epu32(sum, w[q - 1]);
    }
    const auto* constants = reinterpret_cast<const __m128i*>(round_constants) + q;
    const __m128i wk = _mm_add_epi32(w[q], _mm_load_si128(constants));
    cdgh = _mm_sha256rnds2_epu32(cdgh, abef, wk);
    abef = _mm_sha256rnds2_epu32(abef, cdgh, _mm_shuffle_epi32(wk, 0x0e));
  }
  abef = _mm_shuffle_epi32(_mm_add_epi32(abef, abef_before), 0x1b);  // now f, e, b, a from the top
  cdgh = _mm_shuffle_epi32(_mm_add_epi32(cdgh, cdgh_before), 0xb1);
  _mm_storeu_si128(words, _mm_blend_epi16(abef, cdgh, 0xf0));
  _mm_storeu_si128(words + 1, _mm_alignr_epi8(cdgh, abef, 8));
}

#endif

using Block = void (*)(std::uint32_t*, const std::uint8_t*);

Block fastest_block() {
#if defined(__x86_64__)
  if (has_sha_instructions()) return block_x86;
#endif
  return block_portable;
}

}  // namespace

void Sha256::block(const std::uint8_t* bytes) {
  static const Block fastest = fastest_block();
  (portable_ ? block_portable : fastest)(state_.data(), bytes);
}

void Sha256::add(const void* bytes, std::size_t count) {
  auto* next = static_cast<const std::uint8_t*>(bytes);
  const std::size_t held = bytes_ % 64;
  bytes_ += count;
  if (held > 0) {
    const std::size_t fill = std::min(count, 64 - held);
    std::copy_n(next, fill, pending_.begin() + held);
    next += fill, count -= fill;
    if (held + fill < 64) return;
    block(pending_.data());
  }
  for (; count >= 64; next += 64, count -= 64) block(next);
  std::copy_n(next, count, pending_.begin());
}

std::string Sha256::hex() {
  const std::uint64_t bits = bytes_ * 8;
  const std::uint8_t one = 0x80, zero = 0;
  add(&one, 1);
  while (bytes_ % 64 != 56) add(&zero, 1);
  std::uint8_t length[8];
  for (int i = 0; i < 8; ++i) length[i] = static_cast<std::uint8_t>(bits >> (56 - 8 * i));
  add(length, 8);
  std::string text;
  for (const std::uint32_t word : state_) text += fmt::format("{:08x}", word);
  return text;
}

std::string sha256_of_file(const std::string& path) {
  const int descriptor = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  std::vector<char> buffer(std::size_t{1} << 18);
  Sha256 hash;
  ssize_t got = -1;
  while (descriptor >= 0 && ((got = read(descriptor, buffer.data(), buffer.size())) > 0 ||
                             (got < 0 && errno == EINTR)))
    if (got > 0) hash.add(buffer.data(), static_cast<std::size_t>(got));
  const int error = errno;
  if (descriptor >= 0) close(descriptor);
  if (got < 0) throw IoError(fmt::format("'{}': cannot read: {}", path, std::strerror(error)));
  return hash.hex();
}

}  // namespace fp8scope
