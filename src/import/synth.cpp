#include "src/import/synth.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "sim/names.hpp"
#include "sim/philox.hpp"
#include "src/errors.hpp"
#include "src/import/selection.hpp"
#include "src/stable_log.hpp"

namespace fp8scope {

namespace {

constexpr double ln2 = 0.6931471805599453;
constexpr std::uint32_t purpose_values = 0, purpose_outliers = 1;

struct NamedKind {
  std::string_view name;
  OutlierKind kind;
};

constexpr NamedKind kinds[] = {{"none", OutlierKind::none},
                               {"channel", OutlierKind::channel},
                               {"token", OutlierKind::token},
                               {"random", OutlierKind::random}};

template <std::size_t N>
constexpr double polynomial(const double (&coefficient)[N], double x) {
  double sum = 0.0;
  for (const double c : coefficient) sum = sum * x + c;
  return sum;
}

constexpr double center_top[] = {
    2509.0809287301226727, 33430.575583588128105, 67265.770927008700853, 45921.953931549871457,
    13731.693765509461125, 1971.5909503065514427, 133.14166789178437745, 3.3871328727963666080};
constexpr double center_bottom[] = {
    5226.4952788528545610, 28729.085735721942674, 39307.895800092710610, 21213.794301586595867,
    5394.1960214247511077, 687.18700749205790830, 42.313330701600911252, 1.0};
constexpr double middle_top[] = {
    7.74545014278341407640e-4, 2.27238449892691845833e-2, 2.41780725177450611770e-1,
    1.27045825245236838258,    3.64784832476320460504,    5.76949722146069140550,
    4.63033784615654529590,    1.42343711074968357734};
constexpr double middle_bottom[] = {
    1.05075007164441684324e-9, 5.47593808499534494600e-4, 1.51986665636164571966e-2,
    1.48103976427480074590e-1, 6.89767334985100004550e-1, 1.67638483018380384940,
    2.05319162663775882187,    1.0};
constexpr double far_top[] = {
    2.01033439929228813265e-7, 2.71155556874348757815e-5, 1.24266094738807843860e-3,
    2.65321895265761230930e-2, 2.96560571828504891230e-1, 1.78482653991729133580,
    5.46378491116411436990,    6.65790464350110377720};
constexpr double far_bottom[] = {
    2.04426310338993978564e-15, 1.42151175831644588870e-7, 1.84631831751005468180e-5,
    7.86869131145613259100e-4,  1.48753612908506148525e-2, 1.36929880922735805310e-1,
    5.99832206555887937690e-1,  1.0};

double normal_quantile(double p) {
  const double q = p - 0.5;
  if (std::fabs(q) <= 0.425) {
    const double r = 0.180625 - q * q;
    return q * polynomial(center_top, r) / polynomial(center_bottom, r);
  }
  const double r = std::sqrt(-stable_log2(q <= 0.0 ? p : 1.0 - p) * ln2);
  const double x = r <= 5.0 ? polynomial(middle_top, r - 1.6) / polynomial(middle_bottom, r - 1.6)
                            : polynomial(far_top, r - 5.0) / polynomial(far_bottom, r - 5.0);
  return q < 0.0 ? -x : x;
}

double laplace_quantile(double p) {
  const double tail = stable_log2(2.0 * std::min(p, 1.0 - p)) * ln2 * 0.7071067811865476;
  return p < 0.5 ? tail : -tail;
}

std::uint64_t fnv1a(std::string_view text) {
  std::uint64_t hash = 0xcbf29ce484222325u;
  for (const char c : text) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3u;
  return hash;
}

PhiloxWords counter(std::uint64_t low, std::uint64_t high) {
  return {{static_cast<std::uint32_t>(low), static_cast<std::uint32_t>(low >> 32),
           static_cast<std::uint32_t>(high), static_cast<std::uint32_t>(high >> 32)}};
}

/// The `count` positions of `extent` with the smallest random words.
std::vector<bool> choose(const TensorStream& stream, std::int64_t extent, double share) {
  const auto wanted = static_cast<std::size_t>(
      std::clamp<std::int64_t>(std::llround(share * static_cast<double>(extent)), 1, extent));
  std::vector<std::pair<std::uint32_t, std::size_t>> order(static_cast<std::size_t>(extent));
  for (std::size_t i = 0; i < order.size(); ++i) order[i] = {stream.bits(purpose_outliers, i), i};
  std::ranges::nth_element(order, order.begin() + static_cast<std::ptrdiff_t>(wanted) - 1);
  std::vector<bool> chosen(order.size());
  for (std::size_t i = 0; i < wanted; ++i) chosen[order[i].second] = true;
  return chosen;
}

}  // namespace

double quantile(Distribution distribution, double p) {
  switch (distribution) {
    case Distribution::normal: return normal_quantile(p);
    case Distribution::laplace: return laplace_quantile(p);
    case Distribution::uniform: break;
  }
  return (p - 0.5) * 3.4641016151377544;
}

OutlierSpec parse_outliers(std::string_view text) {
  std::vector<std::string_view> parts;
  for (std::size_t at = 0; at <= text.size();) {
    const std::size_t end = std::min(text.find(':', at), text.size());
    parts.push_back(text.substr(at, end - at));
    at = end + 1;
  }
  OutlierSpec spec;
  spec.kind = by_name(kinds, parts[0], "kind of outliers").kind;
  for (std::size_t i = 1; i < parts.size(); ++i) {
    const std::size_t equal = std::min(parts[i].find('='), parts[i].size());
    const std::string_view key = parts[i].substr(0, equal),
                           value = parts[i].substr(std::min(equal + 1, parts[i].size()));
    if (key == "share")
      spec.share = parse_positive(value, "--outliers: share");
    else if (key == "ratio")
      spec.ratio = parse_positive(value, "--outliers: ratio");
    else
      throw UsageError(fmt::format("--outliers: unknown option '{}'; known: share, ratio", key));
  }
  if (spec.share > 1) throw UsageError("--outliers: share is a part of the tensor, at most 1");
  return spec;
}

std::string outliers_text(const OutlierSpec& spec) {
  const auto row = std::ranges::find(kinds, spec.kind, &NamedKind::kind);
  if (spec.kind == OutlierKind::none) return std::string(row->name);
  return fmt::format("{}:share={}:ratio={}", row->name, spec.share, spec.ratio);
}

TensorStream::TensorStream(std::uint64_t seed, std::string_view tensor_name, std::int64_t step) {
  const PhiloxWords words =
      philox4x32(counter(fnv1a(tensor_name), static_cast<std::uint64_t>(step)), seed);
  key_ = words.word[0] | std::uint64_t{words.word[1]} << 32;
}

std::uint32_t TensorStream::bits(std::uint32_t purpose, std::uint64_t index) const {
  return philox4x32(counter(index / 4, purpose), key_).word[index % 4];
}

void TensorStream::fill(Distribution distribution, double sigma, std::uint64_t first,
                        std::span<float> out) const {
  PhiloxWords words{};
  for (std::size_t i = 0; i < out.size(); ++i) {
    const std::uint64_t index = first + i;
    if (i == 0 || index % 4 == 0) words = philox4x32(counter(index / 4, purpose_values), key_);
    const double p = (words.word[index % 4] + 0.5) * 0x1p-32;
    out[i] = static_cast<float>(sigma * quantile(distribution, p));
  }
}

Outliers::Outliers(const OutlierSpec& spec, std::uint64_t seed, std::string_view tensor_name,
                   std::int64_t step, std::int64_t rows, std::int64_t cols)
    : spec_(spec),
      // Channels keep their place: their stream knows no step.
      stream_(seed, tensor_name, spec.kind == OutlierKind::channel ? -1 : step), cols_(cols) {
  if (spec_.kind == OutlierKind::channel) chosen_ = choose(stream_, cols, spec_.share);
  if (spec_.kind == OutlierKind::token) chosen_ = choose(stream_, rows, spec_.share);
}

void Outliers::inject(std::int64_t first, std::int64_t count, float* values,
                      std::vector<OutlierPlace>* places) const {
  if (spec_.kind == OutlierKind::none) return;
  const auto ratio = static_cast<float>(spec_.ratio);
  const double limit = spec_.share * 0x1p32;
  for (std::int64_t row = first; row < first + count; ++row)
    for (std::int64_t col = 0; col < cols_; ++col, ++values) {
      const bool single = spec_.kind == OutlierKind::random;
      const bool hit =
          single ? stream_.bits(purpose_outliers, static_cast<std::uint64_t>(row * cols_ + col)) < limit
                 : chosen_[static_cast<std::size_t>(spec_.kind == OutlierKind::token ? row : col)];
      if (!hit) continue;
      *values *= ratio;
      if (single && places) places->push_back({row, col});
    }
}

std::vector<OutlierPlace> Outliers::places() const {
  std::vector<OutlierPlace> places;
  for (std::size_t i = 0; i < chosen_.size(); ++i) {
    const auto at = static_cast<std::int64_t>(i);
    if (chosen_[i])
      places.push_back(spec_.kind == OutlierKind::token ? OutlierPlace{at, -1} : OutlierPlace{-1, at});
  }
  return places;
}

}  // namespace fp8scope
