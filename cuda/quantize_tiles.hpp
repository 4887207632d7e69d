#pragma once

#include "cuda/quantize_job.hpp"

namespace fp8scope::cuda {

/// Blocks of any shape, one thread block each: whole rows, 128x128, odd ones. The first chunks of
/// every thread stay in registers (rounding to nearest: all of a 128x128 tile, of a row up to 16384
/// columns), so x is read once; what is beyond is read again, from the second-level cache.
template <class In, class Mode>
struct TileLoop {
  struct Job : BlockJob {};
  struct Shared {
    std::uint32_t scratch[32];
  };
  static constexpr int kept = Mode::held;  ///< chunks in registers

  static FP8_KERNEL void run(const Team& team, Shared& shared, const Job& job) {
    const Tile tile(team, job);
    Register<Kept> x(team);
    Register<std::uint32_t> top(team);
    team.each([&](int t) {
      top(t) = 0;
      FP8_UNROLL
      for (int k = 0; k < kept; ++k) {
        const std::int64_t i = t + static_cast<std::int64_t>(k) * team.threads();
        if (i < tile.chunks) x(t).chunk[k] = tile.load(job, i);
        x(t).raw[k] = i < tile.chunks ? x(t).chunk[k].top() : 0;
        if (i < tile.chunks) top(t) = larger(top(t), counted_top(x(t).chunk[k], x(t).raw[k], job.amax_rule));
      }
      for (std::int64_t i = t + static_cast<std::int64_t>(kept) * team.threads(); i < tile.chunks; i += team.threads()) {
        const Chunk<In> more = tile.load(job, i);
        top(t) = larger(top(t), counted_top(more, more.top(), job.amax_rule));
      }
    });
    block_max(team, top, shared.scratch);
    team.each([&](int t) {
      const Scales scales = block_scales(job.rule, amax_of(top(t)));
      if (t == 0) write_scales(job, tile.row / job.block_rows, tile.col / job.block_cols, top(t), scales);
      if (!job.codes) return;
      // Random bits need registers: rather than hold x through them, all of it is read again, from the cache.
      constexpr int stored = Mode::stochastic ? 0 : kept;
      FP8_UNROLL
      for (int k = 0; k < stored; ++k) {
        const std::int64_t i = t + static_cast<std::int64_t>(k) * team.threads();
        if (i < tile.chunks) tile.store(job, i, x(t).chunk[k], x(t).raw[k], scales.scale);
      }
      for (std::int64_t i = t + static_cast<std::int64_t>(stored) * team.threads(); i < tile.chunks; i += team.threads()) {
        const Chunk<In> more = tile.load(job, i);
        tile.store(job, i, more, more.top(), scales.scale);
      }
    });
  }

 private:
  struct Kept {
    Chunk<In> chunk[kept];
    std::uint32_t raw[kept];
  };

  static FP8_KERNEL std::uint32_t larger(std::uint32_t a, std::uint32_t b) { return a > b ? a : b; }

  /// The elements of this thread block, cut into chunks along the rows.
  struct Tile {
    std::int64_t row, col;       ///< of its first element
    std::int64_t width;          ///< columns
    std::uint32_t per_row;       ///< chunks of a row
    std::int64_t chunks;
    int shift;                   ///< log2 of per_row, or -1

    FP8_KERNEL Tile(const Team& team, const Job& job) {
      const std::int64_t number = team.block().x;
      row = number / job.across * job.block_rows;
      col = number % job.across * job.block_cols;
      const std::int64_t height = job.rows - row < job.block_rows ? job.rows - row : job.block_rows;
      width = job.cols - col < job.block_cols ? job.cols - col : job.block_cols;
      per_row = static_cast<std::uint32_t>((width + chunk - 1) / chunk);
      chunks = height * per_row;
      shift = (per_row & (per_row - 1)) == 0 ? log2_of(per_row) : -1;
    }
    struct Place {
      std::int64_t at;
      int count;
    };
    FP8_KERNEL Place place(const Job& job, std::int64_t i) const {
      const auto n = static_cast<std::uint32_t>(i);  // a tile of 2^36 elements has its own kernel
      const std::uint32_t r = shift >= 0 ? n >> shift : n / per_row;
      const std::int64_t c = static_cast<std::int64_t>(n - r * per_row) * chunk;
      return {(row + r) * job.cols + col + c, width - c < chunk ? static_cast<int>(width - c) : chunk};
    }
    FP8_KERNEL Chunk<In> load(const Job& job, std::int64_t i) const {
      const Place p = place(job, i);
      return load_chunk<In>(job.x, p.at, p.count, job.aligned);
    }
    FP8_KERNEL void store(const Job& job, std::int64_t i, const Chunk<In>& x, std::uint32_t raw, float scale) const {
      const Place p = place(job, i);
      const Codes codes = encode_chunk<Mode>(job.coding, x, raw, [&](int) { return scale; }, is_finite(scale),
                                       static_cast<std::uint64_t>(p.at));
      store_codes(job.codes, p.at, p.count, job.aligned, codes);
    }
  };
};

}  // namespace fp8scope::cuda
