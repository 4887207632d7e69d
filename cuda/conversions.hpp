#pragma once

#include "cuda/chunk.hpp"

namespace fp8scope::cuda {

/// Floats whose code by the fast loops is not that of encode(): counted, and the lowest of them.
struct ConversionCount {
  std::uint32_t differ = 0, lowest = 0xffffffffu;
};

/// Compares encode_chunk() at scale 1 with encode(), sixteen patterns a chunk.
struct ConversionLoop {
  struct Job {
    Coding coding;
    std::uint64_t chunks = 0;
    std::uint32_t stride = 1;  ///< chunk i holds patterns (i * stride) * 16 + 0 .. 15
    ConversionCount* count = nullptr;
  };
  struct Shared {};

  static FP8_KERNEL void run(const Team& team, Shared&, const Job& job) {
    team.each([&](int t) {
      const std::uint64_t step = static_cast<std::uint64_t>(team.grid().x) * static_cast<std::uint64_t>(team.threads());
      for (std::uint64_t i = static_cast<std::uint64_t>(team.block().x) * team.threads() + t; i < job.chunks; i += step) {
        Chunk<Fp32> x;
        const auto first = static_cast<std::uint32_t>(i * job.stride * chunk);
        FP8_UNROLL
        for (int k = 0; k < chunk; ++k) x.word[k] = first + static_cast<std::uint32_t>(k);
        const Codes codes = encode_chunk<Nearest>(job.coding, x, x.top(), [](int) { return 1.0f; }, true, 0);
        FP8_UNROLL
        for (int k = 0; k < chunk; ++k) {
          const std::uint32_t code = codes.word[k / 4] >> (k % 4 * 8) & 0xffu;
          if (code == encode(job.coding.plan.format, x.value(k), job.coding.plan.rule)) continue;
          atomic_add(&job.count->differ, 1);
          atomic_min(&job.count->lowest, x.word[k]);
        }
      }
    });
  }
};

}  // namespace fp8scope::cuda
