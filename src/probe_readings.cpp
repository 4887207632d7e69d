// P0 to P11: what each shows, by inputs under which the hypotheses differ.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "sim/convert.hpp"
#include "src/probe.hpp"
#include "src/probe_data.hpp"

namespace fp8scope {
namespace {

/// A unit as the probes use it: products of powers of two, one word out.
class Bench {
 public:
  explicit Bench(MatrixUnit& unit)
      : unit_(unit), a_(exponent_range(unit.a_format)), b_(exponent_range(unit.b_format)), k_(2 * unit.k) {}

  MatrixUnit& unit() const { return unit_; }
  std::size_t k() const { return k_; }
  bool half() const { return unit_.output == "f16"; }
  int result_bits() const { return half() ? 10 : 23; }
  /// Exponents of the largest and of the smallest product of powers of two; the large one leaves room for sums.
  int top() const { return std::min(a_.largest + b_.largest, half() ? 10 : 100); }
  int bottom() const { return std::max(a_.least + b_.least, -120); }

  struct Term {
    std::size_t k;
    double value;  ///< a power of two, or 0; its sign counts
  };

  /// The word of c plus products.
  std::uint32_t word(float c, const std::vector<Term>& terms) {
    DotBatch batch(unit_, k_);
    batch.start(output_word(unit_.output, c));
    for (const Term& t : terms) {
      const auto [a, b] = factors(t.value);
      batch.set(t.k, operand_word(unit_.a_format, a), operand_word(unit_.b_format, b));
    }
    return batch.run(unit_)[0];
  }
  float value(float c, const std::vector<Term>& terms) { return output_value(unit_.output, word(c, terms)); }
  /// Whether a small term survives beside others that cancel.
  bool survives(float c, const std::vector<Term>& terms) { return value(c, terms) != 0.0f; }

 private:
  /// Two powers of two whose product is `value`.
  std::pair<float, float> factors(double value) const {
    if (value == 0) return {0.0f, 0.0f};
    int e = 0;
    std::frexp(value, &e);
    --e;
    int ea = std::clamp(e / 2, a_.least, a_.largest);
    const int eb = std::clamp(e - ea, b_.least, b_.largest);
    ea = e - eb;
    return {std::copysign(static_cast<float>(std::ldexp(1.0, ea)), static_cast<float>(value)), static_cast<float>(std::ldexp(1.0, eb))};
  }

