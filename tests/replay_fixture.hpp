#pragma once

#include <algorithm>
#include <limits>
#include <random>
#include <span>
#include <string>
#include <vector>

#include "src/replay.hpp"

namespace fp8scope {

/// A trace in memory: a few tensors over a few recorded steps of a longer history.
struct Fixture {
  std::vector<TensorInfo> tensors;
  std::vector<std::int64_t> steps{3, 4, 5};
  AmaxHistory history;
  std::vector<std::vector<float>> data;  ///< [tensors][steps, rows, cols]

  void add(const std::string& layer, const std::string& operand, std::int64_t rows, std::int64_t cols,
           unsigned seed) {
    TensorInfo info;
    info.layer = layer, info.operand = operand, info.format = bf16, info.dtype = "bfloat16";
    info.steps = std::ssize(steps), info.rows = info.rows_total = rows, info.cols = cols;
    info.gemms = operand == "w"    ? std::vector<GemmUse>{{"fprop", 2}, {"dgrad", 1}}
                 : operand == "dy" ? std::vector<GemmUse>{{"dgrad", 2}, {"wgrad", 1}}
                                   : std::vector<GemmUse>{{"fprop", 2}, {"wgrad", 1}};
    std::mt19937 random(seed);
    std::student_t_distribution<float> heavy(3.0f);
    std::vector<float> x(info.size());
    for (float& v : x) v = bits_float(float_bits(heavy(random)) & 0xffff0000u);
    tensors.push_back(info);
    data.push_back(std::move(x));
  }
  std::span<float> of_step(std::size_t tensor, std::size_t step) {
    const std::int64_t size = tensors[tensor].rows * tensors[tensor].cols;
    return std::span(data[tensor]).subspan(step * size, size);
  }
  ReplayInput input() const {
    return {"fixture", tensors, steps, &history,
            [this](std::size_t t, std::size_t s, std::int64_t first, std::int64_t count, float* out) {
              const TensorInfo& info = tensors[t];
              std::copy_n(data[t].data() + (s * info.rows + first) * info.cols, count * info.cols, out);
            }};
  }
};

/// Three operands over three steps, with a NaN, an infinity and an outlier.
inline Fixture mixed() {
  Fixture f;
  f.add("L0", "x", 200, 300, 1);
  f.add("L0", "w", 130, 257, 2);
  f.add("L0", "dy", 65, 128, 3);
  f.of_step(0, 1)[1000] = std::numeric_limits<float>::quiet_NaN();
  f.of_step(0, 2)[1001] = std::numeric_limits<float>::infinity();
  f.of_step(1, 0)[5] = 3000.0f;
  return f;
}

}  // namespace fp8scope
