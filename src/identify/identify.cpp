#include "src/identify/identify.hpp"

#include <fmt/format.h>
#include <tbb/parallel_for.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "sim/amax.hpp"
#include "sim/operand.hpp"
#include "sim/recipes/make.hpp"
#include "sim/tensor_cast.hpp"
#include "src/errors.hpp"
#include "src/identify/suspects.hpp"

namespace fp8scope {
namespace {

constexpr std::size_t changed_from = 12;   // recipes that are tried with a key changed
constexpr std::size_t changed_again = 16;  // of these, with a second one

/// What every suspect is measured against.
class Bench {
 public:
  explicit Bench(const CodedTensor& dump) : dump_(dump), grid_(dump.grid()) {
    for (const AmaxRule rule : {AmaxRule::ignore_nan, AmaxRule::propagate_nan}) {
      std::vector<float>& amaxes = amaxes_[static_cast<int>(rule)];
      amaxes.resize(grid_.blocks());
      block_amax(rule, grid_, dump.x, amaxes);
    }
    find_direction();
  }
  bool multipliers() const { return multipliers_; }
  const std::vector<float>& amaxes(AmaxRule rule) const { return amaxes_[static_cast<int>(rule)]; }

  /// Scales of all blocks, codes of the rows below `rows`.
  Match measure(const Suspect& suspect, std::int64_t rows) const {
    Match match{suspect, {}, {}};
    const Plan plan = plan_of(suspect.cast);
    const BlockGrid own(dump_.rows, dump_.cols, plan.block);
    const bool other_grid = own.down() != grid_.down() || own.across() != grid_.across();
    if (other_grid || plan.hadamard.size > 0 || plan.select != Select::none || plan.scope == Scope::row)
      return measure_whole(suspect, plan, own);
    ScaleRule rule = rule_of(suspect.cast, suspect.kind);
    const std::vector<float>& amaxes = this->amaxes(plan.amax_rule);
    if (plan.scope == Scope::tensor) rule = with_tensor_amax(rule, amax(plan.amax_rule, amaxes));
    std::vector<Scales> scales(amaxes.size());
    for (std::size_t b = 0; b < amaxes.size(); ++b) {
      scales[b] = block_scales(rule, amaxes[b]);
      compare_scale(match.scales, static_cast<std::int64_t>(b), scales[b], plan,
                    plan.storage == ScaleStorage::e4m3 ? stored_scale(rule, plan.storage, amaxes[b]) : 0);
    }
    for (std::int64_t r = 0; r < std::min(rows, dump_.rows); ++r)
      for (std::int64_t c = 0; c < dump_.cols; ++c) {
        const std::int64_t i = grid_.element(r, c);
        const float scale = scales[grid_.block(r, c)].scale, x = dump_.x[i];
        const std::uint32_t code = encode(plan.format, plan.apply == Apply::divide ? x / scale : x * scale, plan.cast);
        match.codes.add(dump_.format, i, dump_.codes[i], code);
      }
    return match;
  }

 private:
  /// By the plain code, for recipes whose blocks need more than their amax. Their tiles may be larger than the dump's,
  /// which repeats their scales.
  Match measure_whole(const Suspect& suspect, const Plan& plan, const BlockGrid& own) const {
    Match match{suspect, {}, {}};
    const TensorCodes made = cast_tensor(plan, rule_of(suspect.cast, suspect.kind), own, false, dump_.x);
    for (std::int64_t d = 0; d < grid_.down(); ++d)
      for (std::int64_t a = 0; a < grid_.across(); ++a) {
        const std::int64_t block = own.block(d * grid_.block_rows, a * grid_.block_cols);
        compare_scale(match.scales, d * grid_.across() + a, made.scales[block], plan, made.stored[block]);
      }
    match.codes = diff_codes(dump_.format, dump_.codes, made.codes);
    return match;
  }

  /// Factors dequantise: value * factor is near x. Multipliers do the opposite.
  void find_direction() {
    double as_factor = 0.0, as_multiplier = 0.0;
    const auto step = std::max<std::int64_t>(1, std::ssize(dump_.x) / 65536);
    for (std::int64_t i = 0; i < std::ssize(dump_.x); i += step) {
      const float value = decode(dump_.format, dump_.codes[i]), s = dump_.factors[grid_.block(i / dump_.cols, i % dump_.cols)];
      const float x = dump_.x[i];
      if (!is_finite(x) || !is_finite(value) || !is_finite(s) || s == 0.0f || value == 0.0f || x == 0.0f) continue;
      as_factor += std::fabs(std::log(std::fabs(double{value} * s / x)));
      as_multiplier += std::fabs(std::log(std::fabs(double{value} / s / x)));
    }
    multipliers_ = !dump_.scale_codes && as_multiplier < as_factor;
  }

  /// `stored` counts for E4M3 factors only.
  void compare_scale(CodeDiff& diff, std::int64_t b, const Scales& scales, const Plan& plan, std::uint32_t stored) const {
    if (!dump_.scale_codes) {
      const float mine = multipliers_ ? plan.apply == Apply::divide ? 1.0f / scales.scale : scales.scale : scales.scale_inv;
      return diff.add(fp32, b, dump_.stored[b], float_bits(mine));
    }
    if (*dump_.scale_codes != e8m0) {  // the block factor of two levels
      return diff.add(*dump_.scale_codes, b, dump_.stored[b], plan.storage == ScaleStorage::e4m3 ? stored : 0x7fu);
    }
    const bool power = is_nan(scales.scale_inv) || e8m0_scales(e8m0_code(scales.scale_inv)).scale_inv == scales.scale_inv;
    // Binary32 factors never make E8M0 bytes: as far off as can be.
    diff.add(e8m0, b, dump_.stored[b], power ? e8m0_code(scales.scale_inv) : dump_.stored[b] ^ 0x80u);
  }

