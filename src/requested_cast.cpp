#include "src/requested_cast.hpp"

#include "src/errors.hpp"

namespace fp8scope {

RequestedCast request_cast(const std::string& recipe, const std::optional<std::string>& format,
                           const TensorKind& kind, bool codecs) {
  RequestedCast request;
  TensorCast& cast = request.cast;
  cast.age = -1;
  if (recipe == "none") {
    if (!format) throw UsageError("--recipe none needs --format");
    cast.plan.format = parse_format(*format);
    cast.given = true;
    return request;
  }
  request.recipe = make_recipe(recipe, kind);
  const bool codec = request.recipe->plan().codec != Codec::none;
  if (codec && !codecs)
    throw UsageError("recipe " + recipe + ": its elements are no floating-point format; cast, gemm, replay and train take it");
  if (format && !codec) request.recipe = make_recipe(recipe + ":format=" + *format, kind);
  cast.plan = request.recipe->plan();
  if (codec && format) cast.plan.format = parse_format(*format);
  cast.block = cast.plan.block;
  cast.rule = request.recipe->block_rule();
  cast.given = !cast.rule;
  return request;
}

void take_first_step(RequestedCast& request, float amax) {
  if (request.recipe && request.cast.given) request.recipe->step({&amax, 1}, {&request.cast.scales, 1});
}

Format input_format(const std::string& dtype) {
  return dtype == "bfloat16" ? bf16 : dtype == "float16" ? fp16 : TensorKind{}.input;
}

}  // namespace fp8scope