  MatrixUnit& unit_;
  ExponentRange a_, b_;
  std::size_t k_;
};

double p2(int e) { return std::ldexp(1.0, e); }

// P1: A = B = 0 and C = 1 + 2^-j: what of C is left.
Reading read_c_bits(Bench& b) {
  int kept = 0;
  std::uint32_t changed = 0;
  for (int j = 1; j <= b.result_bits(); ++j) {
    const float c = static_cast<float>(1.0 + p2(-j));
    const std::uint32_t word = b.word(c, {});
    changed |= word ^ output_word(b.unit().output, c);
    if (output_value(b.unit().output, word) == c) kept = j;
  }
  return {"P1", "fraction bits of C that come back", fmt::format("{} (changed bits {:08x})", kept, changed)};
}

/// Large j with 2^(top - j) still a product.
int deepest(const Bench& b) { return b.top() - b.bottom(); }

// P2: a small product beside two large ones that cancel, all in the first places.
std::string alignment_bits(Bench& b) {
  int width[2] = {0, 0};
  for (const int sign : {0, 1})
    for (int j = 1; j <= deepest(b); ++j)
      if (b.survives(0.0f, {{0, p2(b.top())}, {1, (sign ? -1 : 1) * p2(b.top() - j)}, {2, -p2(b.top())}})) width[sign] = j;
  const auto text = [&](int w) { return w == deepest(b) ? fmt::format("at least {}", w) : fmt::format("{}", w); };
  if (width[0] == width[1]) return text(width[0]);
  return fmt::format("{} for positive and {} for negative terms: not cut toward zero", text(width[0]), text(width[1]));
}

// P3: the same with the small one further right: where it survives, another step begins.
std::string step_pattern(Bench& b) {
  std::vector<bool> survives;
  for (std::size_t i = 2; i < b.k(); ++i)
    survives.push_back(b.survives(0.0f, {{0, p2(b.top())}, {1, -p2(b.top())}, {i, p2(b.bottom())}}));
  const auto first = static_cast<std::size_t>(std::ranges::find(survives, true) - survives.begin()) + 2;
  if (first == b.k()) return fmt::format("at least {} products, or none is lost", b.k());
  if (std::ranges::all_of(survives.begin() + static_cast<std::ptrdiff_t>(first - 2), survives.end(), [](bool s) { return s; }))
    return first == 2 ? "2 products or fewer, or nothing is lost" : fmt::format("{} products", first);
  std::string pattern = "not consecutive: a term survives at k = ";
  for (std::size_t i = 0; i < std::min<std::size_t>(survives.size(), 14); ++i)
    if (survives[i]) pattern += fmt::format("{} ", i + 2);
  return pattern + "...";
}

std::string c_joins(Bench& b) {
  const int deep = std::min(deepest(b), b.half() ? 20 : 40);
  const auto c = static_cast<float>(p2(b.top()));
  // C cancels a product of the same step; a small product of it is lost if C takes part in the alignment.
  if (!b.survives(c, {{0, -p2(b.top())}, {1, p2(b.top() - deep)}})) {
    // Or if it is lost beside the large product alone.
    const float sum = b.value(0.0f, {{0, -p2(b.top())}, {1, p2(b.top() - deep)}});
    return sum == -c ? "inside the alignment, or added to a sum that has lost the small term" : "inside the alignment";
  }
  return "outside: the sum does not see it, or nothing is lost";
}

// P4: permutations of (large, small, -large, ...) in one step.
Reading read_order(Bench& b) {
  const int j = std::min(deepest(b), b.half() ? 9 : 12);
  std::vector<double> terms{p2(b.top()), -p2(b.top()), p2(b.top() - j), p2(b.top() - 2)};
  std::ranges::sort(terms);
  std::vector<std::uint32_t> words;
  do {
    std::vector<Bench::Term> placed;
    for (std::size_t i = 0; i < terms.size(); ++i) placed.push_back({i, terms[i]});
    words.push_back(b.word(0.0f, placed));
  } while (std::ranges::next_permutation(terms).found);
  std::ranges::sort(words);
  const auto distinct = std::unique(words.begin(), words.end()) - words.begin();
  return {"P4", "results of one sum in 24 orders", distinct == 1 ? "all the same" : fmt::format("{} different ones", distinct)};
}

// P5: 1.5 * 1.5 and 1.125 * 2 are 2.25; the raw exponents are 0 and 1.
Reading read_exponents(Bench& b) {
  const auto lost_at = [&](float x, float y) {
    int width = 0;
    for (int j = 1; j <= std::min(-b.bottom(), 48); ++j) {
      DotBatch batch(b.unit(), b.k());
      batch.start(0);
      const auto set = [&](std::size_t k, float p, float q) { batch.set(k, operand_word(b.unit().a_format, p), operand_word(b.unit().b_format, q)); };
      set(0, x, y), set(1, -x, y);
      const int ea = std::max(-j / 2, exponent_range(b.unit().a_format).least), eb = -j - ea;
      if (eb < exponent_range(b.unit().b_format).least) break;
      set(2, static_cast<float>(p2(ea)), static_cast<float>(p2(eb)));
      if (output_value(b.unit().output, batch.run(b.unit())[0]) != 0.0f) width = j;
    }
    return width;
  };
  const int raw0 = lost_at(1.5f, 1.5f), raw1 = lost_at(1.5f, 1.0f);
  const int same = lost_at(1.0f, 2.0f);
  return {"P5", "products 1.5 * 1.5 (2.25), 1.5 * 1 and 1 * 2 lose terms below 2^-j, j =", fmt::format("{}, {}, {}: {}", raw0, raw1, same,
          raw0 == raw1 ? "exponents are those of the factors" : raw0 == same ? "products are normalised first" : "neither rule")};
}

// P6: 7 + 3/4 of a last place of the result.
Reading read_rounding(Bench& b) {
  const int bits = std::max(1, [&] {  // fraction bits that a sum of one term keeps
    int kept = 0;
    for (int j = 1; j <= b.result_bits(); ++j) {
      const float c = static_cast<float>(1.0 + p2(-j));
      if (b.value(c, {}) == c) kept = j;
    }
    return kept;
  }());
  std::vector<Bench::Term> terms;
  for (std::size_t i = 0; i < 6; ++i) terms.push_back({i, 1.0});  // a sum in [4, 8): its last place is 2^(2 - bits)
  terms.push_back({6, p2(-bits)}), terms.push_back({7, p2(1 - bits)});
  if (1 - bits < b.bottom() || -bits < b.bottom()) return {"P6", "rounding of the result", "does not show in these formats"};
  const double sum = b.value(0.0f, terms);
  const double below = 6.0, above = 6.0 + p2(2 - bits);
  return {"P6", fmt::format("6 and 3/4 of the last place with {} fraction bits", bits),
          sum == below ? "truncated" : sum == above ? "rounded up" : fmt::format("{:a}: neither neighbour", sum)};
}

// P7, P8: the accumulator between instructions, and starting from nothing.
std::vector<Reading> read_chaining(Bench& b, MatrixUnit& unit) {
  std::vector<Reading> readings;
  std::size_t differ = 0, words = 0, zero = 0;
  for (const std::size_t chain : {2, 4, 8, 16}) {
    const DotBatch batch = random_batch(unit, "normal", chain * unit.k, 128, 70 + chain);
    const auto together = batch.run(unit), apart = batch.run(unit, false, true);
    for (std::size_t i = 0; i < together.size(); ++i) differ += together[i] != apart[i];
    words += together.size();
  }
  readings.push_back({"P7", "chains of 2, 4, 8, 16 instructions, sums kept in the unit or through memory",
                      fmt::format("{} of {} words differ{}", differ, words, differ == 0 ? ": nothing more is kept between them" : "")});
  DotBatch batch(unit, b.k());
  InputSource source(unit, "normal", 81);
  for (int i = 0; i < 256; ++i) {
    batch.start(0);
    for (std::size_t k = 0; k < b.k(); ++k) {
      const std::uint32_t x = source.a(), y = source.b();
      batch.set(k, x, i % 4 == 0 && k > 0 ? 0 : y);
    }
  }
  const auto with_zero = batch.run(unit), with_nothing = batch.run(unit, true);
  for (std::size_t i = 0; i < with_zero.size(); ++i) zero += with_zero[i] != with_nothing[i];
  readings.push_back({"P8", "C = 0 and no C at all", fmt::format("{} of {} words differ", zero, with_zero.size())});
  return readings;
}

// P9: specials by their words.
Reading read_specials(Bench& b) {
  MatrixUnit& unit = b.unit();
  const auto c_word = [&](std::uint32_t word) {
    DotBatch batch(unit, b.k());
    batch.start(word);
    return batch.run(unit)[0];
  };
  const bool half = b.half();
  const int digits = half ? 4 : 8;
  std::string text;
  const auto add = [&](const char* what, std::uint32_t word) { text += fmt::format("{}{} {:0{}x}", text.empty() ? "" : ", ", what, word, digits); };
  add("C NaN:", c_word(half ? 0xfe01u : 0xffc00001u));
  add("C -0:", c_word(half ? 0x8000u : 0x80000000u));
  add("C -inf:", c_word(half ? 0xfc00u : 0xff800000u));
  add("C largest:", c_word(half ? 0x7bffu : 0x7f7fffffu));
  add("C least:", c_word(1u));
  add("1 - 1:", b.word(0.0f, {{0, 1.0}, {1, -1.0}}));
  return {"P9", "words of special sums", text};
}

}  // namespace

std::size_t wrong_layout_words(MatrixUnit& unit, std::size_t tiles, std::size_t& words) {
  UnitTiles t;
  t.tiles = tiles, t.m = unit.m, t.n = unit.n, t.k = 2 * unit.k;
  InputSource source(unit, "random", 2025);
  constexpr float values[] = {0.0f, 1.0f, -1.0f, 2.0f, -2.0f};
  std::vector<float> a, b, c;
  const auto fill = [&](std::vector<float>& x, std::size_t count, std::uint32_t range) {
    for (std::size_t i = 0; i < count; ++i) x.push_back(range == 5 ? values[source.random() % 5u] : static_cast<float>(static_cast<int>(source.random() % 9u) - 4));
  };
  fill(a, tiles * t.m * t.k, 5), fill(b, tiles * t.n * t.k, 5), fill(c, tiles * t.m * t.n, 9);
  for (const float x : a) t.a.push_back(operand_word(unit.a_format, x));
  for (const float x : b) t.b.push_back(operand_word(unit.b_format, x));
  for (const float x : c) t.c.push_back(output_word(unit.output, x));
  if (unit.scale_block > 0) {
    const std::size_t blocks = t.k / static_cast<std::size_t>(unit.scale_block);
    t.scale_a.assign(tiles * t.m * blocks, unit.scale_format == e8m0 ? 127u : 0x38u);
    t.scale_b.assign(tiles * t.n * blocks, unit.scale_format == e8m0 ? 127u : 0x38u);
  }
  std::vector<std::uint32_t> d(t.c.size());
  unit.run(t, d);
  std::size_t wrong = 0;
  for (std::size_t i = 0; i < d.size(); ++i) {
    const std::size_t row = i / (t.m * t.n) * t.m + i / t.n % t.m, column = i / (t.m * t.n) * t.n + i % t.n;
    float sum = c[i];
    for (std::size_t k = 0; k < t.k; ++k) sum += a[row * t.k + k] * b[column * t.k + k];
    // An integer of at most 8 bits and a sign: a unit that does not write it is fed or read wrongly.
    wrong += d[i] != output_word(unit.output, sum) && !(sum == 0.0f && output_value(unit.output, d[i]) == 0.0f);
  }
  words = d.size();
  return wrong;
}

std::vector<Reading> read_probes(MatrixUnit& unit) {
  Bench b(unit);
  std::vector<Reading> readings{read_c_bits(b)};
  readings.push_back({"P2", "fraction bits below the largest exponent of a step", alignment_bits(b)});
  readings.push_back({"P3", "a step has", step_pattern(b)});
  readings.push_back({"P3", "C joins", c_joins(b)});
  readings.push_back(read_order(b));
  readings.push_back(read_exponents(b));
  readings.push_back(read_rounding(b));
  for (Reading& r : read_chaining(b, unit)) readings.push_back(std::move(r));
  readings.push_back(read_specials(b));
  return readings;
}

}  // namespace fp8scope
