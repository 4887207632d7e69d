#include "sim/recipes/codec.hpp"

#include <algorithm>
#include <cmath>

#include "sim/require.hpp"
#include "sim/stable_math.hpp"

namespace fp8scope {
namespace {

/// Smallest and largest of the magnitudes that are neither zero nor infinite; 0 if there are none.
struct Range {
  float low = 0.0f, high = 0.0f;

  explicit Range(std::span<const float> x) {
    for (const float v : x) {
      const float magnitude = std::fabs(v);
      if (!is_finite(v) || magnitude == 0.0f) continue;
      low = low == 0.0f ? magnitude : std::min(low, magnitude);
      high = std::max(high, magnitude);
    }
  }
};

void logfmt(int bits, std::span<const float> x, std::span<float> y) {
  const Range range(x);
  const double high = stable_log2(range.high), low = std::max(stable_log2(range.low), high - 32.0);
  const double steps = (1 << (bits - 1)) - 2, step = (high - low) / steps;
  for (std::size_t i = 0; i < x.size(); ++i) {
    y[i] = x[i];
    if (!is_finite(x[i]) || x[i] == 0.0f) continue;
    const double magnitude = std::fabs(x[i]);
    const double place = step > 0.0 ? std::clamp((stable_log2(magnitude) - low) / step, 0.0, steps) : 0.0;
    const double below = std::floor(place), above = std::min(below + 1.0, steps);
    const double a = stable_exp2(low + below * step), b = stable_exp2(low + above * step);
    const double nearest = magnitude - a <= b - magnitude ? a : b;
    y[i] = std::copysign(static_cast<float>(nearest), x[i]);
  }
}

void coat_expand(std::span<const float> x, std::span<float> y) {
  const Range range(x);
  const double high = static_cast<double>(range.high) + 1e-30, low = static_cast<double>(range.low) + 1e-30;
  const double spread = stable_log2(high / low);
  const double k = spread > 0.0 ? std::floor(16.0 * stable_log2(448.0 * 448.0 / 2.0) / spread) / 16.0 : 1.0;
  const double g = std::sqrt(high) * std::sqrt(low);
  const auto power = [](double base, double exponent) { return base > 0.0 ? stable_exp2(exponent * stable_log2(base)) : 0.0; };
  const double s = power(high / g, k) / 448.0;
  for (std::size_t i = 0; i < x.size(); ++i) {
    y[i] = x[i];
    if (!is_finite(x[i]) || range.high == 0.0f || k == 0.0) continue;
    const auto wanted = static_cast<float>(power(std::fabs(x[i]) / g, k) / s);
    const double q = decode(e4m3, encode(e4m3, wanted));
    y[i] = std::copysign(static_cast<float>(power(q * s, 1.0 / k) * g), x[i]);
  }
}

}  // namespace

void codec_values(Codec codec, std::span<const float> x, std::span<float> y) {
  require(y.size() >= x.size(), "codec_values: fewer places than elements");
  switch (codec) {
    case Codec::logfmt8: return logfmt(8, x, y);
    case Codec::logfmt10: return logfmt(10, x, y);
    case Codec::coat_expand: return coat_expand(x, y);
    default: std::ranges::copy(x, y.begin());
  }
}

}  // namespace fp8scope
