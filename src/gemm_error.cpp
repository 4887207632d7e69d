#include "src/gemm_error.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <numeric>
#include <stdexcept>

#include "sim/amax.hpp"
#include "sim/models.hpp"
#include "sim/names.hpp"
#include "sim/philox.hpp"
#include "sim/operand.hpp"
#include "sim/quantize.hpp"
#include "sim/simd/codec.hpp"
#include "sim/tensor_cast.hpp"
#include "src/options.hpp"

namespace fp8scope {
namespace {

/// a b^T in binary64. Sixteen sums for every element, added by halves: the same bits everywhere.
///
/// a [m, k], b [n, k]; returns [m, n]
template <class A, class B>
std::vector<double> product(const std::vector<A>& a, const std::vector<B>& b, std::int64_t m, std::int64_t n,
                            std::int64_t k, const Executor& execute) {
  std::vector<double> d(static_cast<std::size_t>(m * n));
  execute(static_cast<std::size_t>(m), [&](std::size_t r) {
    const A* x = a.data() + r * k;
    for (std::int64_t c = 0; c < n; ++c) {
      const B* y = b.data() + c * k;
      std::array<double, sum_lanes> lanes{};
      std::int64_t i = 0;
      for (; i + 16 <= k; i += 16)
        for (int lane = 0; lane < 16; ++lane)
          lanes[lane] += static_cast<double>(x[i + lane]) * static_cast<double>(y[i + lane]);
      for (; i < k; ++i) lanes[i % 16] += static_cast<double>(x[i]) * static_cast<double>(y[i]);
      d[r * n + c] = add_lanes(lanes);
    }
  });
  return d;
}

/// Sum of squares in the order of the elements.
double power(const std::vector<double>& values) {
  double sum = 0.0;
  for (const double v : values) sum += v * v;
  return sum;
}

double percentile(std::vector<double>& values, double share) {
  if (values.empty()) return std::numeric_limits<double>::quiet_NaN();
  const auto place = static_cast<std::size_t>(share * static_cast<double>(values.size() - 1));
  std::nth_element(values.begin(), values.begin() + place, values.end());
  return values[place];
}

bool whole(const GemmOperand& operand) {
  return BlockGrid(operand.rows, operand.k, operand.cast.block).blocks() == 1;
}

/// The decoded values of a codec, rounded to the plan's format.
CastOperand cast_codec_operand(const GemmOperand& operand) {
  const Plan& plan = operand.cast.plan;
  const std::span source = operand.cast_from.empty() ? operand.x : operand.cast_from;
  std::vector<float> values(source.size());
  codec_matrix(plan.codec, BlockGrid(operand.rows, operand.k, plan.block), source, values);
  CastOperand out;
  out.scale_inv = {1.0f};
  for (const float value : values) {
    const std::uint32_t code = encode(plan.format, value, {.overflow = Overflow::special});
    if (plan.format.bits() > 16) out.wide_codes.push_back(code);
    else out.codes.push_back(static_cast<std::uint16_t>(code));
    out.values.push_back(decode(plan.format, code));
  }
  return out;
}

}  // namespace

GemmOperand multiplied(const GemmOperand& operand, const GemmRequest& request) {
  GemmOperand out = operand;
  if (operand.cast.plan.codec == Codec::none) return out;
  const auto takes = [&](const Format& format) {
    try {
      parse_model(request.accumulator, format_name(format), format_name(format));
      return true;
    } catch (const UnknownName&) {
      throw;
    } catch (const std::invalid_argument&) {
      return false;
    }
  };
  out.cast.plan.format = request.codec_format ? *request.codec_format : takes(fp32) ? fp32 : bf16;
  out.cast.plan.order = ScaleOrder::plain;
  out.cast.block = {}, out.cast.given = true, out.cast.scales = {};
  return out;
}

CastOperand cast_operand(const GemmOperand& operand) {
  const Plan& plan = operand.cast.plan;
  if (plan.codec != Codec::none) return cast_codec_operand(operand);
  const BlockGrid grid(operand.rows, operand.k, operand.cast.block);
  const std::span source = operand.cast_from.empty() ? operand.x : operand.cast_from;
  std::vector<Scales> scales(grid.blocks(), operand.cast.scales);
  CastOperand out;
  const bool wide = plan.format.bits() > 16;  // TF32, binary32
  if (!operand.cast.given && wide) {
    std::vector<float> amaxes(grid.blocks());
    block_amax(plan.amax_rule, grid, source, amaxes);
    if (amaxes.size() == 1 && operand.whole_amax >= 0.0f) amaxes[0] = operand.whole_amax;
    std::ranges::transform(amaxes, scales.begin(), [&](float a) { return block_scales(*operand.cast.rule, a); });
  } else if (!operand.cast.given) {
    // An amax from elsewhere is that of the tensor before a transform.
    const float whole = plan.hadamard.size == 0 ? operand.whole_amax : -1.0f;
    TensorCodes cast = cast_tensor(plan, *operand.cast.rule, grid, false, source, whole, operand.cast.seed);
    out.codes = std::move(cast.codes);
    scales = std::move(cast.scales);
  } else if (!wide) {
    out.codes.resize(grid.size());
    quantize(plan.format, plan.cast, grid, source, scales, out.codes, operand.cast.seed, 0, plan.apply);
  }
  for (const Scales& s : scales) out.scale_inv.push_back(s.scale_inv);
  for (std::int64_t r = 0; r < operand.rows; ++r)
    for (std::int64_t k = 0; k < operand.k; ++k) {
      const std::int64_t i = grid.element(r, k);
      const Scales& s = scales[grid.block(r, k)];
      if (wide)
        out.wide_codes.push_back(quantize_element(plan.format, source[i], s.scale, plan.cast,
                                                  random_bits(operand.cast.seed, static_cast<std::uint64_t>(i))));
      const std::uint32_t code = wide ? out.wide_codes[i] : out.codes[i];
      out.values.push_back(static_cast<double>(decode(plan.format, code)) * s.scale_inv);
    }
  for (std::size_t i = 0; plan.hadamard.size > 0 && i + 16 <= out.values.size(); i += 16)
    inverse_hadamard16(plan.hadamard, out.values.data() + i);
  return out;
}

ScaledGemmOptions gemm_options(const GemmRequest& request, const GemmOperand& first, const GemmOperand& second) {
  const GemmOperand a = multiplied(first, request), b = multiplied(second, request);
  ScaledGemmOptions options;
  options.model = parse_model(request.accumulator, format_name(a.cast.plan.format), format_name(b.cast.plan.format));
  const bool inside = options.model.scale_block > 0;
  const bool blocks = !inside && !(whole(a) && whole(b));
  if (request.promote == "auto") {
    // The scales' blocks along K; a scale for all of K is applied once, after whole steps.
    const std::int64_t period = std::gcd(a.cast.block.cols, b.cast.block.cols);
    const std::int64_t step = std::max<std::int64_t>(1, options.model.terms);
    const std::int64_t all = (a.k + step - 1) / step * step;
    options.promote = !blocks ? 0 : period > 0 ? period : all;
  } else if (request.promote != "none") {
    options.promote = static_cast<std::int64_t>(parse_number(request.promote, "--promote"));
  }
  options.order = request.order == "auto" ? (blocks ? a.cast.plan.order : ScaleOrder::plain)
                                          : by_name(scale_orders, request.order, "--order").order;
  options.split_k = request.split_k;
  return options;
}

GemmError measure_gemm(const GemmOperand& first, const GemmOperand& second, const GemmRequest& request,
                       std::span<const float> c, std::span<float> d, const Executor& execute) {
  const GemmOperand a = multiplied(first, request), b = multiplied(second, request);
  const ScaledGemmOptions options = gemm_options(request, a, b);
  if (a.cast.plan.hadamard != b.cast.plan.hadamard)
    throw std::invalid_argument("only one of the operands is Hadamard transformed: their product means nothing");
  const CastOperand left = cast_operand(a), right = cast_operand(b);
  if (request.multiply) request.multiply(left.matrix(a), right.matrix(b), options, {}, d);
  else scaled_gemm(left.matrix(a), right.matrix(b), options, {}, d, execute);
  const std::vector<float> unit(d.begin(), d.end());
  for (std::size_t i = 0; i < unit.size(); ++i) {
    const auto round = [&](float x) { return request.bf16_output ? decode(bf16, encode(bf16, x, {.overflow = Overflow::special})) : x; };
    d[i] = round(unit[i]);
    if (!c.empty()) d[i] = round(d[i] + c[i]);
  }

  const std::vector<float> x(a.x.begin(), a.x.end()), y(b.x.begin(), b.x.end());
  std::vector<double> exact = product(x, y, a.rows, b.rows, a.k, execute);
  const std::vector<double> cast_a = product(left.values, y, a.rows, b.rows, a.k, execute);
  const std::vector<double> cast_both = product(left.values, right.values, a.rows, b.rows, a.k, execute);
  std::vector<double> total, from_a, from_b, from_unit, from_output, relative;
  GemmError error;
  double sum = 0.0;
  for (std::size_t i = 0; i < exact.size(); ++i) {
    const double added = c.empty() ? 0.0 : c[i];
    if (!std::isfinite(d[i]) || !std::isfinite(exact[i]) || !std::isfinite(unit[i]) || !std::isfinite(cast_both[i])) {
      ++error.nonfinite;
      exact[i] = 0.0;
      continue;
    }
    from_a.push_back(cast_a[i] - exact[i]);
    from_b.push_back(cast_both[i] - cast_a[i]);
    from_unit.push_back(unit[i] - cast_both[i]);
    from_output.push_back(static_cast<double>(d[i]) - (unit[i] + added));
    total.push_back(static_cast<double>(d[i]) - (exact[i] + added));
    sum += total.back();
    error.max = std::max(error.max, std::fabs(total.back()));
    if (exact[i] != 0.0) relative.push_back(std::fabs(total.back()) / std::fabs(exact[i]));
  }
  const double signal = power(exact), norm = std::sqrt(signal);
  const double rms = std::sqrt(signal / static_cast<double>(total.size()));
  error.total = std::sqrt(power(total)) / norm;
  error.from_a = std::sqrt(power(from_a)) / norm;
  error.from_b = std::sqrt(power(from_b)) / norm;
  error.from_accumulator = std::sqrt(power(from_unit)) / norm;
  error.from_output = std::sqrt(power(from_output)) / norm;
  error.max /= rms;
  error.bias = sum / static_cast<double>(total.size()) / rms;
  error.p50 = percentile(relative, 0.5);
  error.p99 = percentile(relative, 0.99);
  error.p999 = percentile(relative, 0.999);
  return error;
}

}  // namespace fp8scope
