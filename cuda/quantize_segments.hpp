#pragma once

#include "cuda/quantize_job.hpp"

namespace fp8scope::cuda {

/// Blocks of one row and 16 to 512 columns, a power of two: 1x128, MX's 1x32. A thread holds 16
/// elements, `lanes` neighbours make a block and agree on its amax without leaving their registers:
/// one read of x, one write of the codes.
template <class In, class Mode>
struct SegmentLoop {
  struct Job : BlockJob {
    int lanes = 8;        ///< threads of a block of elements
    int along_log2 = 8;   ///< log2 of the threads along a row; at least `lanes`
  };
  struct Shared {};

  static FP8_KERNEL void run(const Team& team, Shared&, const Job& job) {
    const int along = 1 << job.along_log2, down = team.threads() >> job.along_log2;
    const std::int64_t first = static_cast<std::int64_t>(team.block().x) << job.along_log2;
    Register<Chunk<In>> x(team);
    Register<std::uint32_t> raw(team), top(team);
    const std::int64_t step = static_cast<std::int64_t>(team.grid().y) * down;
    for (std::int64_t row0 = static_cast<std::int64_t>(team.block().y) * down; row0 < job.rows; row0 += step) {
      team.each([&](int t) {
        const std::int64_t row = row0 + (t >> job.along_log2), col = (first + (t & (along - 1))) * chunk;
        raw(t) = top(t) = 0;
        if (row >= job.rows || col >= job.cols) return;
        x(t) = load_chunk<In>(job.x, row * job.cols + col, count_at(job, col), job.aligned);
        raw(t) = x(t).top();
        top(t) = counted_top(x(t), raw(t), job.amax_rule);
      });
      group_max(team, top, job.lanes);
      team.each([&](int t) {
        const std::int64_t row = row0 + (t >> job.along_log2), place = first + (t & (along - 1));
        if (row >= job.rows || place * chunk >= job.cols) return;
        const Scales scales = block_scales(job.rule, amax_of(top(t)));
        if ((t & (job.lanes - 1)) == 0) write_scales(job, row, place / job.lanes, top(t), scales);
        if (!job.codes) return;
        const std::int64_t at = row * job.cols + place * chunk;
        Chunk<In> mine = x(t);
        // Random bits need registers: rather than hold x through them, it is read again, from the cache.
        if constexpr (Mode::stochastic) mine = load_chunk<In>(job.x, at, count_at(job, place * chunk), job.aligned);
        const Codes codes = encode_chunk<Mode>(job.coding, mine, raw(t), [&](int) { return scales.scale; },
                                         is_finite(scales.scale), static_cast<std::uint64_t>(at));
        store_codes(job.codes, at, count_at(job, place * chunk), job.aligned, codes);
      });
    }
  }

 private:
  static FP8_KERNEL int count_at(const Job& job, std::int64_t col) {
    const std::int64_t left = job.cols - col;
    return left < chunk ? static_cast<int>(left) : chunk;
  }
};

}  // namespace fp8scope::cuda
