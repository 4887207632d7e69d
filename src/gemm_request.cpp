#include "src/gemm_request.hpp"

#include <fmt/format.h>

#include "sim/models.hpp"
#include "sim/names.hpp"
#include "src/errors.hpp"

namespace fp8scope {

void add_gemm_options(Options& options) {
  options.add("promote", "A,B,...", "products between promotions to FP32: a number; none; auto (default): the blocks of "
                                    "the scales");
  options.add("order", "NAME", "where the scales enter: auto (default), plain, deepgemm, cutlass_vector, "
                               "cublas_1d1d, cublas_1d2d, cublas_2d1d");
  options.add("output-format", "NAME", "float32 (default) or bfloat16");
  options.add("split-k", "N", "parts of K summed apart, default 1");
}

std::vector<GemmRequest> gemm_requests(const Options& options, const std::string& accumulator) {
  GemmRequest request;
  request.order = options.text_or("order", "auto");
  if (request.order != "auto") by_name(scale_orders, request.order, "--order");
  const std::string format = options.text_or("output-format", "float32");
  if (format != "float32" && format != "bfloat16")
    throw UsageError(fmt::format("--output-format {}: wanted float32 or bfloat16", format));
  request.bf16_output = format == "bfloat16";
  const std::uint64_t parts = options.number_or("split-k", 1);
  if (parts < 1 || parts > 1u << 20) throw UsageError(fmt::format("--split-k {}: wanted 1 to 1048576 parts", parts));
  request.split_k = static_cast<std::int64_t>(parts);

  std::vector<std::string> accumulators = options.list("accumulator");
  if (accumulators.empty() && !accumulator.empty()) accumulators = {accumulator};
  std::vector<std::string> intervals = options.list("promote");
  if (intervals.empty()) intervals = {"auto"};
  std::vector<GemmRequest> requests;
  for (const std::string& name : accumulators) {
    model_called(name.substr(0, name.find(':')));  // misspelt: before any work is done
    for (const std::string& interval : intervals) {
      if (interval != "auto" && interval != "none" && parse_number(interval, "--promote") > std::uint64_t{1} << 40)
        throw UsageError(fmt::format("--promote {}: more than any K", interval));
      request.accumulator = name, request.promote = interval;
      requests.push_back(request);
    }
  }
  return requests;
}

}  // namespace fp8scope
