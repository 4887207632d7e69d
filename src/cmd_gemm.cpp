#include <fmt/format.h>
#include <tbb/global_control.h>

#include <algorithm>

#include "sim/names.hpp"
#include "src/array.hpp"
#include "src/command.hpp"
#include "src/device_option.hpp"
#include "src/errors.hpp"
#include "src/gemm_request.hpp"
#include "src/npy.hpp"
#include "src/options.hpp"
#include "src/output_file.hpp"
#include "src/parallel.hpp"
#include "src/requested_cast.hpp"
#include "src/run_options.hpp"
#include "src/table.hpp"

namespace fp8scope {
namespace {

struct Array {
  std::int64_t rows, cols;
  std::vector<float> values;
  Format input;
};

Array read_array(const std::string& name, const std::string& encoding) {
  const auto file = open_array(name, encoding);
  if (file->size() == 0) throw DataError(fmt::format("{}: the array is empty", name));
  Array array{file->rows(), file->cols(), std::vector<float>(static_cast<std::size_t>(file->size())), {}};
  file->read_rows(0, array.rows, array.values.data());
  array.input = input_format(file->dtype());
  if (std::ranges::none_of(array.values, is_finite))
    throw DataError(fmt::format("{}: holds no finite number: there is nothing to multiply", name));
  return array;
}

Array transposed(const Array& a) {
  Array t{a.cols, a.rows, std::vector<float>(a.values.size()), a.input};
  for (std::int64_t r = 0; r < a.rows; ++r)
    for (std::int64_t c = 0; c < a.cols; ++c) t.values[c * a.rows + r] = a.values[r * a.cols + c];
  return t;
}

/// The operand as the request casts it.
GemmOperand operand_of(const Array& array, const RequestedCast& request, const std::string& name) {
  CastPass::require_whole_blocks(request.cast.plan, request.cast.block, array.rows, array.cols, name);
  return {array.rows, array.cols, array.values, request.cast, -1.0f};
}

Table describe(const GemmError& e) {
  Table table("gemm", "error of the product against binary64");
  auto& name = table.add<std::string>("error", "1", "");
  auto& value = table.add<double>("value", "1", "");
  auto& meaning = table.add<std::string>("meaning", "1", "");
  const auto add = [&](const char* n, double v, const char* m) {
    name.emplace_back(n), value.push_back(v), meaning.emplace_back(m);
  };
  add("total", e.total, "relative Frobenius norm of D - P");
  add("from_a", e.from_a, "of the term that casting A owns");
  add("from_b", e.from_b, "of the term that casting B owns");
  add("from_accumulator", e.from_accumulator, "of the term that the matrix unit owns");
  add("from_output", e.from_output, "of the term that rounding the output owns");
  add("max", e.max, "largest |D - P| / rms(P)");
  add("p50", e.p50, "median |D - P| / |P|");
  add("p99", e.p99, "99th percentile");
  add("p99.9", e.p999, "99.9th percentile");
  add("bias", e.bias, "mean (D - P) / rms(P)");
  add("nonfinite", static_cast<double>(e.nonfinite), "elements left out: not finite");
  return table;
}

}  // namespace

int run_gemm(const Args& args) {
  Options options("gemm", "A B");
  options.add("recipe,r", "NAME[:KEY=VALUE...]", "scaling recipe of A (activation) and B (weight), default dsv3; none: scale 1");
  options.add("format,f", "NAME", "element format, where the recipe's is not wanted; of a codec (logfmt): what its decoded "
                                  "values are multiplied in, float32 where the unit takes it, else bfloat16");
  options.add("accumulator,a", "NAME[:KEY=VALUE...]", "matrix unit, default hopper_wgmma; 'fp8scope models' lists them");
  add_gemm_options(options);
  options.add("c", "FILE", "array that is added to the product, [M, N]");
  options.add("b-layout", "NAME", "nk (default): B is [N, K], like a weight; kn: B is [K, N]");
  options.add("encoding", "NAME", "what 8- or 16-bit elements of the inputs encode");
  options.add("output,o", "FILE", "product, as .npy");
  add_run_options(options);
  add_device_option(options);
  if (!options.parse(args)) return 0;

  const std::string encoding = options.text_or("encoding", "");
  const int threads = thread_count(options);
  use_isa(options);
  const Multiply multiply = device_multiply(options);
  const std::string layout = options.text_or("b-layout", "nk");
  if (layout != "nk" && layout != "kn") throw UsageError(fmt::format("--b-layout {}: wanted nk or kn", layout));
  std::vector<GemmRequest> requests = gemm_requests(options, "hopper_wgmma");
  if (requests.size() != 1) throw UsageError("gemm computes one product: wanted one --accumulator, one --promote");
  requests.front().multiply = multiply;
  const auto output = options.text("output");
  for (const std::string& word : options.words())
    if (output) require_other_file(*output, array_file(word));

  const Array a = read_array(options.words()[0], encoding);
  Array b = read_array(options.words()[1], encoding);
  if (layout == "kn") b = transposed(b);
  if (a.cols != b.cols)
    throw DataError(fmt::format("{} is [{}, {}] and {} has K = {}: the contracted dimensions differ{}",
                                options.words()[0], a.rows, a.cols, options.words()[1], b.cols,
                                layout == "nk" ? "; --b-layout kn takes B as [K, N]" : ""));
  std::vector<float> c;
  if (const auto name = options.text("c")) {
    const Array added = read_array(*name, encoding);
    if (added.rows != a.rows || added.cols != b.rows)
      throw DataError(fmt::format("{} is [{}, {}]; the product is [{}, {}]", *name, added.rows, added.cols, a.rows, b.rows));
    c = added.values;
  }
  const std::string recipe = options.text_or("recipe", "dsv3");
  const auto format = options.text("format");
  RequestedCast cast_a = request_cast(recipe, format, {Role::activation, a.input}, true);
  RequestedCast cast_b = request_cast(recipe, format, {Role::weight, b.input}, true);
  take_first_step(cast_a, amax(AmaxRule::ignore_nan, a.values));
  take_first_step(cast_b, amax(AmaxRule::ignore_nan, b.values));
  if (format && cast_a.cast.plan.codec != Codec::none) requests.front().codec_format = cast_a.cast.plan.format;
  const GemmOperand left = operand_of(a, cast_a, options.words()[0] + ": --recipe " + recipe);
  const GemmOperand right = operand_of(b, cast_b, options.words()[1] + ": --recipe " + recipe);
  std::vector<float> d(static_cast<std::size_t>(a.rows * b.rows));
  const tbb::global_control limit(tbb::global_control::max_allowed_parallelism, static_cast<std::size_t>(threads));
  const GemmError error = measure_gemm(left, right, requests.front(), c, d, run_in_parallel);
  if (output) write_npy(*output, NpyType::f4, {a.rows, b.rows}, std::as_bytes(std::span(d)));
  fmt::print("{}", print_table(describe(error), TableStyle::text));
  return 0;
}

}  // namespace fp8scope
