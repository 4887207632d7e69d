#include "src/probe.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <mutex>
#include <numeric>

#include "src/parallel.hpp"
#include "src/probe_data.hpp"

namespace fp8scope {
namespace {

/// The place of `sum` where a unit's smallest number is: 1.5 or 2 units of the last place, less a term that
/// only a low enough floor of the alignment keeps.
DotBatch floor_batch(const MatrixUnit& unit, std::size_t k) {
  const ExponentRange ra = exponent_range(unit.a_format), rb = exponent_range(unit.b_format);
  const int unit_exponent = unit.output == "f16" ? -24 : -149;
  DotBatch batch(unit, k);
  for (const double base : {1.5, 2.0, 0.5, 1.0})
    for (int j = 0; j < 40; ++j) {
      const int e = unit_exponent - j;
      const auto split = [&](int exponent) {
        const int ea = std::clamp(exponent / 2, ra.least, ra.largest);
        return std::pair(ea, exponent - ea);
      };
      const auto power = [](int exponent) { return bits_float(static_cast<std::uint32_t>(exponent + 127) << 23); };
      const auto [sa, sb] = split(e);
      const auto [ha, hb] = split(unit_exponent - 1);
      if (sb < rb.least || hb < rb.least || sb > rb.largest || hb > rb.largest) continue;
      for (const bool negative : {true, false}) {
        batch.start(0);
        const auto halves = static_cast<std::size_t>(2 * base);  // halves of the last place
        for (std::size_t i = 0; i < halves; ++i)
          batch.set(i, operand_word(unit.a_format, power(ha)), operand_word(unit.b_format, power(hb)));
        batch.set(halves, operand_word(unit.a_format, negative ? -power(sa) : power(sa)), operand_word(unit.b_format, power(sb)));
      }
    }
  return batch;
}

std::size_t mismatches(const RecordedProduct& dump, const ProductModel& model, std::size_t most) {
  std::size_t differ = 0;
  for (std::size_t i = 0; i < dump.words() && differ <= most; ++i)
    differ += !same_word(dump, dump.d[i], recompute_word(dump, model, i), false);
  return differ;
}

/// A dump's rows in an order in which a wrong model fails soon: every class in turn.
std::vector<std::pair<std::size_t, std::size_t>> mixed_order(const std::vector<RecordedProduct>& words) {
  std::vector<std::pair<std::size_t, std::size_t>> order;
  std::size_t longest = 0;
  for (const RecordedProduct& dump : words) longest = std::max(longest, dump.words());
  for (std::size_t i = 0; i < longest; ++i)
    for (std::size_t d = 0; d < words.size(); ++d)
      if (i < words[d].words()) order.push_back({d, i});
  return order;
}

bool fits(const std::vector<RecordedProduct>& words, const std::vector<std::pair<std::size_t, std::size_t>>& order, const Model& model) {
  const ProductModel m{"", model, {}};
  return std::ranges::all_of(order, [&](const auto& at) {
    const RecordedProduct& dump = words[at.first];
    return same_word(dump, dump.d[at.second], recompute_word(dump, m, at.second), false);
  });
}

std::vector<Model> search_grid(const MatrixUnit& unit) {
  const bool half = unit.output == "f16";
  std::vector<Model> grid;
  const std::size_t most_terms = 2 * unit.k;
  for (int terms = 1; terms <= static_cast<int>(most_terms); terms *= 2)
    for (int f = 0; f <= 40; ++f)
      for (const bool nearest : {false, true})
        for (const Cut cut : {Cut::toward_zero, Cut::floor, Cut::nearest_even})
          for (const Join join : {Join::inside, Join::outside})
            for (int bits = half ? 10 : 0; bits <= (half ? 10 : 23); ++bits) {
              Model m;
              m.terms = terms, m.fraction_bits = f, m.cut = cut, m.join = join;
              m.result = half ? Result{10, -14, 15, nearest} : Result{bits, -126, 127, nearest};
              m.scale_block = unit.scale_block, m.scale_format = unit.scale_format;
              if (m.scale_block != 0 && m.terms % m.scale_block != 0) continue;
              grid.push_back(m);
            }
  return grid;
}

std::string join_names(const std::vector<std::string>& names) {
  return fmt::format("{}", fmt::join(names, " or "));
}

}  // namespace

std::vector<RecordedProduct> probe_words(MatrixUnit& unit, const ProbeOptions& options) {
  std::vector<RecordedProduct> dumps;
  const auto add = [&](const std::string& name, const DotBatch& batch) {
    if (batch.size() > 0) dumps.push_back(batch.dump(name, batch.run(unit)));
  };
  std::uint64_t seed = options.seed * 100;
  for (const InputClass& c : input_classes()) add(c.name, random_batch(unit, c.name, 2 * unit.k, options.per_class, seed++));
  add("floor", floor_batch(unit, 2 * unit.k));
  return dumps;
}

std::vector<RowScore> score_rows(const MatrixUnit& unit, const std::vector<RecordedProduct>& words) {
  std::vector<const ModelRow*> rows;
  for (const ModelRow& row : model_rows())
    if (row.name != "custom" && row.output == unit.output && accepts(row, unit.a_format, unit.b_format) &&
        row.model.scale_block == unit.scale_block && (unit.scale_block == 0 || row.model.scale_format == unit.scale_format))
      rows.push_back(&row);
  std::vector<RowScore> scores(rows.size());
  run_in_parallel(rows.size(), [&](std::size_t i) {
    scores[i].name = rows[i]->name;
    for (const RecordedProduct& dump : words) scores[i].differ += mismatches(dump, {scores[i].name, rows[i]->model, {}}, dump.words());
  });
  std::ranges::stable_sort(scores, {}, &RowScore::differ);
  return scores;
}

std::vector<Model> search_models(const MatrixUnit& unit, const std::vector<RecordedProduct>& words) {
  const auto order = mixed_order(words);
  const std::vector<Model> grid = search_grid(unit);
  std::vector<std::uint8_t> good(grid.size());
  constexpr std::size_t chunk = 64;
  // The floor is searched afterwards: here the words that need it stand aside.
  std::vector<std::pair<std::size_t, std::size_t>> common;
  for (const auto& at : order)
    if (words[at.first].name != "floor" && words[at.first].name != "tiny") common.push_back(at);
  run_in_parallel((grid.size() + chunk - 1) / chunk, [&](std::size_t task) {
    for (std::size_t i = task * chunk; i < std::min(grid.size(), (task + 1) * chunk); ++i) good[i] = fits(words, common, grid[i]);
  });
  std::vector<Model> found;
  for (std::size_t i = 0; i < grid.size(); ++i) {
    if (good[i] == 0) continue;
    // Floors that the sources name first; then all.
    std::vector<int> floors{-133, -132, -131, -22, -21, -20};
    for (int e = -160; e <= 0; ++e) floors.push_back(e);
    for (const UnderflowSign sign : {UnderflowSign::kept, UnderflowSign::positive}) {
      Model m = grid[i];
      m.underflow_sign = sign;
      const auto floor = std::ranges::find_if(floors, [&](int e) {
        m.floor_exponent = e;
        return fits(words, order, m);
      });
      if (floor == floors.end()) continue;
      m.floor_exponent = *floor;
      found.push_back(m);
      break;
    }
  }
  return found;
}

ProbeReport probe_unit(MatrixUnit& unit, const ProbeOptions& options) {
  ProbeReport report;
  std::size_t layout_words = 0;
  const std::size_t wrong = wrong_layout_words(unit, unit.m * unit.n > 1 ? 16 : 512, layout_words);
  report.layout_ok = wrong == 0;
  report.readings.push_back({"P0", "small integers, exact in every model", fmt::format("{} of {} words wrong", wrong, layout_words)});
  if (!report.layout_ok) {
    report.verdict = "not probed: the layout of operands or results is wrong";
    return report;
  }
  for (Reading& r : read_probes(unit)) report.readings.push_back(std::move(r));
  const std::vector<RecordedProduct> words = probe_words(unit, options);
  for (const RecordedProduct& dump : words) report.words += dump.words();
  report.rows = score_rows(unit, words);
  for (const RowScore& row : report.rows)
    if (row.differ == 0) report.same.push_back(row.name);
  if (options.search) report.fits = search_models(unit, words);
  if (!report.same.empty()) {
    report.verdict = join_names(report.same);
  } else {
    report.verdict = "none of the table";
    if (!report.rows.empty())
      report.verdict += fmt::format(" (nearest: {}, {} of {} words differ)", report.rows.front().name, report.rows.front().differ, report.words);
    if (!report.fits.empty()) report.verdict += "; custom:" + model_text(report.fits.front());
    if (report.fits.size() > 1) report.verdict += fmt::format(" and {} more that these words do not tell apart", report.fits.size() - 1);
  }
  return report;
}

}  // namespace fp8scope