  const CodedTensor& dump_;
  BlockGrid grid_;
  std::vector<float> amaxes_[2];
  bool multipliers_ = false;
};

std::vector<Match> measure_all(const Bench& bench, const std::vector<Suspect>& suspects, std::int64_t rows) {
  std::vector<Match> matches(suspects.size());
  tbb::parallel_for(std::size_t{0}, suspects.size(), [&](std::size_t i) { matches[i] = bench.measure(suspects[i], rows); });
  std::ranges::stable_sort(matches, {}, &Match::off);
  return matches;
}

/// Floors that the dump itself shows: the factor shared by several blocks and smaller than any other, times MAX.
std::vector<std::string> floors_seen(const CodedTensor& dump, bool multipliers) {
  if (dump.scale_codes || dump.factors.size() < 4) return {};
  float low = std::numeric_limits<float>::infinity();
  for (const float s : dump.factors)
    if (const float factor = multipliers ? 1.0f / s : s; is_finite(factor) && factor > 0.0f) low = std::min(low, factor);
  const auto times = std::ranges::count_if(dump.factors, [&](float s) { return (multipliers ? 1.0f / s : s) == low; });
  if (times < 2 || !is_finite(low)) return {};
  return {fmt::format("{:.3g}", low * dump.format.max_value())};
}

/// The same cast, or one that a key less explains as well.
bool says_no_more(const Match& match, const Match& than) {
  if (match.suspect.cast == than.suspect.cast) return true;
  if (match.off() < than.off()) return false;
  return std::ranges::all_of(than.suspect.edits, [&](const RecipeSetting& edit) {
    return std::ranges::find(match.suspect.edits, edit) != match.suspect.edits.end();
  });
}

bool another_name(const std::vector<Match>& matches, const Match& match) {
  return std::ranges::none_of(matches, [&](const Match& m) { return recipe_name(m.suspect.spec) == recipe_name(match.suspect.spec); });
}

/// The ratio of the amax behind a single factor to that of the tensor.
double ratio_to_own_amax(const CodedTensor& dump, const Bench& bench) {
  const float amax = bench.amaxes(AmaxRule::ignore_nan)[0];
  const double factor = bench.multipliers() ? 1.0 / dump.factors[0] : dump.factors[0];
  return factor * dump.format.max_value() / amax;
}

}  // namespace

Identity identify(const CodedTensor& dump, const IdentifyOptions& options) {
  if (!dump.has_x) throw DataError(fmt::format("{}: there is no x to make codes from; name it with --x", dump.where));
  // Recipes lay tiles along the columns.
  if (dump.block.cols == 1 && dump.block.rows != 1 && dump.cols > 1) return identify(transposed(dump), options);
  const Bench bench(dump);
  Identity identity;
  identity.multipliers = bench.multipliers();
  const std::int64_t rows = std::clamp<std::int64_t>(options.search_elements / std::max<std::int64_t>(1, dump.cols), 1, dump.rows);
  std::vector<Match> named = measure_all(bench, named_suspects(dump), rows);
  const auto on_all_rows = [&](std::vector<Match>& matches) {
    if (rows == dump.rows) return;
    std::vector<Suspect> suspects;
    for (const Match& match : matches) suspects.push_back(match.suspect);
    matches = measure_all(bench, suspects, dump.rows);
  };
  std::vector<Match> exact, nearest;
  for (const Match& match : named)
    if (match.exact()) exact.push_back(match);
  on_all_rows(exact);
  for (const Match& match : exact) (match.exact() ? identity.exact : nearest).push_back(match);
  for (const Match& match : named)
    if (!match.exact() && nearest.size() < options.nearest && another_name(nearest, match)) nearest.push_back(match);
  on_all_rows(nearest);
  identity.nearest = nearest;
  if (!identity.exact.empty()) return identity;

  // One key, then a second where the first has not done it.
  const std::vector<std::string> floors = floors_seen(dump, bench.multipliers());
  std::vector<Suspect> first;
  for (std::size_t i = 0; i < std::min(named.size(), changed_from); ++i)
    for (Suspect& s : changed_suspects(named[i].suspect, floors)) first.push_back(std::move(s));
  std::vector<Match> once = measure_all(bench, first, rows);
  std::vector<Match> best;
  const double unchanged = named.empty() ? std::numeric_limits<double>::infinity() : named[0].off();
  const auto keep = [&](const std::vector<Match>& matches) {
    for (const Match& match : matches) {
      const bool better = match.exact() || (best.size() < options.nearest && match.off() < unchanged);
      if (better && std::ranges::none_of(best, [&](const Match& m) { return says_no_more(match, m); })) best.push_back(match);
    }
  };
  keep(once);
  if (std::ranges::none_of(best, &Match::exact)) {
    std::vector<Suspect> second;
    for (std::size_t i = 0; i < std::min(once.size(), changed_again); ++i)
      for (Suspect& s : changed_suspects(once[i].suspect, floors)) second.push_back(std::move(s));
    best.clear();
    std::vector<Match> twice = measure_all(bench, second, rows);
    twice.insert(twice.end(), once.begin(), once.end());
    std::ranges::stable_sort(twice, {}, [](const Match& m) { return std::pair(m.off(), m.suspect.edits.size()); });
    keep(twice);
  }
  if (best.size() > 4 * options.nearest) best.resize(4 * options.nearest);
  on_all_rows(best);
  identity.changed = best;
  const bool explained = std::ranges::any_of(best, &Match::exact);
  if (dump.grid().blocks() == 1 && !explained && (nearest.empty() || nearest[0].scales.differ > 0))
    identity.delayed_ratio = ratio_to_own_amax(dump, bench);
  return identity;
}

}  // namespace fp8scope
