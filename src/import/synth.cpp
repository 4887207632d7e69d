#include "src/import/synth.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "sim/names.hpp"
#include "sim/philox.hpp"
#include "src/errors.hpp"
#include "src/import/selection.hpp"
#include "src/random_values.hpp"

namespace fp8scope {

namespace {

constexpr std::uint32_t purpose_values = 0, purpose_outliers = 1;

struct NamedKind {
  std::string_view name;
  OutlierKind kind;
};

constexpr NamedKind kinds[] = {{"none", OutlierKind::none},
                               {"channel", OutlierKind::channel},
                               {"token", OutlierKind::token},
                               {"random", OutlierKind::random}};

double laplace_quantile(double p) {
  const double tail = stable_ln(2.0 * std::min(p, 1.0 - p)) * 0.7071067811865476;
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
