#include "src/coded/rewrite.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "sim/code_table.hpp"
#include "sim/quantize.hpp"
#include "sim/recipes/lossless.hpp"
#include "sim/scale.hpp"
#include "src/errors.hpp"

namespace fp8scope {
namespace {

bool power_of_two(float s) {
  if (!is_finite(s) || !(s > 0.0f)) return is_nan(s);
  const Unpacked u = unpack(float_bits(s));
  return u.significand == 0x800000u;
}

/// Exponent of a power of two.
int exponent_of(float s) { return unpack(float_bits(s)).exponent; }

void set_e8m0(CodedTensor& t, std::vector<float> factors) {
  t.factors = std::move(factors), t.scale_codes = e8m0, t.scales_turned = false, t.stored.clear();
  for (const float s : t.factors) t.stored.push_back(is_nan(s) ? 255u : encode(e8m0, s));
}

}  // namespace

float to_power_of_two(float s, ScaleRounding rounding) {
  if (!is_finite(s)) return bits_float(0x7fc00000u);
  const Rounding r = rounding == ScaleRounding::up     ? Rounding::up
                     : rounding == ScaleRounding::down ? Rounding::toward_zero
                                                       : Rounding::nearest_away;
  return decode(e8m0, encode(e8m0, s, {.rounding = r}));
}

std::uint32_t exact_shift(const Format& f, std::uint32_t code, int shift) {
  const float value = decode(f, code);
  if (!is_finite(value)) return code;
  // Formats of 16 bits at most lie far inside binary32: the product is exact down to 2^-149, and what is
  // below half the smallest code is zero whatever the shift.
  const int enough = std::min(shift, 149);
  return encode(f, value * pow2(-enough));
}

std::uint32_t exponent_only_shift(const Format& f, std::uint32_t code, int shift) {
  if (!is_finite(decode(f, code))) return code;
  const std::uint32_t magnitude = code & f.magnitude_mask();
  const auto field = static_cast<int>(magnitude >> f.mantissa_bits);
  const auto lowered = static_cast<std::uint32_t>(std::max(field - shift, 0));
  return (code & f.sign_bit()) | lowered << f.mantissa_bits | (magnitude & low_mask(f.mantissa_bits));
}

CodedTensor transpose_by_shift(const CodedTensor& t, TransposeRule rule) {
  if (t.block.rows != 1 || t.block.cols == 0)
    throw DataError(fmt::format("{}: {} blocks; only tiles of one row, such as 1x128, are turned by shifting", t.where,
                                block_name(t.block)));
  const BlockGrid from = t.grid();
  for (std::size_t i = 0; i < t.factors.size(); ++i)
    if (!power_of_two(t.factors[i]))
      throw DataError(fmt::format("{}: factor of block [{}, {}] is {:g}, no power of two; use --transpose requantise", t.where,
                                  i / from.across(), i % from.across(), t.factors[i]));
  CodedTensor out = t;
  out.block = {t.block.cols, 1};
  const BlockGrid to = out.grid();
  std::vector<float> factors(to.blocks());
  for (std::int64_t d = 0; d < to.down(); ++d)
    for (std::int64_t c = 0; c < to.cols; ++c) {
      const std::int64_t top = d * to.block_rows, bottom = std::min(top + to.block_rows, to.rows);
      float largest = 0.0f;
      for (std::int64_t r = top; r < bottom; ++r) {
        const float s = t.factors[from.block(r, c)];
        if (is_nan(s) || s > largest) largest = s;
        if (is_nan(s)) break;
      }
      factors[d * to.cols + c] = largest;
      for (std::int64_t r = top; r < bottom; ++r) {
        const std::int64_t i = to.element(r, c);
        if (is_nan(largest)) {
          out.codes[i] = static_cast<std::uint16_t>(t.format.nan_code());
          continue;
        }
        const int k = exponent_of(largest) - exponent_of(t.factors[from.block(r, c)]);
        out.codes[i] = static_cast<std::uint16_t>(rule == TransposeRule::exact_shift
                                                      ? exact_shift(t.format, t.codes[i], k)
                                                      : exponent_only_shift(t.format, t.codes[i], k));
      }
    }
  set_e8m0(out, std::move(factors));
  return out;
}

CodedTensor rewrite_scales(const CodedTensor& t, ScaleRounding rounding, bool requantise) {
  CodedTensor out = t;
  std::vector<float> factors;
  for (const float s : t.factors) factors.push_back(to_power_of_two(s, rounding));
  set_e8m0(out, std::move(factors));
  if (!requantise) return out;
  const BlockGrid grid = t.grid();
  for (std::int64_t r = 0; r < t.rows; ++r)
    for (std::int64_t c = 0; c < t.cols; ++c) {
      const std::int64_t i = grid.element(r, c), b = grid.block(r, c);
      const float value = decode(t.format, t.codes[i]) * t.factors[b];
      out.codes[i] = static_cast<std::uint16_t>(quantize_element(t.format, value, 1.0f / out.factors[b], {}));
    }
  return out;
}

CodedTensor lossless_e4m3(const CodedTensor& t, const BlockShape& block, bool& within) {
  if (t.format != Format{2, 1, 1, Specials::finite} || t.block != BlockShape{1, 32})
    throw DataError(fmt::format("{}: {} codes in {} blocks; a lossless change to E4M3 is of E2M1 codes in 1x32 blocks", t.where,
                                format_name(t.format), block_name(t.block)));
  CodedTensor out = t;
  out.format = e4m3, out.block = block;
  const BlockGrid from = t.grid(), to = out.grid();
  if (to.block_cols % 32 != 0)
    throw UsageError(fmt::format("block {}: wanted a multiple of 32 columns, those of the E2M1 factors", block_name(block)));
  std::vector<std::uint8_t> factors;
  for (std::size_t i = 0; i < t.factors.size(); ++i) {
    if (is_nan(t.factors[i]) || !power_of_two(t.factors[i]) || to_power_of_two(t.factors[i], ScaleRounding::down) != t.factors[i])
      throw DataError(fmt::format("{}: factor of block [{}, {}] is {:g}, no E8M0 number", t.where, i / from.across(),
                                  i % from.across(), t.factors[i]));
    factors.push_back(static_cast<std::uint8_t>(encode(e8m0, t.factors[i])));
  }
  const LosslessCodes made = e2m1_to_e4m3(t.codes, factors, t.rows, t.cols, to.block_rows, to.block_cols);
  within = made.exact;
  out.codes.assign(made.codes.begin(), made.codes.end());
  std::vector<float> larger;
  for (const std::uint8_t code : made.scales) larger.push_back(decode(e8m0, code));
  set_e8m0(out, std::move(larger));
  return out;
}

double decoded(const CodedTensor& t, std::int64_t i) {
  const BlockGrid grid = t.grid();
  return static_cast<double>(decode(t.format, t.codes[i])) *
         static_cast<double>(t.factors[grid.block(i / t.cols, i % t.cols)]);
}

namespace {

/// Whether `code` is a nearest code to value / factor, compared without a division: no neighbour is nearer.
bool is_nearest(const Format& f, std::uint32_t code, double value, double factor) {
  const double here = std::fabs(static_cast<double>(decode(f, code)) * factor - value);
  const std::uint32_t magnitude = code & f.magnitude_mask(), sign = code & f.sign_bit();
  if (magnitude > f.max_code()) return false;
  const auto distance = [&](std::uint32_t m) {
    return std::fabs(static_cast<double>(decode(f, sign | m)) * factor - value);
  };
  if (magnitude == f.max_code()) {  // beyond MAX only as far as rounding goes
    const double step = static_cast<double>(decode(f, magnitude)) - static_cast<double>(decode(f, magnitude - 1));
    if (here > 0.5 * step * factor) return false;
  }
  if (magnitude == 0 && value != 0.0) return here <= distance(1) && here <= std::fabs(static_cast<double>(decode(f, (sign ^ f.sign_bit()) | 1u)) * factor - value);
  return (magnitude == 0 || here <= distance(magnitude - 1)) && (magnitude == f.max_code() || here <= distance(magnitude + 1));
}

/// The ratio new/old of a block's values: one number, or several.
struct Ratio {
  bool any = false, constant = true;
  double low = 0.0, high = 0.0;
  void add(double old_value, double new_value) {
    if (old_value == 0.0) {
      if (new_value != 0.0) constant = false, any = true;
      return;
    }
    const double ratio = new_value / old_value;
    if (!any) any = true, low = high = ratio;
    // Both values carry factors of 24 bits: equal ratios agree to that.
    if (std::fabs(ratio - low) > 1e-6 * std::fabs(low)) constant = false;
  }
};

}  // namespace

RewriteCheck check_rewrite(const CodedTensor& before, const CodedTensor& after) {
  if (before.rows != after.rows || before.cols != after.cols)
    throw DataError(fmt::format("{} holds [{}, {}], {} [{}, {}]: not the same tensor", before.where, before.rows, before.cols,
                                after.where, after.rows, after.cols));
  const BlockGrid old_grid = before.grid(), grid = after.grid();
  const std::vector<float> old_values = decode_table(before.format), values = decode_table(after.format);
  RewriteCheck check;
  check.blocks = grid.blocks();
  std::vector<Ratio> ratios(grid.blocks());
  std::vector<std::uint64_t> wrong(grid.blocks());
  for (std::int64_t r = 0; r < grid.rows; ++r)
    for (std::int64_t c = 0; c < grid.cols; ++c) {
      const std::int64_t i = grid.element(r, c), b = grid.block(r, c);
      const double factor = after.factors[b];
      const double y = static_cast<double>(old_values[before.codes[i]]) * before.factors[old_grid.block(r, c)];
      const double z = static_cast<double>(values[after.codes[i]]) * factor;
      ++check.elements;
      check.codes_changed += before.codes[i] != after.codes[i];
      if (!std::isnan(y) && !std::isnan(z) && !std::isinf(y) && !std::isinf(z)) {
        check.power += y * y, check.noise += (z - y) * (z - y);
        ratios[b].add(y, z);
      }
      if (y == z || (std::isnan(y) && std::isnan(z))) {
        ++check.same;
        continue;
      }
      check.flushed += z == 0.0 && y != 0.0;
      const bool finite = !std::isnan(y) && !std::isnan(z) && !std::isinf(factor);
      // A requantised value went through binary32 twice: allow its last bits.
      const double slack = std::fabs(y) * 0x1p-22;
      if (finite && (is_nearest(after.format, after.codes[i], y, factor) ||
                     is_nearest(after.format, after.codes[i], y - slack, factor) ||
                     is_nearest(after.format, after.codes[i], y + slack, factor))) {
        ++check.rounded;
        continue;
      }
      ++check.wrong, ++wrong[b];
      check.saturated += (after.codes[i] & after.format.magnitude_mask()) == after.format.max_code() && std::fabs(y) > std::fabs(z);
      if (check.first_wrong < 0) check.first_wrong = i;
    }
  for (std::size_t b = 0; b < ratios.size(); ++b) {
    check.blocks_zero += !ratios[b].any;
    if (wrong[b] == 0) continue;
    ++check.blocks_wrong;
    if (!ratios[b].constant) continue;
    if (check.blocks_scaled++ == 0) check.factor_low = check.factor_high = ratios[b].low;
    check.factor_low = std::min(check.factor_low, ratios[b].low);
    check.factor_high = std::max(check.factor_high, ratios[b].low);
  }
  return check;
}

}  // namespace fp8scope
