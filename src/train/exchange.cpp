#include "src/train/exchange.hpp"

#include <algorithm>

#include "sim/scale.hpp"
#include "sim/simd/cast.hpp"
#include "sim/simd/row_math.hpp"

namespace fp8scope::train {
namespace {

/// DeepEP's dispatch: blocks of 128, scale_inv rounded up to a power of two. Its floor of amaxes, 1e-4,
/// lies above gradients and is left out.
std::string cast_of(const std::string& format) {
  return format == "fp8" ? "dsv3:scales=ue8m0:amax_floor=1e-30" : format;
}

constexpr std::int64_t piece = 1 << 14;

/// Sums of squares of x and of x - y, in fixed pieces.
void measure(const Executor& execute, const float* x, const float* y, std::int64_t n, Traffic::Count& count) {
  const std::int64_t pieces = (n + piece - 1) / piece;
  std::vector<double> signal(static_cast<std::size_t>(pieces)), noise(signal.size());
  execute(signal.size(), [&](std::size_t p) {
    const std::int64_t first = static_cast<std::int64_t>(p) * piece;
    for (std::int64_t i = first; i < std::min(first + piece, n); ++i) {
      const double a = x[i], e = a - static_cast<double>(y[i]);
      signal[p] += a * a, noise[p] += e * e;
    }
  });
  for (std::size_t p = 0; p < signal.size(); ++p) count.signal += signal[p], count.noise += noise[p];
}

/// Values of `x` cast by `format` with one scale.
void cast_values(const std::string& format, float scale, const float* x, std::size_t n, float* y) {
  const auto& math = simd::row_math();
  if (format == "bf16") return math.round_bf16(x, n, y);
  math.cast_values(simd::value_plan(e4m3, {}), x, n, std::max<std::size_t>(n, 1), &scale, y);
  math.scale(y, n, 1.0f / scale, y);
}

/// The power of two that brings the largest magnitude below 448; 1 for 0 and what is not finite.
float scale_of(float amax) { return te_scale(amax, 448.0f, true, 0.0f, pow2(126)); }

}  // namespace

double row_bytes(const std::string& format, std::int64_t cols) {
  const double n = static_cast<double>(cols);
  if (format == "fp8") return n + 4.0 * static_cast<double>((cols + 127) / 128);
  return format == "bf16" ? 2.0 * n : 4.0 * n;
}

RowExchange::RowExchange(std::string what, std::string format)
    : what_(std::move(what)), format_(std::move(format)), cast_(cast_of(format_), Role::activation) {}

void RowExchange::send(const Executor& execute, const Matrix& x, std::int64_t leaving, Matrix& received) {
  CastOperand cast;
  cast_.cast(execute, x, true, cast);
  cast.dequantise(execute, received);
  if (leaving < 0) return;
  count_.bytes += static_cast<double>(leaving) * row_bytes(format_, x.cols);
  count_.bf16_bytes += static_cast<double>(leaving) * row_bytes("bf16", x.cols);
  measure(execute, x.data(), received.data(), x.size(), count_);
}

void all_reduce(const Executor& execute, const std::string& format, std::vector<std::vector<float>>& gradients,
                const std::vector<std::size_t>& bounds, Traffic::Count& count) {
  const std::size_t ranks = gradients.size(), n = gradients[0].size();
  if (ranks < 2) return;
  const auto& math = simd::row_math();
  const std::vector<float> before = format == "fp32" ? std::vector<float>{} : gradients[0];
  execute(bounds.size() - 1, [&](std::size_t tensor) {
    const std::size_t first = bounds[tensor], size = bounds[tensor + 1] - first;
    const auto amax_of = [&](std::size_t rank) { return amax_span({&gradients[rank][first], size}, AmaxRule::ignore_nan); };
    float amax = 0.0f;
    for (std::size_t r = 0; r < ranks; ++r) amax = std::max(amax, amax_of(r));
    for (std::size_t r = 0; r < ranks && format != "fp32"; ++r)
      cast_values(format, scale_of(amax), &gradients[r][first], size, &gradients[r][first]);
  });
  if (format != "fp32") measure(execute, before.data(), gradients[0].data(), static_cast<std::int64_t>(n), count);
  execute(bounds.size() - 1, [&](std::size_t tensor) {
    const std::size_t first = bounds[tensor], size = bounds[tensor + 1] - first;
    float* sum = &gradients[0][first];
    for (std::size_t r = 1; r < ranks; ++r) math.add(&gradients[r][first], size, sum);
    math.scale(sum, size, 1.0f / static_cast<float>(ranks), sum);
    if (format != "fp32") cast_values(format, scale_of(amax_span({sum, size}, AmaxRule::ignore_nan)), sum, size, sum);
  });
  const double way = 2.0 * static_cast<double>(ranks - 1) / static_cast<double>(ranks) * static_cast<double>(n);
  const double each = format == "fp8" ? 1.0 : format == "bf16" ? 2.0 : 4.0;
  const double scales = format == "fp8" ? 8.0 * static_cast<double>(bounds.size() - 1) : 0.0;
  count.bytes += static_cast<double>(ranks) * (way * each + scales);
  count.bf16_bytes += static_cast<double>(ranks) * way * 2.0;
}

}  // namespace fp8scope::train
