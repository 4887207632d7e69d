#include <fmt/format.h>

#include <algorithm>
#include <bit>

#include "sim/error_sums.hpp"
#include "sim/philox.hpp"
#include "src/kernel_checks.hpp"
#include "src/tensor_facts.hpp"

namespace fp8scope {
namespace {

using cuda::BlockCast;

std::string describe(const CheckTensor& t, const std::string& cast) {
  return fmt::format("{} {}, {}", cuda::elements[static_cast<int>(t.element)].name, t.name, cast);
}

/// All fields as words.
std::vector<std::uint64_t> words(const std::vector<ErrorSums>& rows) {
  std::vector<std::uint64_t> out;
  for (const ErrorSums& s : rows) {
    for (const double v : {s.noise_bulk, s.noise_top, s.error, s.cross, s.clipped_loss, double{s.max_abs}, double{s.max_rel}})
      out.push_back(std::bit_cast<std::uint64_t>(v));
    out.insert(out.end(), {s.underflow, s.overflow, s.clipped, s.subnormal, s.lost});
  }
  return out;
}

std::vector<std::uint64_t> words(const std::vector<MomentSums>& rows) {
  std::vector<std::uint64_t> out;
  for (const MomentSums& s : rows) {
    for (const double v : {s.absolute, s.power1, s.power2, s.power3, s.power4})
      out.push_back(std::bit_cast<std::uint64_t>(v));
    out.insert(out.end(), {s.finite, s.zeros, s.nans, s.infs, std::uint64_t{s.smallest}});
  }
  return out;
}

void check_moments(cuda::DeviceTensor& tensor, const CheckTensor& t, const TakeCheck& take) {
  std::vector<MomentSums> rows;
  std::vector<std::uint32_t> buckets(1u << 15);
  for (std::int64_t r = 0; r < t.rows; ++r)
    rows.push_back(moment_sums_scalar({t.x.data() + r * t.cols, static_cast<std::size_t>(t.cols)}));
  for (const float x : t.x) ++buckets[(float_bits(x) & magnitude_bits) >> 16];
  const cuda::TensorMoments got = tensor.moments();
  WordCount count("moments", describe(t, "moments of every row"));
  count.compare("moments", words(rows), words(got.rows));
  count.compare("buckets", buckets, got.buckets);
  const auto canonical = [](std::uint32_t a) { return a > inf_bits ? 0x7fc00000u : a; };
  count.compare("largest", std::vector{float_bits(amax(AmaxRule::propagate_nan, t.x)), float_bits(amax(AmaxRule::ignore_nan, t.x))},
                std::vector{canonical(got.largest), canonical(got.largest_number)});
  take(count.result());
}

/// What sim/ finds for the rows of a cast.
cuda::CastErrors emulate(const CheckTensor& t, const BlockCast& cast, float bulk) {
  const BlockGrid grid(t.rows, t.cols, cast.block);
  std::vector<float> amax(grid.blocks()), scale(t.cols), inverse(t.cols), value(t.cols);
  block_amax(cast.amax_rule, grid, t.x, amax);
  const CastLimits limits = cast_limits(cast.format, cast.rule, bulk, cast.apply == Apply::divide);
  cuda::CastErrors want;
  want.scale_inv_min = want.headroom = bits_float(inf_bits);
  for (const float a : amax) {
    const Scales s = block_scales(cast.scale_rule, a);
    want.scale_inv_min = std::min(want.scale_inv_min, s.scale_inv);
    want.scale_inv_max = std::max(want.scale_inv_max, s.scale_inv);
    ++want.blocks, want.floored += a < cast.floor;
    if (is_finite(a) && a > 0.0f) want.headroom = std::min(want.headroom, double{limits.max} * s.scale_inv / a);
  }
  const bool stochastic = cast.rule.rounding == Rounding::stochastic;
  for (std::int64_t r = 0; r < t.rows; ++r) {
    const float* x = t.x.data() + r * t.cols;
    for (std::int64_t c = 0; c < t.cols; ++c) {
      const Scales s = block_scales(cast.scale_rule, amax[grid.block(r, c)]);
      const RandomBits random = stochastic ? random_bits(cast.seed, grid.element(r, c)) : RandomBits{};
      scale[c] = s.scale, inverse[c] = s.scale_inv;
      value[c] = decode(cast.format, quantize_element(cast.format, x[c], s.scale, cast.rule, random, cast.apply));
    }
    want.rows.push_back(error_sums_scalar(limits, {x, scale.data(), inverse.data(), value.data(), static_cast<std::size_t>(t.cols)}));
    want.bulk_power.push_back(bulk_power_scalar({x, static_cast<std::size_t>(t.cols)}, bulk));
  }
  return want;
}

void check_errors(cuda::DeviceTensor& tensor, const CheckTensor& t, const BlockCast& cast, float bulk, const TakeCheck& take) {
  const cuda::CastErrors want = emulate(t, cast, bulk), got = tensor.measure(cast, bulk);
  WordCount count("errors", describe(t, fmt::format("{} {} {}", format_name(cast.format), block_name(cast.block),
                                                    rounding_word(cast.rule.rounding))));
  count.compare("sums", words(want.rows), words(got.rows));
  count.compare("bulk power", want.bulk_power, got.bulk_power);
  count.compare("scale_inv range", std::vector{want.scale_inv_min, want.scale_inv_max}, std::vector{got.scale_inv_min, got.scale_inv_max});
  count.compare("blocks, floored", std::vector{want.blocks, want.floored}, std::vector{got.blocks, got.floored});
  count.compare("headroom", std::vector{want.headroom}, std::vector{got.headroom});
  take(count.result());
}

float bulk_of(const CheckTensor& t) {
  TensorFacts facts(t.rows, t.cols);
  facts.add(0, t.rows, t.x.data());
  facts.finish();
  return facts.bulk_limit();
}

}  // namespace

void check_statistics(cuda::Engine& engine, std::span<const CheckTensor> tensors, const TakeCheck& take) {
  const ScaleRule te{.kind = ScaleRule::Kind::te}, e8m0{.kind = ScaleRule::Kind::e8m0_ceil};
  const ScaleRule large{.kind = ScaleRule::Kind::te, .max = 4000.0f};  // too large a scale: elements clip
  CastRule stochastic;
  stochastic.rounding = Rounding::stochastic;
  for (const CheckTensor& t : tensors) {
    const auto tensor = engine.tensor(t.element, t.rows, t.cols);
    tensor->upload(0, t.rows, t.bytes().data());
    check_moments(*tensor, t, take);
    const float bulk = bulk_of(t);
    for (const BlockShape block : {BlockShape{}, {1, 128}, {128, 128}, {32, 1}, {5, 7}})
      for (const ScaleRule* rule : {&te, &large}) check_errors(*tensor, t, {e4m3, {}, block, AmaxRule::ignore_nan, *rule}, bulk, take);
    check_errors(*tensor, t, {e5m2, {}, {1, 32}, AmaxRule::propagate_nan, e8m0}, bulk, take);
    check_errors(*tensor, t, {e4m3, stochastic, {1, 32}, AmaxRule::propagate_nan, e8m0}, bulk, take);
    BlockCast divide{e4m3, {Rounding::nearest_away}, {1, 128}, AmaxRule::propagate_nan, te};
    divide.apply = Apply::divide, divide.floor = 1.0f;
    check_errors(*tensor, t, divide, bulk, take);
    check_errors(*tensor, t, {bf16, {}, {}, AmaxRule::propagate_nan, te}, bulk, take);
  }
}

void check_values(cuda::Engine& engine, std::span<const CheckTensor> tensors, const TakeCheck& take) {
  for (const CheckTensor& t : tensors)
    for (const BlockShape block : {BlockShape{}, {1, 128}, {128, 128}, {32, 1}, {1, 0}, {5, 7}})
      for (const Format& f : {e4m3, e5m2, parse_format("e2m1")}) {
        const BlockGrid grid(t.rows, t.cols, block);
        std::vector<Scales> scales(grid.blocks());
        std::vector<float> inverse, want(t.x.size());
        for (std::size_t i = 0; i < scales.size(); ++i) {
          scales[i].scale_inv = bits_float(random_bits(6, i).value >> 2);
          inverse.push_back(scales[i].scale_inv);
        }
        std::vector<std::uint8_t> codes;
        for (std::size_t i = 0; i < t.x.size(); ++i)
          codes.push_back(static_cast<std::uint8_t>(random_bits(7, i).value % f.codes()));
        dequantize(f, grid, std::vector<std::uint16_t>(codes.begin(), codes.end()), scales, want);
        std::vector<float> got = engine.dequantize(f, grid, codes, inverse);
        for (auto* values : {&want, &got})  // which NaN a product of NaN is, processors choose
          for (float& v : *values) v = is_nan(v) ? bits_float(0x7fc00000u) : v;
        WordCount count("dequantize", describe(t, fmt::format("{} {}", format_name(f), block_name(block))));
        count.compare("values", want, got);
        take(count.result());
      }
}

}  // namespace fp8scope
