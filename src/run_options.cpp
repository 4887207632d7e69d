#include "src/run_options.hpp"

#include <fmt/format.h>

#include <thread>

#include "sim/names.hpp"
#include "src/errors.hpp"

namespace fp8scope {

void add_run_options(Options& options) {
  options.add("threads,j", "N", "threads; 0, the default, is one per processor");
  options.add("isa", "NAME", "vector instructions: auto (default), scalar, sse4, avx2, avx512");
}

int thread_count(const Options& options) { return thread_count(options.number_or("threads", 0)); }

int thread_count(std::uint64_t asked) {
  if (asked > 4096) throw UsageError(fmt::format("--threads {}: at most 4096", asked));
  if (asked > 0) return static_cast<int>(asked);
  return static_cast<int>(std::max(1u, std::thread::hardware_concurrency()));
}

Isa use_isa(const Options& options) { return use_isa(options.text_or("isa", "auto")); }

Isa use_isa(const std::string& name) {
  const Isa wanted = by_name(isas, name, "--isa").isa;
  if (!isa_supported(wanted))
    throw SkippedError(fmt::format("--isa {}: this processor lacks these instructions; 'fp8scope info' "
                                   "lists those it has",
                                   isa_name(wanted)));
  set_isa(wanted);
  return isa();
}

}  // namespace fp8scope
