#include "sim/simd/magnitudes.hpp"

#include <algorithm>

#include "sim/bits.hpp"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "sim/simd/magnitudes.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace fp8scope {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;
using Words = hn::ScalableTag<std::uint32_t>;

/// Eight rows at a time: down a whole column at once, every load would miss a cache and a page.
void ColumnMagnitudesTarget(const float* x, std::size_t rows, std::size_t cols,
                            std::uint32_t* column_max) {
  const Words u;
  const std::size_t lanes = hn::Lanes(u);
  const auto mask = hn::Set(u, magnitude_bits);
  const auto* words = reinterpret_cast<const std::uint32_t*>(x);
  std::fill(column_max, column_max + cols, 0u);
  for (std::size_t first = 0; first < rows; first += 8) {
    const std::size_t last = std::min<std::size_t>(first + 8, rows);
    std::size_t c = 0;
    for (; c + lanes <= cols; c += lanes) {
      auto largest = hn::LoadU(u, column_max + c);
      for (std::size_t r = first; r < last; ++r)
        largest = hn::Max(largest, hn::And(hn::LoadU(u, words + r * cols + c), mask));
      hn::StoreU(largest, u, column_max + c);
    }
    for (; c < cols; ++c)
      for (std::size_t r = first; r < last; ++r)
        column_max[c] = std::max(column_max[c], float_bits(x[r * cols + c]) & magnitude_bits);
  }
}

void SegmentMagnitudesTarget(const std::uint32_t* magnitudes, std::size_t n, std::size_t span,
                             std::uint32_t* segment_max) {
  const Words u;
  const std::size_t lanes = hn::Lanes(u);
  for (std::size_t first = 0, k = 0; first < n; first += span, ++k) {
    const std::size_t last = std::min(first + span, n);
    auto largest = hn::Zero(u);
    std::size_t i = first;
    for (; i + lanes <= last; i += lanes)
      largest = hn::Max(largest, hn::LoadU(u, magnitudes + i));
    std::uint32_t result = hn::GetLane(hn::MaxOfLanes(u, largest));
    for (; i < last; ++i) result = std::max(result, magnitudes[i]);
    segment_max[k] = result;
  }
}

void RaiseMagnitudesTarget(const std::uint32_t* from, std::size_t n, std::uint32_t* to) {
  const Words u;
  const std::size_t lanes = hn::Lanes(u);
  std::size_t i = 0;
  for (; i + lanes <= n; i += lanes) hn::StoreU(hn::Max(hn::LoadU(u, from + i), hn::LoadU(u, to + i)), u, to + i);
  for (; i < n; ++i) to[i] = std::max(to[i], from[i]);
}

}  // namespace HWY_NAMESPACE
}  // namespace fp8scope
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace fp8scope {

HWY_EXPORT(ColumnMagnitudesTarget);
HWY_EXPORT(SegmentMagnitudesTarget);
HWY_EXPORT(RaiseMagnitudesTarget);

void column_magnitudes(const float* x, std::size_t rows, std::size_t cols,
                       std::uint32_t* column_max) {
  HWY_DYNAMIC_DISPATCH(ColumnMagnitudesTarget)(x, rows, cols, column_max);
}

void segment_magnitudes(const std::uint32_t* magnitudes, std::size_t n, std::size_t width,
                        std::uint32_t* segment_max) {
  HWY_DYNAMIC_DISPATCH(SegmentMagnitudesTarget)(magnitudes, n, width, segment_max);
}

void raise_magnitudes(const std::uint32_t* from, std::size_t n, std::uint32_t* to) {
  HWY_DYNAMIC_DISPATCH(RaiseMagnitudesTarget)(from, n, to);
}

}  // namespace fp8scope
#endif
