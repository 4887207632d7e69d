#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "sim/error_sums.hpp"

namespace fp8scope {

/// Rows that one task sums; the sums of tiles are added in the order of the tiles, so neither
/// threads nor the size of the panels change a bit.
inline constexpr std::int64_t tile_rows = 16;

/// Bins of the exponent histogram: bin i counts 2^(i-127) <= |x| < 2^(i-126); bin 0 the smaller ones
/// that are not zero.
inline constexpr int exponent_bins = 255;

/// What a tensor is before any cast: collected panel by panel, whatever the recipes.
class TensorFacts {
 public:
  TensorFacts(std::int64_t rows, std::int64_t cols);
  ~TensorFacts();
  TensorFacts(TensorFacts&&) noexcept;

  /// Takes in rows [first, first + count); panels come in order, all but the last a multiple of
  /// tile_rows.
  ///
  /// x  [count, cols]
  void add(std::int64_t first, std::int64_t count, const float* x);
  /// The whole tensor, instead of panels, where its rows were summed elsewhere.
  ///
  /// sums     [rows] moment_sums_scalar() of every row
  /// buckets  [2^15] elements by the top 15 bits of their magnitude
  /// largest, largest_number  patterns of the largest magnitude, with and without NaN
  void add_summed(std::span<const MomentSums> sums, std::span<const std::uint32_t> buckets, std::uint32_t largest,
                  std::uint32_t largest_number);
  /// To be called once after the last panel.
  void finish();

  std::int64_t rows() const { return rows_; }
  std::int64_t cols() const { return cols_; }
  const MomentSums& moments() const { return moments_; }
  /// Bits of the largest magnitude; above infinity if there is a NaN. After finish(), as all that follows.
  std::uint32_t largest() const { return largest_; }
  /// The same without NaN.
  std::uint32_t largest_number() const { return largest_number_; }
  /// min |x| over the finite x != 0; 0 where there is none.
  float min_nonzero() const { return moments_.smallest < inf_bits ? bits_float(moments_.smallest) : 0.0f; }
  /// [cols] both by column; zeros after add_summed().
  const std::vector<std::uint32_t>& column_largest() const { return columns_; }
  const std::vector<std::uint32_t>& column_largest_number() const { return column_numbers_; }
  /// [rows] sum x^2 of each row.
  const std::vector<double>& row_power() const { return row_power_; }
  /// Elements with |x| above this are the top: at most 0.1 % of the finite ones, and every element of
  /// the same top 15 bits falls on the same side.
  float bulk_limit() const { return bulk_limit_; }
  const std::array<std::uint64_t, exponent_bins>& exponents() const { return exponents_; }

  /// sqrt(sum x^2 / finite).
  double rms() const;
  /// E[(x - mean)^4] / E[(x - mean)^2]^2: 3 for a normal distribution.
  double kurtosis() const;

 private:
  struct Counters;

  std::int64_t rows_, cols_;
  MomentSums moments_;
  std::uint32_t largest_ = 0, largest_number_ = 0;
  std::vector<std::uint32_t> columns_, column_numbers_;
  std::vector<double> row_power_;
  float bulk_limit_ = 0.0f;
  std::array<std::uint64_t, exponent_bins> exponents_{};
  std::vector<std::uint64_t> magnitudes_;  ///< [2^15] by the top 15 bits of the magnitude
  std::unique_ptr<Counters> counters_;
};

}  // namespace fp8scope
