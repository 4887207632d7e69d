#pragma once

#include "cuda/cast_on.hpp"
#include "cuda/error_sums.hpp"

namespace fp8scope::cuda {

inline constexpr int row_threads = 128;  ///< of the loops over rows: eight rows a thread block
inline constexpr std::size_t magnitude_buckets = 1u << 15;

template <class Machine, class In>
TensorMoments moments_on(const Machine& machine, const void* x, std::int64_t rows, std::int64_t cols) {
  typename Machine::template Memory<MomentSums> sums(static_cast<std::size_t>(rows));
  typename Machine::template Memory<std::uint32_t> buckets(magnitude_buckets);
  typename Machine::template Memory<TensorTop> top(1);
  buckets.fill_zero();
  top.fill_zero();
  machine.template run<MomentLoop<In>>({ceil_div(rows, row_threads / 16)}, row_threads,
                                       {x, rows, cols, sums.get(), buckets.get()});
  const std::int64_t blocks = ceil_div(rows * cols, static_cast<std::int64_t>(chunk) * most_threads);
  const std::int64_t full = machine.multiprocessors() * 8;
  machine.template run<AmaxLoop<In>>({static_cast<std::uint32_t>(blocks < full ? blocks : full)}, most_threads,
                                     {x, rows * cols, top.get()});
  const TensorTop largest = top.to_host()[0];
  return {sums.to_host(), buckets.to_host(), largest.raw, largest.numbers};
}

/// What a cast whose scales `work` has found loses.
template <class Machine, class In>
CastErrors measure_on(const Machine& machine, const void* x, const BlockCast& cast, const CastOn<Machine, In>& work,
                      float bulk) {
  const std::int64_t rows = work.grid().rows;
  typename Machine::template Memory<ErrorSums> sums(static_cast<std::size_t>(rows));
  typename Machine::template Memory<double> power(static_cast<std::size_t>(rows));
  typename ErrorLoop<In>::Job job;
  job.x = x;
  job.grid = work.grid();
  job.cols_log2 = is_power_of_two(job.grid.block_cols) ? std::countr_zero(static_cast<std::uint64_t>(job.grid.block_cols)) : -1;
  job.scales = work.scales();
  job.limits = cast_limits(cast.format, cast.rule, bulk, cast.apply == Apply::divide);
  job.format = cast.format, job.rule = cast.rule;
  job.seed = cast.seed, job.first = cast.first;
  job.sums = sums.get(), job.bulk_power = power.get();
  machine.template run<ErrorLoop<In>>({ceil_div(rows, row_threads / 16)}, row_threads, job);

  const ScaleRange start;
  typename Machine::template Memory<ScaleRange> range(std::span<const ScaleRange>(&start, 1));
  const std::int64_t blocks = job.grid.blocks();
  const std::int64_t teams = ceil_div(blocks, most_threads), full = machine.multiprocessors() * 8;
  machine.template run<RangeLoop>({static_cast<std::uint32_t>(teams < full ? teams : full)}, most_threads,
                                  {work.scales(), work.amax(), blocks, job.limits.max, cast.floor, range.get()});
  const ScaleRange found = range.to_host()[0];
  return {sums.to_host(), power.to_host(), bits_float(found.low), bits_float(found.high),
          bit_cast<double>(found.headroom), static_cast<std::uint64_t>(blocks), found.floored};
}

}  // namespace fp8scope::cuda
