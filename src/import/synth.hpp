#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace fp8scope {

/// How the elements of a synthetic tensor are distributed, all with variance 1.
enum class Distribution : std::uint8_t { normal, uniform, laplace };

struct NamedDistribution {
  std::string_view name;
  Distribution distribution;
};

inline constexpr NamedDistribution distributions[] = {{"normal", Distribution::normal},
                                                      {"uniform", Distribution::uniform},
                                                      {"laplace", Distribution::laplace}};

/// The quantile of a distribution with mean 0 and variance 1 at 0 < p < 1, from the four operations
/// of IEEE 754 and the square root alone: the same bits on every machine.
/// Source of the normal one: Wichura, Algorithm AS 241, Applied Statistics 37 (1988).
double quantile(Distribution distribution, double p);

enum class OutlierKind : std::uint8_t {
  none,
  channel,  ///< some columns, the same ones at every step
  token,    ///< some rows, others at every step
  random,   ///< single elements, others at every step
};

/// Which elements of a tensor are multiplied by what.
struct OutlierSpec {
  OutlierKind kind = OutlierKind::none;
  double share = 0.01;  ///< of the columns, rows or elements; at least one column or row
  double ratio = 100;   ///< the factor
  friend bool operator==(const OutlierSpec&, const OutlierSpec&) = default;
};

/// "none" or KIND[:share=F][:ratio=F], for instance "token:share=0.01:ratio=1e4". Throws UsageError.
OutlierSpec parse_outliers(std::string_view text);
std::string outliers_text(const OutlierSpec& spec);

/// Random streams of one tensor: what they give depends on the seed, the tensor's name, the step and
/// the position of an element alone, so that no other tensor, panel or thread changes them.
class TensorStream {
 public:
  TensorStream(std::uint64_t seed, std::string_view tensor_name, std::int64_t step);
  /// Elements [first, first + out.size()) of the tensor in row-major order, times sigma.
  void fill(Distribution distribution, double sigma, std::uint64_t first, std::span<float> out) const;
  /// 32 random bits of element `index` for `purpose`, which tells streams apart.
  std::uint32_t bits(std::uint32_t purpose, std::uint64_t index) const;

 private:
  std::uint64_t key_;
};

/// Where an outlier lies; -1 where it is everywhere along that axis.
struct OutlierPlace {
  std::int64_t row, col;
};

/// The outliers of one tensor at one step.
class Outliers {
 public:
  Outliers(const OutlierSpec& spec, std::uint64_t seed, std::string_view tensor_name,
           std::int64_t step, std::int64_t rows, std::int64_t cols);
  /// Multiplies those in rows [first, first + count); one rounding to binary32 each.
  ///
  /// values  [count, cols]
  /// places  receives those that are single elements; may be null
  void inject(std::int64_t first, std::int64_t count, float* values,
              std::vector<OutlierPlace>* places = nullptr) const;
  /// The columns or rows chosen, ascending; none of the kind random, whose places inject() gives.
  std::vector<OutlierPlace> places() const;

 private:
  OutlierSpec spec_;
  TensorStream stream_;
  std::int64_t cols_;
  std::vector<bool> chosen_;  ///< [cols] or [rows]
};

}  // namespace fp8scope
