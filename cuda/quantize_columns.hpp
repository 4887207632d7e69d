#pragma once

#include "cuda/quantize_job.hpp"

namespace fp8scope::cuda {

// Where ptxas would spill with x held in registers over the scales: Ada and RTX Blackwell.
#if defined(__CUDA_ARCH__) && (__CUDA_ARCH__ == 890 || __CUDA_ARCH__ == 1200)
inline constexpr bool reads_columns_twice = true;
#else
inline constexpr bool reads_columns_twice = false;
#endif

/// Blocks of one column and 16, 32, 64 or 128 rows: the operand of a GEMM that contracts the rows
/// (wgrad), with codes as they lie or transposed, or both. A thread block holds 128 x 128 elements in
/// registers; a thread holds 16 columns of four neighbouring rows, so that four codes of a column are
/// one word of the transposed tile.
template <class In, class Mode>
struct ColumnLoop {
  struct Job : BlockJob {};
  static constexpr int side = 128, threads = 256, held = 4, per_row = side / chunk;

  struct Shared {
    std::uint32_t partial[side / 16][side];  ///< [sixteen rows, column] largest magnitude
    float scale[side / 16][side];            ///< [block of rows, column]
    std::uint32_t tile[side][side / 4];      ///< [column, four rows] codes, in exchanged places
  };

  static FP8_KERNEL void run(const Team& team, Shared& shared, const Job& job) {
    const std::int64_t row0 = static_cast<std::int64_t>(team.block().y) * side;
    const std::int64_t col0 = static_cast<std::int64_t>(team.block().x) * side;
    Register<Held> x(team);
    team.each([&](int t) { load(job, row0, col0, t, x(t)); });
    find_partial(team, shared, job, x);
    find_scales(team, shared, job, row0, col0);
    team.sync();
    team.each([&](int t) { encode(shared, job, row0, col0, t, x(t)); });
    if (!job.transposed) return;
    team.sync();
    team.each([&](int t) { store_transposed(shared, job, row0, col0, t); });
  }

 private:
  struct Held {
    Chunk<In> chunk[held];
  };
  struct Place {
    int row, col;  ///< of the thread's first element in the tile
  };
  static FP8_KERNEL Place place(int t) { return {t / per_row * held, t % per_row * chunk}; }

  static FP8_KERNEL int count_at(const Job& job, std::int64_t row, std::int64_t col) {
    if (row >= job.rows || col >= job.cols) return 0;
    return job.cols - col < chunk ? static_cast<int>(job.cols - col) : chunk;
  }

  static FP8_KERNEL void load(const Job& job, std::int64_t row0, std::int64_t col0, int t, Held& x) {
    const std::int64_t row = row0 + place(t).row, col = col0 + place(t).col;
    FP8_UNROLL
    for (int j = 0; j < held; ++j) {
      const int count = count_at(job, row + j, col);
      x.chunk[j] = load_chunk<In>(job.x, (row + j) * job.cols + col, count, job.aligned && count == chunk);
    }
  }

  /// partial[w][c]: the sixteen rows of warp w. Lanes l, l ^ 8, l ^ 16 hold the same columns.
  static FP8_KERNEL void find_partial(const Team& team, Shared& shared, const Job& job, Register<Held>& x) {
    Register<std::uint32_t> top(team);
    FP8_UNROLL
    for (int i = 0; i < chunk; ++i) {
      team.each([&](int t) {
        std::uint32_t largest = 0;
        FP8_UNROLL
        for (int j = 0; j < held; ++j) largest = larger_magnitude(job.amax_rule, largest, x(t).chunk[j].value(i));
        top(t) = largest;
      });
      exchange_max(team, top, 8);
      exchange_max(team, top, 16);
      team.each([&](int t) {
        if (t % warp < per_row) shared.partial[t / warp][place(t).col + i] = top(t);
      });
    }
    team.sync();
  }

  static FP8_KERNEL void find_scales(const Team& team, Shared& shared, const Job& job, std::int64_t row0,
                                     std::int64_t col0) {
    const int height = static_cast<int>(job.block_rows);
    team.each([&](int t) {
      FP8_NO_UNROLL
      for (int i = t; i < side / height * side; i += threads) {
        const int block = i / side, column = i % side;
        const std::int64_t row = row0 + block * height, col = col0 + column;
        std::uint32_t top = 0;
        FP8_NO_UNROLL
        for (int w = block * height / 16; w < (block + 1) * height / 16; ++w)
          top = shared.partial[w][column] > top ? shared.partial[w][column] : top;
        const Scales scales = block_scales(job.rule, amax_of(top));
        shared.scale[block][column] = scales.scale;
        if (row < job.rows && col < job.cols) write_scales(job, row / height, col, top, scales);
      }
    });
  }

  /// Word of the tile that holds rows 4 q .. 4 q + 3 of a column. The exchange spreads the columns of
  /// a warp over all banks, and leaves 16 bytes that lie together together.
  static FP8_KERNEL int exchanged(int column, int q) { return q ^ (column / chunk * 4 & 31); }

  static FP8_KERNEL void encode(Shared& shared, const Job& job, std::int64_t row0, std::int64_t col0, int t,
                                const Held& x) {
    const int row = place(t).row, col = place(t).col;
    const float* scale = &shared.scale[row / static_cast<int>(job.block_rows)][col];
    bool finite = true;
    FP8_UNROLL
    for (int i = 0; i < chunk; ++i) finite &= is_finite(scale[i]);
    Codes codes[held];
    FP8_UNROLL
    for (int j = 0; j < held; ++j) {
      const int count = count_at(job, row0 + row + j, col0 + col);
      const std::int64_t at = (row0 + row + j) * job.cols + col0 + col;
      Chunk<In> mine = x.chunk[j];
      // Random bits need registers: rather than hold x through them, it is read again, from the cache.
      if constexpr (Mode::stochastic || reads_columns_twice) mine = load_chunk<In>(job.x, at, count, job.aligned && count == chunk);
      codes[j] = encode_chunk<Mode>(job.coding, mine, mine.top(), [&](int i) { return scale[i]; }, finite,
                                    static_cast<std::uint64_t>(at));
      if (job.codes && count > 0) store_codes(job.codes, at, count, job.aligned && count == chunk, codes[j]);
    }
    if (!job.transposed) return;
    FP8_UNROLL
    for (int i = 0; i < chunk; ++i) {
      std::uint32_t word = 0;
      FP8_UNROLL
      for (int j = 0; j < held; ++j) word |= (codes[j].word[i / 4] >> (i % 4 * 8) & 0xffu) << (8 * j);
      shared.tile[col + i][exchanged(col + i, row / held)] = word;
    }
  }

  /// 128 codes of a column are eight pieces of 16 bytes.
  static FP8_KERNEL void store_transposed(const Shared& shared, const Job& job, std::int64_t row0, std::int64_t col0,
                                          int t) {
    for (int i = t; i < side * side / chunk; i += threads) {
      const int column = i / per_row, q = i % per_row * 4;
      const std::int64_t col = col0 + column, row = row0 + q * 4;
      if (col >= job.cols || row >= job.rows) continue;
      const int count = job.rows - row < chunk ? static_cast<int>(job.rows - row) : chunk;
      const std::uint32_t* from = &shared.tile[column][exchanged(column, q)];
      const Codes codes{{from[0], from[1], from[2], from[3]}};
      const bool aligned = count == chunk && job.rows % chunk == 0;
      store_codes(job.transposed, col * job.rows + row, count, aligned, codes);
    }
  }
};

}  // namespace fp8scope::cuda
