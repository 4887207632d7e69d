#include "src/product_fit.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <mutex>

#include "sim/models.hpp"
#include "src/parallel.hpp"

namespace fp8scope {
namespace {

constexpr std::size_t most_steps = 16;    ///< of an interval whose beginnings are tried one by one
constexpr std::size_t sample_words = 96;  ///< of a dump, to tell near candidates from far ones

std::size_t step_of(const Model& model) { return model.terms == 0 ? 32 : static_cast<std::size_t>(model.terms); }

/// Intervals worth a try: every multiple of 32 products, or of a longer step, up to 1024; then doubling.
std::vector<std::size_t> intervals(const Model& model, std::size_t k) {
  const std::size_t step = std::max<std::size_t>(step_of(model), 32);
  std::vector<std::size_t> all;
  for (std::size_t n = step; n < k && n <= 1024; n += step) all.push_back(n);
  for (std::size_t n = 2048; n < k; n *= 2) all.push_back(n);
  return all;
}

/// Whether no chunk of n products lies in two blocks of scales.
bool fills_blocks(const RecordedProduct& dump, std::size_t n) {
  const auto whole = [n](const ProductScales& s) {
    return s.scale_inv.size() <= 1 || s.grid.block_cols % static_cast<std::int64_t>(n) == 0;
  };
  return whole(dump.scales_a) && whole(dump.scales_b);
}

void add_schedules(const ModelRow& row, const RecordedProduct& dump, std::vector<ProductModel>& candidates) {
  const std::string name(row.name);
  const bool fp32_scales = dump.block_scaled();
  if (!fp32_scales) candidates.push_back({name, row.model, {}});
  std::vector<ScaleOrder> orders{ScaleOrder::plain};
  if (fp32_scales) orders = {ScaleOrder::product, ScaleOrder::first_a, ScaleOrder::first_b};
  const std::size_t step = std::max<std::size_t>(step_of(row.model), 32);
  for (const std::size_t n : intervals(row.model, dump.k))
    for (const ScaleOrder order : orders)
      for (const bool late : {false, true}) {
        if (late && !fp32_scales) continue;
        if (!late || !fills_blocks(dump, n)) candidates.push_back({name, row.model, {n, 0, order, late}});
        if (n > most_steps * step) continue;
        for (std::size_t first = step; first <= n + step && first < dump.k; first += step)
          if (first != n) candidates.push_back({name, row.model, {n, first, order, late}});
      }
}

std::vector<ProductModel> all_candidates(const RecordedProduct& dump) {
  std::vector<ProductModel> candidates;
  const std::string output = dump.output == "f16" ? "f16" : "f32";
  for (const ModelRow& row : model_rows()) {
    if (row.output != output || row.name == "custom" || !accepts(row, dump.a_format, dump.b_format)) continue;
    const bool scaled = row.model.scale_block > 0;
    if (scaled != (dump.scales_per_row > 0)) continue;
    if (!scaled) add_schedules(row, dump, candidates);
    else if (dump.scales_per_row * static_cast<std::size_t>(row.model.scale_block) == dump.k)
      candidates.push_back({std::string(row.name), row.model, {}});
  }
  return candidates;
}

/// Far from `expected` in how many ways.
int distance(const ProductModel& expected, const ProductModel& m) {
  int d = m.model == expected.model ? (m.name == expected.name ? 0 : 1) : 8;
  d += m.schedule.every == expected.schedule.every ? 0 : 4;
  d += m.schedule.first == expected.schedule.first ? 0 : 2;
  d += m.schedule.order == expected.schedule.order ? 0 : 2;
  return d + (m.schedule.late_scale ? 1 : 0);
}

/// Mismatches of a candidate in a sample of every dump; stops beyond `most`.
std::size_t sample_mismatches(const std::vector<const RecordedProduct*>& dumps, const ProductModel& m, bool nan_bits, std::size_t most) {
  std::size_t differ = 0;
  for (std::size_t i = 0; i < sample_words && differ <= most; ++i)
    for (const RecordedProduct* dump : dumps) {
      // Words spread over the product: a step that has no factor in common with most shapes.
      const std::size_t at = i * 7919 % dump->words();
      if (i < dump->words() && !same_word(*dump, dump->d[at], recompute_word(*dump, m, at), nan_bits)) ++differ;
    }
  return differ;
}

bool fits_all(const std::vector<const RecordedProduct*>& dumps, const ProductModel& m, bool nan_bits) {
  return std::ranges::all_of(dumps, [&](const RecordedProduct* dump) {
    const auto words = recompute(*dump, m);
    for (std::size_t i = 0; i < words.size(); ++i)
      if (!same_word(*dump, dump->d[i], words[i], nan_bits)) return false;
    return true;
  });
}

}  // namespace

ProductFits models_that_fit(const std::vector<const RecordedProduct*>& dumps, const ProductModel& expected, bool nan_bits) {
  std::vector<ProductModel> candidates = all_candidates(*dumps.front());
  std::ranges::stable_sort(candidates, {}, [&](const ProductModel& m) { return distance(expected, m); });
  std::vector<std::size_t> differ(candidates.size());
  std::mutex mutex;
  std::size_t least = dumps.size() * sample_words;
  run_in_parallel(candidates.size(), [&](std::size_t i) {
    std::size_t most = 0;
    {
      const std::lock_guard lock(mutex);
      most = least;
    }
    differ[i] = sample_mismatches(dumps, candidates[i], nan_bits, most);
    const std::lock_guard lock(mutex);
    least = std::min(least, differ[i]);
  });
  ProductFits result;
  result.sample_differ = least;
  for (const RecordedProduct* dump : dumps) result.sample += std::min(sample_words, dump->words());
  constexpr std::size_t most_named = 6;
  for (std::size_t i = 0; i < candidates.size(); ++i) {
    if (differ[i] == least && result.closest.size() < most_named) result.closest.push_back(candidates[i]);
    if (differ[i] == 0 && result.fits.size() < most_named && fits_all(dumps, candidates[i], nan_bits))
      result.fits.push_back(candidates[i]);
  }
  return result;
}

std::string difference_text(const ProductModel& expected, const ProductModel& found) {
  std::vector<std::string> parts;
  const Schedule &want = expected.schedule, &got = found.schedule;
  const std::size_t step = step_of(found.model);
  if (found.model != expected.model) parts.push_back(fmt::format("the unit is {}, not {}", found.name, expected.name));
  const auto off_by = [&](std::size_t a, std::size_t b) {
    const std::size_t apart = (a > b ? a - b : b - a) / step;
    return apart == 1 ? fmt::format("off by one step of {} products", step) : fmt::format("off by {} steps of {} products", apart, step);
  };
  if (want.every == 0 && got.every != 0) parts.push_back(fmt::format("it promotes every {} products, and should never", got.every));
  if (want.every != 0 && got.every == 0) parts.push_back(fmt::format("it never promotes, and should every {} products", want.every));
  if (want.every != 0 && got.every != 0) {
    if (want.every != got.every)
      parts.push_back(fmt::format("the promotion interval is {}: {}, not {}", off_by(got.every, want.every), got.every, want.every));
    if (got.first != 0) {
      // Counted within an interval: promoting after the first step is one step late.
      const std::size_t early = got.every - got.first % got.every, late = got.first % got.every;
      parts.push_back(fmt::format("the first promotion comes after {} products, then every {}: {}", got.first, got.every,
                                  early <= late ? off_by(early, 0) + ", early" : off_by(late, 0) + ", late"));
    }
  }
  if (want.every != 0 && got.every != 0 && want.order != got.order)
    parts.push_back("the scales enter in another order");
  if (got.late_scale && (got.first != 0 || want.every != got.every))
    parts.push_back("a chunk takes the scales of its last product");
  return fmt::format("{}", fmt::join(parts, "; "));
}

}  // namespace fp8scope
