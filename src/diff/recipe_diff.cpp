#include "src/diff/recipe_diff.hpp"

#include "sim/code_table.hpp"
#include "sim/operand.hpp"
#include "src/replay_plan.hpp"

namespace fp8scope {
namespace {

bool same_value(float a, float b) { return float_bits(a) == float_bits(b) || (is_nan(a) && is_nan(b)); }

}  // namespace

RecipeDiff compare_casts(const WholeCast& first, const WholeCast& second, std::span<const float> x) {
  const BlockGrid &a = first.grid, &b = second.grid;
  RecipeDiff diff{};
  diff.first = &first, diff.second = &second, diff.x = x;
  diff.same_blocks = a.down() == b.down() && a.across() == b.across();
  diff.same_format = first.plan.format == second.plan.format;
  if (diff.same_blocks) {
    // Bytes against binary32 are compared as binary32.
    const bool same_storage = first.plan.storage == second.plan.storage;
    const Format f = same_storage ? stored_format(first.plan) : fp32;
    for (std::size_t i = 0; i < first.scales.size(); ++i)
      diff.scales.add(f, static_cast<std::int64_t>(i), same_storage ? first.stored[i] : float_bits(first.scales[i].scale_inv),
                      same_storage ? second.stored[i] : float_bits(second.scales[i].scale_inv));
  }
  const std::vector<float> values_a = decode_table(first.plan.format), values_b = decode_table(second.plan.format);
  for (std::int64_t r = 0; r < a.rows; ++r)
    for (std::int64_t c = 0; c < a.cols; ++c) {
      const std::int64_t i = a.element(r, c);
      const Scales &sa = first.scales[a.block(r, c)], &sb = second.scales[b.block(r, c)];
      const float ya = values_a[first.codes[i]] * sa.scale_inv, yb = values_b[second.codes[i]] * sb.scale_inv;
      diff.values += !same_value(ya, yb);
      if (is_finite(x[i])) {  // a Hadamard transform keeps the power, and its error is that of the transformed element
        const double ea = static_cast<double>(first.x.empty() ? x[i] : first.x[i]) - ya;
        const double eb = static_cast<double>(second.x.empty() ? x[i] : second.x[i]) - yb;
        if (is_finite(ya)) diff.first_noise += ea * ea;
        if (is_finite(yb)) diff.second_noise += eb * eb;
        diff.power += static_cast<double>(x[i]) * x[i];
      }
      if (!diff.same_format) continue;
      diff.codes.add(first.plan.format, i, first.codes[i], second.codes[i]);
      if (same_value(sa.scale, sb.scale)) diff.codes_same_scale.add(first.plan.format, i, first.codes[i], second.codes[i]);
    }
  return diff;
}

void diff_recipes(const ReplayInput& input, const std::string& first, const std::string& second,
                  const ReplayOptions& options, const std::function<void(const RecipeDiff&)>& take) {
  ReplayOptions both = options;
  both.recipes = {first, second};
  for (std::size_t t = 0; t < input.tensors.size(); ++t) {
    const TensorInfo& info = input.tensors[t];
    const TensorPlan plan = plan_tensor(input, both, t);
    std::vector<float> x(info.rows * info.cols);
    for (std::int64_t s = 0; s < info.steps; ++s) {
      input.read_rows(t, s, 0, info.rows, x.data());
      // Casts come as (use, recipe) pairs.
      for (std::size_t c = 0; c + 1 < plan.casts.size(); c += 2) {
        const WholeCast a = whole_cast(plan.tensor_casts[s][c], info.rows, info.cols, x, plan.whole_amax[s]);
        const WholeCast b = whole_cast(plan.tensor_casts[s][c + 1], info.rows, info.cols, x, plan.whole_amax[s]);
        RecipeDiff diff = compare_casts(a, b, x);
        diff.tensor = t, diff.step = s, diff.gemm = plan.casts[c].gemm;
        take(diff);
      }
    }
  }
}

}  // namespace fp8scope
