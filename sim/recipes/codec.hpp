#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include "sim/recipe.hpp"

namespace fp8scope {

/// What the codes of a tile are decoded with.
struct CodecTile {
  double low = 0.0, step = 0.0;                  ///< logfmt: log2 of the value of code 1, and from code to code
  double scale = 0.0, power = 1.0, center = 0.0; ///< coat_expand: s, k, g

  friend bool operator==(const CodecTile&, const CodecTile&) = default;
};

/// A number that a file keeps for every tile.
struct CodecNumber {
  std::string_view name, meaning;
  double CodecTile::*member;
};

/// A codec as files name it. To add one, add a row, and its functions in codec.cpp.
struct NamedCodec {
  std::string_view name;
  Codec codec;
  int bits;           ///< of a code, the sign on top
  std::span<const CodecNumber> numbers;
};

inline constexpr CodecNumber logfmt_numbers[] = {
    {"low", "log2 of the value of code 1", &CodecTile::low},
    {"step", "log2 from code to code", &CodecTile::step},
};
inline constexpr CodecNumber coat_numbers[] = {
    {"scale", "s: codes times s are expanded values", &CodecTile::scale},
    {"power", "k: an expanded value is (|x| / g)^k", &CodecTile::power},
    {"center", "g = sqrt(max) sqrt(min)", &CodecTile::center},
};
inline constexpr NamedCodec codecs[] = {
    {"logfmt8", Codec::logfmt8, 8, logfmt_numbers},
    {"logfmt10", Codec::logfmt10, 10, logfmt_numbers},
    {"coat-expand", Codec::coat_expand, 8, coat_numbers},
};
/// The row of a codec that is not none.
const NamedCodec& codec_row(Codec codec);

// Codecs of elements that are no scaled floating-point format.
//
// logfmt8, logfmt10 (n bits, the sign among them): with l = log2 |x|, code k >= 1 stands for
//   2^(low + (k - 1) step), step = (high - low) / (2^(n-1) - 2), high = max l,
//   low = max(min l, high - 32); x becomes the nearer of its two neighbours, not the nearer logarithm;
//   0 has a code of its own. Source: arXiv:2505.09343, section 3.2 (LogFMT-nBit); logarithms to any
//   base give the same values.
// coat_expand: dynamic range expansion of optimizer states: with g = sqrt(max) sqrt(min),
//   k = floor(16 log2(448^2 / 2) / log2(max / min)) / 16, t = (|x| / g)^k, s = (max / g)^k / 448,
//   q = E4M3(t / s); the value is (q s)^(1/k) g. Source: COAT, optimizer kernels.
//
// Powers in binary64 from stable_math.hpp, values rounded once to binary32. NaN and infinities do not
// count in a tile, have no code, and stay as values.

/// The numbers of a tile whose smallest and largest magnitudes, zeros and what is not finite left out, are
/// these; both 0: it holds nothing else.
CodecTile codec_tile(Codec codec, float smallest, float largest);

/// Code of a finite x: its sign on top.
std::uint32_t codec_encode(Codec codec, const CodecTile& tile, float x);

/// What a code stands for.
float codec_decode(Codec codec, const CodecTile& tile, std::uint32_t code);

/// What x becomes: codec_decode(codec_encode(x)), or x itself where that is not finite.
float codec_value(Codec codec, const CodecTile& tile, float x);

/// Smallest and largest magnitude of x, zeros and what is not finite left out; both 0 if there are none.
struct CodecRange {
  float smallest = 0.0f, largest = 0.0f;
};
CodecRange codec_range_scalar(std::span<const float> x);

/// codec_value() of every element of a tile, in plain C++. codec_values() of sim/simd gives the same bits.
///
/// x, y  [n]; may be the same
void codec_values_scalar(Codec codec, std::span<const float> x, std::span<float> y);

}  // namespace fp8scope
