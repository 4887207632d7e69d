#pragma once

#include "cuda/chunk.hpp"
#include "sim/block.hpp"
#include "sim/scale.hpp"

namespace fp8scope::cuda {

/// dequantize() of sim/quantize.hpp for codes of a byte: y = value of the code * scale_inv of its
/// block. Sixteen neighbours in a row a thread.
struct DequantizeLoop {
  struct Job {
    const std::uint8_t* codes = nullptr;  ///< [rows, cols]
    BlockGrid grid{0, 0, {}};
    const float* inverse = nullptr;       ///< [grid.blocks()]
    const float* values = nullptr;        ///< [256] value of each code
    float* y = nullptr;                   ///< [rows, cols], written
    bool aligned = false;                 ///< cols is a multiple of 16
  };
  struct Shared {
    float values[256];
  };

  static FP8_KERNEL void run(const Team& team, Shared& shared, const Job& job) {
    team.each([&](int t) {
      for (int i = t; i < 256; i += team.threads()) shared.values[i] = job.values[i];
    });
    team.sync();
    team.each([&](int t) {
      const std::int64_t c0 = (static_cast<std::int64_t>(team.block().x) * team.threads() + t) * chunk;
      if (c0 >= job.grid.cols) return;
      const int count = job.grid.cols - c0 < chunk ? static_cast<int>(job.grid.cols - c0) : chunk;
      for (std::int64_t r = team.block().y; r < job.grid.rows; r += team.grid().y)
        write(shared, job, r, c0, count);
    });
  }

 private:
  static FP8_KERNEL void write(const Shared& shared, const Job& job, std::int64_t r, std::int64_t c0, int count) {
    const std::int64_t at = job.grid.element(r, c0);
    const float* inverse = job.inverse + r / job.grid.block_rows * job.grid.across();
    const std::int64_t first = c0 / job.grid.block_cols, last = (c0 + count - 1) / job.grid.block_cols;
    if (!job.aligned || first != last) {
      for (int i = 0; i < count; ++i)
        job.y[at + i] = shared.values[job.codes[at + i]] * inverse[(c0 + i) / job.grid.block_cols];
      return;
    }
    const float factor = inverse[first];
    std::uint32_t word[4];
#if defined(__CUDACC__)
    const uint4 four = __ldg(reinterpret_cast<const uint4*>(job.codes + at));
    word[0] = four.x, word[1] = four.y, word[2] = four.z, word[3] = four.w;
#else
    std::memcpy(word, job.codes + at, sizeof(word));
#endif
    FP8_UNROLL
    for (int w = 0; w < 4; ++w) {
      float y[4];
      FP8_UNROLL
      for (int i = 0; i < 4; ++i) y[i] = shared.values[word[w] >> (8 * i) & 0xffu] * factor;
#if defined(__CUDACC__)
      reinterpret_cast<float4*>(job.y + at)[w] = make_float4(y[0], y[1], y[2], y[3]);
#else
      std::memcpy(job.y + at + 4 * w, y, sizeof(y));
#endif
    }
  }
};

}  // namespace fp8scope::cuda
