#include "src/tensor_facts.hpp"

#include <tbb/enumerable_thread_specific.h>
#include <tbb/parallel_for.h>

#include <algorithm>
#include <cmath>
#include <mutex>
#include <utility>

#include "sim/bits.hpp"
#include "sim/simd/error_sums.hpp"
#include "src/column_maxima.hpp"

namespace fp8scope {
namespace {

constexpr std::size_t buckets = 1u << 15;  // exponent and seven mantissa bits: one bfloat16 each
constexpr std::size_t inf_bucket = inf_bits >> 16;

}  // namespace

namespace {

/// Elements by the top 15 bits of their magnitude, all zero when unused. Two copies, because
/// neighbours of equal magnitude would else wait for each other's store.
struct Buckets {
  std::array<std::vector<std::uint32_t>, 2> copy{std::vector<std::uint32_t>(buckets),
                                                 std::vector<std::uint32_t>(buckets)};
  std::uint64_t counted = 0;

  void add(const float* x, std::int64_t n) {
    std::int64_t i = 0;
    for (; i + 1 < n; i += 2) {
      ++copy[0][(float_bits(x[i]) & magnitude_bits) >> 16];
      ++copy[1][(float_bits(x[i + 1]) & magnitude_bits) >> 16];
    }
    if (i < n) ++copy[0][(float_bits(x[i]) & magnitude_bits) >> 16];
    counted += n;
  }
  /// Adds the counts to `total` and clears them. From the top down, and only as far as there is
  /// something: a tensor uses few of the buckets.
  void drain(std::vector<std::uint64_t>& total) {
    for (std::size_t b = buckets; b-- > 0 && counted > 0;) {
      const std::uint64_t here = std::uint64_t{copy[0][b]} + copy[1][b];
      copy[0][b] = copy[1][b] = 0;
      total[b] += here;
      counted -= here;
    }
  }
};

/// Buckets to borrow: clearing fresh ones for every tensor would cost more than counting.
class BucketPool {
 public:
  std::unique_ptr<Buckets> take() {
    const std::lock_guard lock(mutex_);
    if (free_.empty()) return std::make_unique<Buckets>();
    auto taken = std::move(free_.back());
    free_.pop_back();
    return taken;
  }
  void give(std::unique_ptr<Buckets> buckets) {
    const std::lock_guard lock(mutex_);
    free_.push_back(std::move(buckets));
  }

 private:
  std::mutex mutex_;
  std::vector<std::unique_ptr<Buckets>> free_;
};

BucketPool& pool() {
  static BucketPool instance;
  return instance;
}

}  // namespace

/// Counts of each thread. Integers, so the order in which threads are added does not matter.
struct TensorFacts::Counters {
  explicit Counters(std::int64_t cols) : columns(cols) {}
  tbb::enumerable_thread_specific<std::unique_ptr<Buckets>> of_thread{[] { return pool().take(); }};
  ColumnMaxima columns;
};

TensorFacts::TensorFacts(std::int64_t rows, std::int64_t cols)
    : rows_(rows), cols_(cols), columns_(cols), column_numbers_(cols), row_power_(rows), magnitudes_(buckets),
      counters_(std::make_unique<Counters>(cols)) {}
TensorFacts::~TensorFacts() = default;
TensorFacts::TensorFacts(TensorFacts&&) noexcept = default;

void TensorFacts::add(std::int64_t first, std::int64_t count, const float* x) {
  const std::int64_t tiles = (count + tile_rows - 1) / tile_rows;
  std::vector<MomentSums> sums(tiles);
  tbb::parallel_for(std::int64_t{0}, tiles, [&](std::int64_t tile) {
    Buckets& mine = *counters_->of_thread.local();
    const std::int64_t begin = tile * tile_rows, last = std::min(begin + tile_rows, count);
    for (std::int64_t r = begin; r < last; ++r) {
      const float* row = x + r * cols_;
      const MomentSums row_sums = moment_sums({row, static_cast<std::size_t>(cols_)});
      row_power_[first + r] = row_sums.power2;
      sums[tile].merge(row_sums);
      mine.add(row, cols_);
    }
    counters_->columns.add(x + begin * cols_, last - begin);
  });
  for (const MomentSums& tile : sums) moments_.merge(tile);
  // After each panel: a panel has fewer elements than 32 bits count.
  for (auto& mine : counters_->of_thread) mine->drain(magnitudes_);
}

void TensorFacts::add_summed(std::span<const MomentSums> sums, std::span<const std::uint32_t> buckets,
                             std::uint32_t largest, std::uint32_t largest_number) {
  for (std::int64_t first = 0; first < rows_; first += tile_rows) {
    MomentSums tile;
    for (std::int64_t r = first; r < std::min(first + tile_rows, rows_); ++r) {
      row_power_[r] = sums[r].power2;
      tile.merge(sums[r]);
    }
    moments_.merge(tile);
  }
  for (std::size_t b = 0; b < buckets.size(); ++b) magnitudes_[b] += buckets[b];
  largest_ = largest;
  largest_number_ = largest_number;
}

void TensorFacts::finish() {
  const std::uint64_t top = moments_.finite / 1000;
  std::uint64_t above = 0;
  std::size_t bucket = inf_bucket - 1;
  while (bucket > 0 && above + magnitudes_[bucket] <= top) above += magnitudes_[bucket--];
  bulk_limit_ = bits_float(static_cast<std::uint32_t>(bucket << 16 | 0xffff));
  for (std::size_t b = 0; b < inf_bucket; ++b) exponents_[b >> 7] += magnitudes_[b];
  exponents_[0] -= moments_.zeros;
  counters_->columns.raise(columns_, column_numbers_);
  for (const std::uint32_t bits : columns_) largest_ = std::max(largest_, bits);
  for (const std::uint32_t bits : column_numbers_) largest_number_ = std::max(largest_number_, bits);
  for (auto& mine : counters_->of_thread) pool().give(std::move(mine));
  counters_.reset();
  magnitudes_ = {};
}

double TensorFacts::rms() const {
  return std::sqrt(moments_.power2 / static_cast<double>(moments_.finite));
}

double TensorFacts::kurtosis() const {
  const auto n = static_cast<double>(moments_.finite);
  const double mean = moments_.power1 / n, p2 = moments_.power2 / n;
  const double p3 = moments_.power3 / n, p4 = moments_.power4 / n;
  const double variance = p2 - mean * mean;
  const double fourth = p4 - 4.0 * mean * p3 + 6.0 * mean * mean * p2 - 3.0 * mean * mean * mean * mean;
  return fourth / (variance * variance);
}

}  // namespace fp8scope
