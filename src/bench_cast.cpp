#include <algorithm>

#include "src/bench.hpp"
#include "src/bench_data.hpp"

#if __has_include(<cuda_fp8.h>)
#include <cuda_fp8.h>
#define FP8SCOPE_CUDA_HEADER 1
#endif

namespace fp8scope {

namespace {

struct CastCase {
  const char* name;
  Format format;
};

constexpr CastCase cases[] = {{"cast_e4m3", e4m3}, {"cast_e5m2", e5m2}};

Contender cast_contender(const BenchData& data, const Format& f) {
  return {[&data, f](std::size_t begin, std::size_t end) {
            encode_span(f, {}, data.x(begin, end), data.codes(begin, end),
                        {Isa::automatic, Stores::streaming});
          },
          data.size()};
}

#if defined(FP8SCOPE_CUDA_HEADER)
// Some fifty times slower: a sixteenth of the data is enough.
Contender header_contender(const BenchData& data, __nv_fp8_interpretation_t kind) {
  return {[&data, kind](std::size_t begin, std::size_t end) {
            const auto x = data.x(begin, end);
            const auto codes = data.codes(begin, end);
            for (std::size_t i = 0; i < x.size(); ++i)
              codes[i] = __nv_cvt_float_to_fp8(x[i], __NV_SATFINITE, kind);
          },
          std::max<std::size_t>(data.size() / 16, 1)};
}
#endif

std::vector<Contender> contenders_of(const BenchData& data) {
  std::vector<Contender> all = data.ceilings();
  for (const CastCase& c : cases) all.push_back(cast_contender(data, c.format));
#if defined(FP8SCOPE_CUDA_HEADER)
  for (const auto kind : {__NV_E4M3, __NV_E5M2}) all.push_back(header_contender(data, kind));
#endif
  return all;
}

}  // namespace

std::vector<BenchResult> bench_cast(const BenchOptions& options) {
  const BenchData data(options.bytes);
  std::vector<BenchResult> results;
  for (const int threads : options.threads) {
    const auto times = race(contenders_of(data), threads, options.rounds);
    for (std::size_t c = 0; c < std::size(cases); ++c) {
      BenchResult result =
          result_of(cases[c].name, threads, times[2 + c], std::span(times).first(2));
      const std::size_t header = 2 + std::size(cases) + c;
      if (header < times.size())
        result.extras.push_back({"speedup_over_cuda_header",
                                 median_speedup(times[2 + c], times[header])});
      results.push_back(std::move(result));
    }
  }
  return results;
}

}  // namespace fp8scope
