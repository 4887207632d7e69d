#include "src/coded/whole_cast.hpp"

#include <fmt/format.h>

#include "sim/operand.hpp"
#include "sim/quantize.hpp"
#include "sim/recipes/codec.hpp"
#include "src/errors.hpp"

namespace fp8scope {

WholeCast whole_cast(const TensorCast& cast, std::int64_t rows, std::int64_t cols, std::span<const float> x,
                     float whole_amax) {
  const Plan& plan = cast.plan;
  if (plan.codec != Codec::none)
    throw UsageError(fmt::format("the elements of {} are no floating-point format: there are no codes and scales to compare",
                                 codec_row(plan.codec).name));
  WholeCast out{plan, BlockGrid(rows, cols, cast.block), {}, {}, {}, {}};
  if (cast.given) {
    out.scales.assign(out.grid.blocks(), cast.scales);
    out.stored.assign(out.grid.blocks(), float_bits(cast.scales.scale_inv));
    out.codes.resize(x.size());
    quantize(plan.format, plan.cast, out.grid, x, out.scales, out.codes, cast.seed, 0, plan.apply);
    return out;
  }
  TensorCodes made = cast_tensor(plan, *cast.rule, out.grid, cast.turned, x, whole_amax, cast.seed);
  out.codes = std::move(made.codes), out.scales = std::move(made.scales), out.stored = std::move(made.stored);
  if (plan.hadamard.size > 0) out.x = std::move(made.x);
  return out;
}

Format stored_format(const Plan& plan) {
  switch (plan.storage) {
    case ScaleStorage::e8m0: return e8m0;
    case ScaleStorage::e4m3: return e4m3;
    case ScaleStorage::bf16: return bf16;
    default: return fp32;
  }
}

}  // namespace fp8scope
