#include "sim/recipes/codec.hpp"

#include <algorithm>
#include <cmath>

#include "sim/require.hpp"
#include "sim/stable_math.hpp"

namespace fp8scope {
namespace {

/// 2^(n-1) - 2, the steps between the first and the last code of n bits.
double logfmt_steps(Codec codec) { return (1 << (codec_row(codec).bits - 1)) - 2; }

std::uint32_t logfmt_code(Codec codec, const CodecTile& tile, double magnitude) {
  if (magnitude == 0.0) return 0;
  const double steps = logfmt_steps(codec);
  const double place =
      tile.step > 0.0 ? std::clamp((stable_log2(magnitude) - tile.low) / tile.step, 0.0, steps) : 0.0;
  const double below = std::floor(place), above = std::min(below + 1.0, steps);
  const double a = stable_exp2(tile.low + below * tile.step), b = stable_exp2(tile.low + above * tile.step);
  return 1 + static_cast<std::uint32_t>(magnitude - a <= b - magnitude ? below : above);
}

float logfmt_value(const CodecTile& tile, std::uint32_t code) {
  return code == 0 ? 0.0f : static_cast<float>(stable_exp2(tile.low + (code - 1) * tile.step));
}

double power(double base, double exponent) { return base > 0.0 ? stable_exp2(exponent * stable_log2(base)) : 0.0; }

std::uint32_t coat_code(const CodecTile& tile, double magnitude) {
  return encode(e4m3, static_cast<float>(power(magnitude / tile.center, tile.power) / tile.scale));
}

float coat_value(const CodecTile& tile, std::uint32_t code) {
  const double q = decode(e4m3, code);
  return static_cast<float>(power(q * tile.scale, 1.0 / tile.power) * tile.center);
}

}  // namespace

const NamedCodec& codec_row(Codec codec) {
  const auto* row = std::ranges::find(codecs, codec, &NamedCodec::codec);
  require(row != std::end(codecs), "codec_row: no codec");
  return *row;
}

CodecTile codec_tile(Codec codec, float smallest, float largest) {
  CodecTile tile;
  if (codec == Codec::coat_expand) {
    const double high = static_cast<double>(largest) + 1e-30, low = static_cast<double>(smallest) + 1e-30;
    const double spread = stable_log2(high / low);
    // At most 2^228 between the largest number and 1e-30: k is 1/16 at least.
    tile.power = spread > 0.0 ? std::floor(16.0 * stable_log2(448.0 * 448.0 / 2.0) / spread) / 16.0 : 1.0;
    tile.center = std::sqrt(high) * std::sqrt(low);
    tile.scale = power(high / tile.center, tile.power) / 448.0;
    return tile;
  }
  if (largest == 0.0f) return tile;
  const double high = stable_log2(largest);
  tile.low = std::max(stable_log2(smallest), high - 32.0);
  tile.step = (high - tile.low) / logfmt_steps(codec);
  return tile;
}

std::uint32_t codec_encode(Codec codec, const CodecTile& tile, float x) {
  const std::uint32_t sign = std::signbit(x) ? 1u << (codec_row(codec).bits - 1) : 0u;
  const double magnitude = std::fabs(x);
  return sign | (codec == Codec::coat_expand ? coat_code(tile, magnitude) : logfmt_code(codec, tile, magnitude));
}

float codec_decode(Codec codec, const CodecTile& tile, std::uint32_t code) {
  const std::uint32_t sign = 1u << (codec_row(codec).bits - 1), magnitude = code & (sign - 1u);
  const float value = codec == Codec::coat_expand ? coat_value(tile, magnitude) : logfmt_value(tile, magnitude);
  return (code & sign) != 0 ? -value : value;
}

float codec_value(Codec codec, const CodecTile& tile, float x) {
  return is_finite(x) ? codec_decode(codec, tile, codec_encode(codec, tile, x)) : x;
}

CodecRange codec_range_scalar(std::span<const float> x) {
  CodecRange range;
  for (const float v : x) {
    const float magnitude = std::fabs(v);
    if (!is_finite(v) || magnitude == 0.0f) continue;
    range.smallest = range.smallest == 0.0f ? magnitude : std::min(range.smallest, magnitude);
    range.largest = std::max(range.largest, magnitude);
  }
  return range;
}

void codec_values_scalar(Codec codec, std::span<const float> x, std::span<float> y) {
  require(y.size() >= x.size(), "codec_values: fewer places than elements");
  const CodecRange range = codec_range_scalar(x);
  const CodecTile tile = codec_tile(codec, range.smallest, range.largest);
  for (std::size_t i = 0; i < x.size(); ++i) y[i] = codec_value(codec, tile, x[i]);
}

}  // namespace fp8scope
